"""Small steps from what was measured: one thing changed, or the broadcast of one recipe with the method of another.

A prediction is most reliable near a measurement, so these are the candidates that the search trusts most.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from videosieve.tuning.search.candidates import CACHING, Candidate
from videosieve.tuning.search.goal import Goal
from videosieve.tuning.search.points import Point, pareto_front
from videosieve.tuning.search.screen import Screen

RANGES = (2, 3, 4)
FACTORS = (0.8, 0.9, 0.95, 1.05, 1.1, 1.25)  # of a knob
WINDOW = ("reuse", "start", "stop", "mlp", "cross", "offset")
STARTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)  # of windows to begin with, shares of the steps
TAKEN = 4  # methods that a broadcast without one is joined to


def neighbourhood(
    screen: Screen, points: Sequence[Point], goal: Goal, names: Sequence[str]
) -> list[Candidate]:
    """Neighbours and crosses of what nobody has beaten, hand-written recipes included.

    Args:
        screen: The screening.
        points: Everything measured so far.
        goal: Says which quality counts.
        names: Families, the most promising first.

    Returns:
        Candidates, each once; those near the best measurement come first.
    """
    known = [point for point in points if not point.candidate.opaque and point.complete]
    front = [point.candidate.plain for point in pareto_front(known, goal.quality_of)]
    best = goal.best(known)
    if best is not None:
        front.insert(0, best.candidate.plain)
    found: dict[Candidate, None] = {}
    for candidate in dict.fromkeys(front):
        if not candidate.plan:
            found |= dict.fromkeys(neighbours(candidate, screen))
            found |= dict.fromkeys(with_methods(candidate, screen, names[:TAKEN]))
    broadcasts = [
        point.candidate.plain for point in known if point.candidate.reuses and not point.candidate.plan
    ]
    for candidate in front:
        found |= dict.fromkeys(crosses(candidate, [*broadcasts, *plain_broadcasts(screen)]))
    return list(found)


def neighbours(candidate: Candidate, screen: Screen) -> Iterator[Candidate]:
    """One thing changed a little.

    Args:
        candidate: One without a plan.
        screen: The screening.

    Yields:
        Other densities, warm-ups, layers; other ranges and windows where it reuses; the method or the reuse left out.
    """
    rows = screen.by_family.get(candidate.family, [])
    for factor in FACTORS if len(rows) > 1 else ():
        knob = min(max(candidate.knob * factor, rows[0].knob), rows[-1].knob)
        yield replace(candidate, knob=round(knob, 3))
    for key, top in (("dense_steps", screen.steps - 1), ("dense_layers", screen.layers - 1)):
        for change in (-2, -1, 1, 2):
            yield replace(candidate, **{key: min(max(getattr(candidate, key) + change, 0), top)})
    if candidate.reuses:
        yield from map(_with_fitting_offset, _other_windows(candidate, screen))
        yield replace(candidate, family=CACHING, knob=1.0)
        yield replace(candidate, reuse=1, start=0, stop=0, mlp=1, cross=1, offset=0)


def _other_windows(candidate: Candidate, screen: Screen) -> Iterator[Candidate]:
    for change in (-2, -1, 1, 2):
        start = min(max(candidate.start + change, 1), candidate.stop - 1)
        yield replace(candidate, start=start)
        yield replace(candidate, stop=min(max(candidate.stop + change, candidate.start + 1), screen.steps))
        if candidate.start + change >= 1 and candidate.stop + change <= screen.steps:
            moved = {key: getattr(candidate, key) + change for key in ("start", "stop", "offset")}
            yield replace(candidate, **moved)
    for every in sorted({*RANGES, candidate.reuse + 1}):
        yield replace(candidate, reuse=every)
    for kind in ("mlp", "cross"):
        if kind in screen.share:
            for every in (1, *RANGES):
                yield replace(candidate, **{kind: every})
    for offset in range(_longest(candidate)):
        yield replace(candidate, offset=offset)


def _with_fitting_offset(candidate: Candidate) -> Candidate:
    return replace(candidate, offset=candidate.offset % _longest(candidate))


def _longest(candidate: Candidate) -> int:
    return max(candidate.reuse, candidate.mlp, candidate.cross)


def with_methods(candidate: Candidate, screen: Screen, names: Sequence[str]) -> Iterator[Candidate]:
    """The same schedule with other methods, at every value that was screened and not dropped."""
    for name in names:
        for row in screen.by_family[name]:
            yield replace(candidate, family=name, knob=row.knob)


def crosses(candidate: Candidate, broadcasts: Sequence[Candidate]) -> Iterator[Candidate]:
    """A candidate's method and warm-up with the windows of broadcasts: gains of both multiply."""
    if candidate.family == CACHING or candidate.plan:
        return
    for other in broadcasts:
        yield replace(candidate, **{key: getattr(other, key) for key in WINDOW})


def plain_broadcasts(screen: Screen) -> list[Candidate]:
    """Windows to begin with, wide and narrow ones, without a method."""
    steps = screen.steps
    starts = sorted({max(1, round(share * steps)) for share in STARTS})
    stops = sorted({steps, max(2, round(0.9 * steps))})
    windows = [(start, stop) for start in starts for stop in stops if start < stop]
    found = [Candidate(reuse=every, start=start, stop=stop) for every in RANGES for start, stop in windows]
    return [*found, *(replace(one, mlp=one.reuse) for one in found if "mlp" in screen.share)]
