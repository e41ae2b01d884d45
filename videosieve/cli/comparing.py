"""Runs a plan with a progress bar, and says what came out; shared by compare and sweep."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from videosieve.cli.comparison_screen import ComparisonScreen
from videosieve.cli.console import note, number, out, plain_table, say
from videosieve.cli.progress import GenerationBar

if TYPE_CHECKING:
    from collections.abc import Callable

    from videosieve.comparison.plan import Plan
    from videosieve.generation.request import Request
    from videosieve.report import Results
    from videosieve.report.comparison.statistics import Estimate, MethodSummary


def gather_requests(
    base: "Request", prompts: list[str], file: Path | None, seeds: tuple[int, ...], model: str
) -> tuple["Request", ...]:
    """Every prompt, from the command line and from a file, with every seed.

    Args:
        base: Everything but prompt and seed.
        prompts: From the command line.
        file: A prompt file as `videosieve batch` reads it, or None. Its columns seed, negative_prompt and image go
            before `seeds` and `base`.
        seeds: Seeds of the initial noise.
        model: As `load_pipeline` takes it.

    Returns:
        At least one request.

    Raises:
        PromptError: The file cannot be read, is empty, or asks for a video twice.
        RecipeError: No prompt for a model that is not bundled.
        ModelError: An image of the file does not exist.
    """
    from videosieve.batch import read_prompts
    from videosieve.comparison.plan import cross_requests

    if file is None:
        return cross_requests(base, prompts, seeds, model)
    requests = list(cross_requests(base, prompts, seeds, model)) if prompts else []
    for job in read_prompts(file, seeds):
        negative = job.negative_prompt or base.negative_prompt
        image = Path(job.image) if job.image else base.image
        requests.append(
            replace(base, prompt=job.prompt, seed=job.seed, negative_prompt=negative, image=image)
        )
    return tuple(requests)


def run_plan(
    plan: "Plan",
    folder: Path,
    device: str,
    dtype: str | None,
    finish: "Callable[[Results], None] | None" = None,
    table: Path | None = None,
) -> "Results":
    """Load the model, make every video of the plan, print the tables and where the page is.

    `finish` as for compare; `table` is a file for the table, as `check_table` lets through, or None.
    """
    from videosieve.comparison.compare import compare
    from videosieve.comparison.ledger import is_interrupted
    from videosieve.comparison.plan import check_folder
    from videosieve.files import check_table, write_table
    from videosieve.generation.load import check_words, load_pipeline
    from videosieve.report import PAGE
    from videosieve.report.comparison.flat import flat_table

    check_table(table, folder)
    with GenerationBar() as bar:
        for request in plan.requests:
            check_words(plan.model, request.prompt, request.negative_prompt)
        _warn_of_missing(plan.metrics)
        if check_folder(folder):
            goes_on = is_interrupted(folder, plan)
            say(f"{'going on with' if goes_on else 'replacing'} the earlier results in {folder}")
        bar.begin("loading", plan.model)
        pipe = load_pipeline(plan.model, device, dtype)
        results = compare(pipe, plan, folder, ComparisonScreen(bar).show, finish)
    print_results(results)
    if table is not None:
        say(f"wrote {write_table(table, *flat_table(results))}")
    say(f"open {folder / PAGE}")
    return results


def _warn_of_missing(metrics: tuple[str, ...]) -> None:
    from videosieve.metrics import available_metrics

    for name, reason in available_metrics().items():
        if reason and name in metrics:
            note(f"no {name}: {reason}")


def print_results(results: "Results") -> None:
    """Two tables, time and quality, each within 80 columns for names of up to 28 characters."""
    from videosieve.report.comparison.cautions import cautions, stayed_dense
    from videosieve.report.comparison.statistics import FEWEST_SCENES, attention_share, summarise

    rows, scenes = summarise(results), len(results.scenes())
    _print_times(rows)
    out.print()
    _print_quality(rows)
    out.print()
    share = attention_share(results)
    free = max(row.free_bound for row in rows)
    say(
        f"dense: {rows[0].seconds.median:.2f} s with kernel {results.dense_kernel}, {share:.0%} of it attention;"
    )
    say(f"       attention for free would make it {free:.2f}× as fast")
    if scenes == 1:
        say("one video a method: small differences mean nothing")
    else:
        few = "" if scenes >= FEWEST_SCENES else f"; 95 % intervals take {FEWEST_SCENES} or more"
        say(f"medians over {scenes} prompts and seeds{few}")
    for name, reasons in stayed_dense(results).items():
        for reason, calls in reasons.items():
            say(f"{name}: {calls} dense: {reason}")
    for sentence in cautions(results):
        say(f"careful: {sentence}")
    for name, reason in results.unavailable.items():
        say(f"no {name}: {reason}")
    for name, sentences in results.warnings.items():
        say(f"warning: {name}: {sentences}")


def _print_times(rows: "list[MethodSummary]") -> None:
    columns = ("time s", "speed-up", "95 %", "bound", "reached")
    if rows[0].speedup.scenes and all(row.speedup.low is None for row in rows):
        columns = tuple(column for column in columns if column != "95 %")
    table = plain_table("method", *columns, right=columns)
    for row in rows:
        cells = {
            "time s": number(row.seconds.median),
            "speed-up": f"{row.speedup.median:.2f}×",
            "95 %": _interval(row.speedup),
            "bound": f"{row.bound:.2f}×",
            "reached": f"{row.reached:.0%}",
        }
        table.add_row(row.method, *(cells[column] for column in columns))
    out.print(table)


def _print_quality(rows: "list[MethodSummary]") -> None:
    columns = ("density", "recall", "PSNR dB", "95 %", "SSIM", "right")
    if all(row.psnr is None or row.psnr.low is None for row in rows):
        columns = tuple(column for column in columns if column != "95 %")
    if all(row.accuracy is None for row in rows):
        columns = columns[:-1]
    table = plain_table("method", *columns, right=columns)
    for row in rows:
        cells = {
            "density": number(row.run_density.median),
            "recall": number(_median(row.recall)),
            "PSNR dB": number(_median(row.psnr), 1),
            "95 %": _interval(row.psnr, 1),
            "SSIM": number(_median(row.ssim), 3),
            "right": "–" if row.accuracy is None else f"{row.accuracy:.0%}",
        }
        table.add_row(row.method, *(cells[column] for column in columns))
    out.print(table)


def _median(value: "Estimate | None") -> float | None:
    return None if value is None else value.median


def _interval(value: "Estimate | None", digits: int = 2) -> str:
    if value is None or value.low is None or value.high is None:
        return "–"
    return f"{value.low:.{digits}f}–{value.high:.{digits}f}"
