"""Which candidate to run next: the one that the fit promises most of, looked for afresh after every measurement.

Most turns are taken near what nobody has beaten so far (moves.py), as long as something faster is promised there. Every
FAR-th turn the whole pool is asked, plans at many prices and random candidates too; every EXPLORE-th the family that
was measured least, so that no method is given up on a prediction alone. The aim swings about the target (MARGINS), so
that the fit learns both sides of it.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from random import Random

from videosieve.tuning.search.calibration import Calibration, fit
from videosieve.tuning.search.candidates import CACHING, Candidate
from videosieve.tuning.search.goal import Goal
from videosieve.tuning.search.moves import TAKEN, neighbourhood, plain_broadcasts, with_methods
from videosieve.tuning.search.plans import best_plan, prices
from videosieve.tuning.search.points import Point
from videosieve.tuning.search.screen import Screen

MARGINS = (0.0, 0.5, -0.3, 0.25)
"""Added to the target of a proposal, in units of the fit's noise."""

RANDOM = 200
SAME = 0.03
PLANNED = 3  # families with plans beside caching alone
FAR = 3  # every so many proposals the whole pool is asked
JOIN = 4  # at this turn of EXPLORE the best broadcast is joined to a method
EXPLORE = 6  # every so many proposals the family measured least is taken


def propose(screen: Screen, points: Sequence[Point], goal: Goal, seed: int = 0) -> Candidate | None:
    """The next candidate to measure.

    Args:
        screen: The screening.
        points: Everything measured so far.
        goal: What is wanted. A recall goal has no caching: a reused output has no recall.
        seed: Of the random candidates.

    Returns:
        A candidate that was not measured yet; None where nothing new promises a speed-up.
    """
    calibration = fit(screen, points, goal)
    draw = Random(f"{seed}-{len(points)}")
    margin = MARGINS[len(points) % len(MARGINS)] * calibration.noise
    turn = len(points) % EXPLORE

    def scored(pool: Iterable[Candidate]) -> list[Scored]:
        caching = goal.quality == "psnr"
        tried = [point.candidate.plain for point in points if not point.candidate.opaque]
        done = {(c.knob, screen.sites(c).key(c.family)) for c in tried if screen.knows(c)}
        new = [c for c in dict.fromkeys(pool) if caching or not c.reuses]
        new = [c for c in new if (c.knob, screen.sites(c).key(c.family)) not in done]
        rows = [(*calibration.predict(screen, c), c) for c in new if not _among(c, tried)]
        return [row for row in rows if row[1] > 1]

    if turn == JOIN and goal.name == "psnr" and (joined := _joined(screen, points, goal)):
        best = goal.best(list(points))
        faster = [row for row in scored(joined) if best is not None and row[1] > best.speedup]
        if faster:  # the gentlest: what is predicted of pairs is predicted worst
            return max(faster, key=lambda row: row[0])[2]
    if turn % FAR != FAR - 1:
        near = scored(neighbourhood(screen, points, goal, ranked_families(screen)))
        if near := _better(near, points, goal, margin):
            return _choose(near, goal, margin)
    far = scored(make_pool(screen, points, goal, calibration, draw))
    if turn == EXPLORE - 1:
        far = _least_measured(far, points) or far
    return _choose(far, goal, margin)


def _joined(screen: Screen, points: Sequence[Point], goal: Goal) -> list[Candidate]:
    """The best measurement, if it has no method and no plan, with the methods of all others and the most promising."""
    best = goal.best([point for point in points if not point.candidate.opaque])
    if best is None or best.candidate.family != CACHING or not best.candidate.reuses or best.candidate.plan:
        return []
    window = best.candidate.plain
    measured = [p.candidate for p in points if p.candidate.family in screen.by_family]
    joined = [replace(window, family=c.family, knob=c.knob) for c in measured]
    return [*joined, *with_methods(window, screen, ranked_families(screen)[:TAKEN])]


def _among(candidate: Candidate, tried: Sequence[Candidate]) -> bool:
    return any(nearly_equal(candidate, old) for old in tried)


def _better(scored: "list[Scored]", points: Sequence[Point], goal: Goal, margin: float) -> "list[Scored]":
    """What promises more than the best measurement; everything while nothing meets the goal."""
    best = goal.best(list(points))
    if best is None or not goal.met(best):
        return scored
    if goal.name == "speedup":
        return [row for row in scored if row[0] > best.psnr and row[1] >= goal.target]
    return [row for row in scored if row[1] > best.speedup and row[0] >= goal.target + margin]


