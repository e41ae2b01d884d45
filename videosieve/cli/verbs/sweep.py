"""`videosieve sweep`: one method at several densities."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from videosieve.cli import options
from videosieve.cli.comparing import run_plan
from videosieve.cli.console import command_line, say

if TYPE_CHECKING:
    from videosieve.report import Results


def sweep(
    prompt: options.Prompts = None,
    model: options.Model = "shapes-s",
    method: options.Method = "svg",
    densities: Annotated[
        str, typer.Option(help="Two or more shares of query-key pairs in (0, 1], separated by commas.")
    ] = "0.1,0.2,0.3,0.5,0.7",
    settings: options.Settings = None,
    steps: options.Steps = None,
    seed: options.Seeds = None,
    height: options.Height = None,
    width: options.Width = None,
    frames: options.Frames = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    output: options.ResultsFolder = Path("sweep"),
    fps: options.Fps = None,
    table: options.TableFile = None,
) -> None:
    """Run one method at several densities: what fidelity costs. Writes sweep.html besides the comparison.

    videosieve sweep --method svg --densities 0.1,0.2,0.3,0.5 --output sweep
    """
    from videosieve.comparison.plan import Plan, cross_requests, name_recipes
    from videosieve.comparison.sweep import flat_sweep, sweep_recipes, write_sweep
    from videosieve.files import check_table, write_table
    from videosieve.generation.recipe_settings import make_recipe, parse_densities
    from videosieve.generation.request import Request

    check_table(table, output)
    base = Request("", steps=steps, height=height, width=width, frames=frames)
    swept = sweep_recipes(make_recipe(method, None, settings or (), model), parse_densities(densities))
    plan = Plan(
        cross_requests(base, prompt or (), seed or (0,), model),
        name_recipes(swept.values()),
        1,
        options.frame_rate(fps, model),
        model,
        floor=False,
        command=command_line(),
    )
    written: list[Path] = []

    def finish(results: "Results") -> None:
        written.extend(write_sweep(results, swept, output))
        if table is not None:
            written.append(write_table(table, *flat_sweep(results, swept)))

    run_plan(plan, output, device, dtype, finish)
    for path in written:
        say(f"wrote {path}")
