"""What has to be said beside the figures: where a speed-up measures the machine, and what stayed dense and why."""

import re

from videosieve.report.comparison.statistics import MethodSummary, summarise
from videosieve.report.results import BASELINE, FLOOR, Results

SHORT_SECONDS = 10.0  # single calls of a few seconds were seen to differ by 10 to 20 % on one machine
ENOUGH_REPEATS = 3
_REUSE = re.compile(
    r"^(reuse_\w+|plan|cache)\s*=", re.MULTILINE
)  # outputs of more than attention may be returned


def measures_machine(results: Results, row: MethodSummary) -> bool:
    """Whether a speed-up lies above the one that attention for free would give, so that it cannot be the method's.

    A recipe that also returns outputs of other modules, or runs with a cache of another program, may save more than
    attention; of those nothing is said.

    Args:
        results: The comparison.
        row: A method of it.
    """
    reuses = _REUSE.search(results.recipes.get(row.method, "")) is not None
    return row.kind != BASELINE and not reuses and row.speedup.median > row.free_bound


def cautions(results: Results) -> list[str]:
    """Sentences without a full stop that have to stand beside the headline: the machine, the noise floor, few repeats.

    Args:
        results: At least one finished video.
    """
    rows = summarise(results)
    said = []
    for row in rows:
        if measures_machine(results, row):
            said.append(
                f"{row.method}: {row.speedup.median:.2f}× is more than the {row.free_bound:.2f}× that attention "
                f"for free would give, so it measures the machine, not the method{_floor_words(rows)}"
            )
    seconds = next((row.seconds.median for row in rows if row.kind == BASELINE), SHORT_SECONDS)
    repeats = results.settings.get("repeats", 1)
    if seconds < SHORT_SECONDS and repeats < ENOUGH_REPEATS:
        times = "once" if repeats == 1 else f"{repeats} times"
        said.append(
            f"a dense video takes {seconds:.1f} s and was timed {times}: at such lengths single runs differ "
            f"by a fifth; --repeats {ENOUGH_REPEATS} or more tells a speed-up from noise"
        )
    return said


def _floor_words(rows: list[MethodSummary]) -> str:
    floor = next((row for row in rows if row.kind == FLOOR), None)
    return "" if floor is None else f"; the noise floor, {floor.method}, came to {floor.speedup.median:.2f}×"


def stayed_dense(results: Results) -> dict[str, dict[str, int]]:
    """Attention calls of the methods that stayed dense, by reason, over all finished videos.

    Args:
        results: The comparison.

    Returns:
        Calls by reason, by method, in the order of the recipes; methods without any are left out.
    """
    found: dict[str, dict[str, int]] = {}
    for name in results.recipes:
        for clip in results.of_method(name):
            if clip.kind in (BASELINE, FLOOR):
                continue
            for reason, calls in clip.dense_reasons.items():
                counted = found.setdefault(name, {})
                counted[reason] = counted.get(reason, 0) + calls
    return found