def make_pool(
    screen: Screen, points: Sequence[Point], goal: Goal, calibration: Calibration, draw: Random
) -> Iterator[Candidate]:
    """Candidates to choose from, some of them twice."""
    names = ranked_families(screen)
    if goal.quality == "psnr":
        yield from plain_broadcasts(screen)
        asked = prices(screen, shift=draw.random())  # elsewhere every time: a grid that grows finer
        for name in (CACHING, *names[:PLANNED]):
            for knob in _knobs(screen, name, draw):
                yield from (best_plan(screen, name, knob, price, calibration.decay) for price in asked)
    for _ in range(RANDOM):
        yield random_candidate(screen, names, draw, caching=goal.quality == "psnr")
    yield from neighbourhood(screen, points, goal, names)


def _knobs(screen: Screen, family: str, draw: Random) -> list[float]:
    """One value of the knob between every two that were screened, or the only one."""
    rows = screen.by_family.get(family, [])
    between = [round(draw.uniform(a.knob, b.knob), 3) for a, b in pairwise(rows)]
    return between or [rows[0].knob if rows else 1.0]


def ranked_families(screen: Screen) -> list[str]:
    """Families by their least mean squared error at a cost of at most 0.6 of dense, then by cost."""

    def key(name: str) -> tuple[bool, float]:
        rows = screen.by_family[name]
        cheap = [float(row.error.square().mean()) for row in rows if row.cost <= 0.6]
        return (not cheap, min(cheap) if cheap else min(row.cost for row in rows))

    return sorted(screen.by_family, key=key)


def random_candidate(screen: Screen, names: list[str], draw: Random, *, caching: bool) -> Candidate:
    """A warm-up, a method or none, a window of reuse or none."""
    steps, layers = screen.steps, screen.layers
    family = draw.choice([CACHING, *names] if caching else names)
    knob = 1.0
    if family != CACHING:
        rows = screen.by_family[family]
        knob = round(draw.uniform(rows[0].knob, rows[-1].knob), 3)
    warm = draw.choice([0, 0, 1, 2, 3, round(0.1 * steps), round(0.2 * steps), round(0.4 * steps)])
    candidate = Candidate(family, knob, min(warm, steps - 1), draw.choice([0, 0, 0, 1, 2, layers // 4]))
    if not caching or (family != CACHING and draw.random() < 0.4):
        return candidate
    start = draw.randrange(1, max(2, steps))
    stop = draw.choice([steps, steps, max(start + 1, steps - 1), max(start + 1, round(0.9 * steps))])
    every = draw.choice([2, 2, 3, 4])
    mlp = draw.choice([1, every]) if "mlp" in screen.share else 1
    cross = draw.choice([1, every]) if "cross" in screen.share else 1
    window = {"start": start, "stop": min(stop, steps), "offset": draw.randrange(every)}
    return replace(candidate, reuse=every, mlp=mlp, cross=cross, **window)


def nearly_equal(one: Candidate, other: Candidate) -> bool:
    """Whether two candidates differ by so little that measuring both would tell nothing.

    Args:
        one: A candidate.
        other: Another.

    Returns:
        True where the knobs are within SAME of one another, and the schedules equal; plans may differ in SAME of the
        letters.
    """
    if one.family != other.family or abs(one.knob - other.knob) > SAME * max(one.knob, other.knob):
        return False
    if not (one.plan and other.plan):
        return replace(one, knob=0.0) == replace(other, knob=0.0)
    a, b = "".join(one.plan), "".join(other.plan)
    return sum(x != y for x, y in zip(a, b, strict=True)) <= SAME * len(a)


Scored = tuple[float, float, Candidate]


def _least_measured(scored: list[Scored], points: Sequence[Point]) -> list[Scored]:
    """The candidates of the family that was measured least; ties go to the one with the fastest promise."""
    counts = Counter(point.candidate.family for point in points)
    families = {candidate.family for _, _, candidate in scored}
    if not families:
        return []
    fastest = {name: max(row[1] for row in scored if row[2].family == name) for name in families}
    least = min(families, key=lambda name: (counts[name], -fastest[name], name))
    return [row for row in scored if row[2].family == least]


def _choose(scored: list[Scored], goal: Goal, margin: float) -> Candidate | None:
    """The most promising: fastest of those with the quality, or best of those with the speed, else the nearest miss."""
    if not scored:
        return None
    if goal.name == "speedup":
        fast = [row for row in scored if row[1] >= goal.target * (1 + 0.02 * (margin > 0))]
        return max(fast or scored, key=lambda row: row[0] if fast else row[1])[2]
    good = [row for row in scored if row[0] >= goal.target + margin]
    return max(good, key=lambda row: row[1])[2] if good else max(scored, key=lambda row: row[0])[2]
