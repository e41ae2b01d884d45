"""`videosieve compare`: several methods, the same noise, one page."""

from pathlib import Path
from typing import Annotated

import typer

from videosieve.cli import options
from videosieve.cli.comparing import gather_requests, run_plan
from videosieve.cli.console import command_line


def compare(
    prompt: options.Prompts = None,
    prompts: Annotated[
        Path | None,
        options.optional("More prompts from a .txt, .csv, .jsonl or .parquet file, as batch reads it."),
    ] = None,
    model: options.Model = "shapes-s",
    methods: Annotated[
        str,
        typer.Option(
            help="Methods, bundled recipes, .toml files or auto, separated by commas; dense is always added.",
            show_default="svg, spatial_only and temporal_only",  # with spaces, so that no terminal cuts it off
        ),
    ] = "svg,spatial_only,temporal_only",
    cache: Annotated[
        list[str] | None,
        options.optional(
            "A cache to compare with, alone and with every method, e.g. first_block or dbcache; repeatable. "
            "docs/cli.md has the names and what may follow them."
        ),
    ] = None,
    density: options.Density = None,
    settings: options.Settings = None,
    negative_prompt: options.NegativePrompt = "",
    image: options.Image = None,
    steps: options.Steps = None,
    seed: Annotated[
        list[int] | None,
        options.optional("Seed of the initial noise, >= 0; repeatable, every prompt gets all. Default: 0."),
    ] = None,
    height: options.Height = None,
    width: options.Width = None,
    frames: options.Frames = None,
    guidance: options.Guidance = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    output: options.ResultsFolder = Path("comparison"),
    repeats: Annotated[
        int, typer.Option(help="Timed runs per video, >= 1, in turns; the median is reported.")
    ] = 1,
    floor: Annotated[
        bool,
        typer.Option(
            help="Run dense attention once more with another kernel, to see what rounding alone does."
        ),
    ] = True,
    metrics: Annotated[
        str,
        options.optional("Further metrics, separated by commas: ssim_uniform, flip, st_lpips, lpips, vmaf."),
    ] = "",
    fps: options.Fps = None,
    table: options.TableFile = None,
) -> None:
    """Compare methods with dense attention on the same noise: videos, numbers and report.html.

    videosieve compare --methods svg,spatial_only,temporal_only --density 0.3 --output comparison
    """
    from videosieve.comparison.plan import Plan, name_recipes, with_caches
    from videosieve.generation.recipe_settings import make_recipes, parse_cache
    from videosieve.generation.request import Request

    base = Request("", negative_prompt, image, steps, 0, height, width, frames, guidance)
    named = name_recipes(make_recipes(methods, density, settings or (), model), floor)
    recipes, caches = with_caches(named, [parse_cache(text) for text in cache or []])
    plan = Plan(
        gather_requests(base, prompt or [], prompts, tuple(seed or (0,)), model),
        recipes,
        repeats,
        options.frame_rate(fps, model),
        model,
        floor,
        command_line(),
        tuple(name.strip() for name in metrics.split(",") if name.strip()),
        caches,
    )
    run_plan(plan, output, device, dtype, table=table)
