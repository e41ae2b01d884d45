"""`videosieve tune`: the fastest recipe of a quality, or the best of a speed, for this model and machine."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from videosieve.cli import options
from videosieve.cli.console import command_line, complain, say

if TYPE_CHECKING:
    from videosieve.tuning.order import Order
    from videosieve.tuning.outcome import Outcome
    from videosieve.tuning.search import Point

MISSED = 1

Prompts = Annotated[
    list[str] | None,
    options.optional("Searched with; repeatable. Default: three for the bundled model."),
]


def tune(
    prompt: Prompts = None,
    model: options.Model = "shapes-s",
    psnr: Annotated[
        float | None,
        options.optional("Target: mean PSNR against dense, dB, in (0, 100)."),
    ] = None,
    recall: Annotated[
        float | None,
        options.optional("Target: mean recall of the sparse calls, in (0, 1]."),
    ] = None,
    speedup: Annotated[
        float | None,
        options.optional("Target: dense seconds ÷ seconds, above 1; best PSNR at it."),
    ] = None,
    check_prompt: Annotated[
        list[str] | None,
        options.optional(
            "Kept from the search, for the final check; repeatable. Default: the prompts with other seeds."
        ),
    ] = None,
    seed: Annotated[
        list[int] | None,
        options.optional("Seed of the search, >= 0; repeatable. Default: 0."),
    ] = None,
    minutes: Annotated[
        float, typer.Option(help="Budget of everything, earlier runs in the folder included, > 0.")
    ] = 15.0,
    methods: Annotated[
        str | None,
        options.optional(
            "Methods to search, and caching; comma-separated; +centroids, +shared or a token order may follow a "
            "name. Default: all, and svg+centroids+shared."
        ),
    ] = None,
    start: Annotated[
        str | None,
        options.optional(
            "Recipes to measure first: names or .toml files, comma-separated. Default: the bundled ones for no "
            "model in particular; none with --methods."
        ),
    ] = None,
    steps: options.Steps = None,
    height: options.Height = None,
    width: options.Width = None,
    frames: options.Frames = None,
    guidance: options.Guidance = None,
    device: options.Device = "auto",
    dtype: options.Dtype = None,
    best_effort: Annotated[
        bool, typer.Option("--best-effort", help="Write the best recipe even if it misses the target.")
    ] = False,
    output: Annotated[Path, options.folder("Folder; an earlier tune in it goes on.")] = Path("tuned"),
    table: options.TableFile = None,
) -> None:
    """Search the recipe for a target on this model and machine; the same command goes on after an interruption.

    videosieve tune --psnr 30 --minutes 15 --output tuned
    """
    from videosieve.files import check_table, write_table
    from videosieve.generation.load import check_words
    from videosieve.generation.request import Request
    from videosieve.recipe import Recipe
    from videosieve.tuning.files import flat_outcome
    from videosieve.tuning.order import check_folder, default_prompts, default_start, make_order
    from videosieve.tuning.search import Goal

    goal = Goal(psnr, recall, speedup)
    search, check = default_prompts(model, prompt or [], check_prompt or [])
    for text in (*search, *check):
        check_words(model, text)
    order = make_order(
        goal,
        search,
        seeds=seed or (0,),
        check_prompts=check,
        base=Request("", steps=steps, height=height, width=width, frames=frames, guidance=guidance),
        model=model,
        minutes=minutes,
        methods=_listed(methods),
        start=tuple(map(Recipe.of, _listed(start) or (() if methods or start == "" else default_start()))),
    )
    check_folder(output)
    check_table(table, output)
    outcome = _run(order, output, (device, dtype), best_effort=best_effort)
    _print(outcome, output, best_effort=best_effort)
    if table is not None:
        say(f"wrote {write_table(table, *flat_outcome(outcome))}")
    if not outcome.reached:
        raise typer.Exit(MISSED)


def _run(order: "Order", folder: Path, place: tuple[str, str | None], *, best_effort: bool) -> "Outcome":
    from videosieve.cli.tune_progress import TuneScreen
    from videosieve.generation.load import load_pipeline
    from videosieve.tuning.files import write_outcome
    from videosieve.tuning.tune import run_tune

    with TuneScreen(order.goal) as screen:
        screen.say(f"loading {order.model}")
        pipe = load_pipeline(order.model, *place)
        outcome = run_tune(pipe, order, folder, screen.show)
    for path in write_outcome(outcome, folder, best_effort=best_effort, command=command_line()):
        say(f"wrote {path}")
    return outcome


def _listed(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(part.strip() for part in text.split(",") if part.strip())


def _print(outcome: "Outcome", folder: Path, *, best_effort: bool) -> None:
    goal = outcome.order.goal
    say(f"{outcome.best.candidate.words()}")
    say(f"search: {_figures(outcome.best)}")
    say(f"check:  {_figures(outcome.check)}, on {outcome.check.prompts} videos that the search did not see")
    for warning in outcome.warnings:
        say(f"warning: {warning}")
    if outcome.reached and not outcome.sure:
        say(
            f"note: {goal.words()} holds on these videos, not with 95 % confidence on others; take more prompts"
        )
    if outcome.reached:
        say(f'use it: videosieve.sparsify(pipe, "{folder / "recipe.toml"}")')
        return
    rest = (
        "recipe.toml holds the best that was found" if best_effort else "--best-effort writes the best found"
    )
    met = goal.met(outcome.best) and outcome.best.speedup > 1
    why = "the check refutes what was found" if met else "the best found is above"
    complain(f"target not reached: {goal.words()} ({why}); {rest}, and --minutes gives the search more time")


def _figures(point: "Point") -> str:
    from videosieve.tuning.outcome import figures

    return figures(point)
