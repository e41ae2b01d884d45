"""The search on a made-up world: it comes near the best that brute force finds, with few measurements."""

from dataclasses import replace
from random import Random

import pytest
from tuning_world import LAYERS, STEPS, BroadcastWorld, World, make_screen

from videosieve.tuning.search import Candidate, Goal, Point, Screen, families, fit, propose
from videosieve.tuning.search.anchors import Anchors
from videosieve.tuning.search.candidates import CACHING
from videosieve.tuning.search.moves import neighbours
from videosieve.tuning.search.plans import best_plan, prices
from videosieve.tuning.search.propose import make_pool, nearly_equal, random_candidate, ranked_families


def run(screen: Screen, world: World, goal: Goal, count: int) -> list[Point]:
    points: list[Point] = []
    for _ in range(count):
        candidate = propose(screen, points, goal)
        if candidate is None:
            break
        points.append(world.measure(candidate))
    return points


@pytest.fixture(scope="module")
def searched() -> list[Point]:
    screen = make_screen()
    return run(screen, World(screen), Goal(psnr=30), 18)


def everything(screen: Screen) -> list[Candidate]:
    draw = Random(7)
    names = ranked_families(screen)
    pool = [random_candidate(screen, names, draw, caching=True) for _ in range(400)]
    for family in (CACHING, *names):
        knobs = [0.1, 0.2, 0.3, 0.5, 0.7] if family != CACHING else [1.0]
        pool += [
            best_plan(screen, family, knob, price, decay)
            for knob in knobs
            for price in prices(screen, 16)
            for decay in (0.0, 1.5, 3.0)
        ]
    return pool


def test_a_quality_target_is_met_nearly_as_fast_as_brute_force_can(
    searched: list[Point], world: World, goal: Goal
):
    best = goal.best(searched)
    assert best is not None
    assert goal.met(best)
    reachable = max(world.speedup(c) for c in everything(world.truth) if world.quality(c) >= 30)
    assert best.speedup >= 1 + 0.93 * (reachable - 1)


def test_a_speed_target_is_met_at_nearly_the_best_quality(screen: Screen, world: World):
    goal = Goal(speedup=1.3)
    best = goal.best(run(screen, world, goal, 14))
    assert best is not None
    assert best.speedup >= 1.3
    reachable = max(world.quality(c) for c in everything(world.truth) if world.speedup(c) >= 1.3)
    assert best.psnr >= reachable - 0.7


def test_a_recall_target_is_met_without_caching(screen: Screen, world: World):
    goal = Goal(recall=0.9)
    points = run(screen, world, goal, 8)
    best = goal.best(points)
    assert best is not None
    assert goal.met(best)
    assert not any(point.candidate.reuses for point in points)


def test_nothing_is_proposed_twice(searched: list[Point]):
    assert len(searched) == 18
    for i, point in enumerate(searched):
        assert not any(nearly_equal(point.candidate, other.candidate) for other in searched[:i])


def test_what_counts_as_the_same():
    base = Candidate("good", 0.5, plan=("F" * 50, "A" * 50))
    assert nearly_equal(base, replace(base, knob=0.51))
    assert nearly_equal(base, replace(base, plan=("F" * 50, "A" * 47 + "WWW")))
    assert not nearly_equal(base, replace(base, plan=("F" * 50, "A" * 46 + "WWWW")))
    assert not nearly_equal(base, replace(base, knob=0.6))
    assert not nearly_equal(base, replace(base, family="poor"))
    assert not nearly_equal(Candidate("good", 0.5, dense_steps=1), Candidate("good", 0.5, dense_steps=2))


def test_the_same_measurements_lead_to_the_same_proposal(screen: Screen, searched: list[Point], goal: Goal):
    assert propose(screen, searched[:3], goal) == searched[3].candidate


def test_every_family_gets_a_turn(searched: list[Point]):
    measured = {point.candidate.family for point in searched}
    assert measured == {"good", "poor", CACHING}


def test_a_world_in_which_nothing_saves_time_ends_the_search(screen: Screen, goal: Goal):
    for table in screen.share.values():
        table.zero_()
    assert propose(screen, [], goal) is None


def test_the_fit_learns_level_slope_and_gain(screen: Screen, searched: list[Point], world: World, goal: Goal):
    before, after = fit(screen, [], goal), fit(screen, searched, goal)
    draw = Random(3)
    names = ranked_families(screen)
    pool = [
        c
        for c in (random_candidate(screen, names, draw, caching=True) for _ in range(60))
        if c.family != CACHING
    ]

    def miss(calibration: object) -> float:
        predicted = [calibration.predict(screen, c)[0] for c in pool]  # type: ignore[attr-defined]
        return sum(abs(p - world.quality(c)) for p, c in zip(predicted, pool, strict=True)) / len(pool)

    assert miss(after) < 0.5 * miss(before)
    assert after.gain == pytest.approx(0.8, abs=0.08)


def test_neighbours_stay_inside_the_space(screen: Screen):
    start = Candidate("good", 0.3, 1, 1, reuse=2, start=3, stop=STEPS)
    for near in neighbours(start, screen):
        assert 0.1 <= near.knob <= 0.7 or near.family == CACHING
        assert 0 <= near.dense_steps < STEPS
        assert 0 <= near.dense_layers < LAYERS
        assert 1 <= near.start < near.stop <= STEPS or not near.reuses
        near.schedule(STEPS)  # refuses values outside their range


def test_a_window_is_moved_as_a_whole(screen: Screen):
    start = Candidate(reuse=3, start=3, stop=STEPS - 2, offset=2)
    near = list(neighbours(start, screen))
    assert replace(start, start=4, stop=STEPS - 1, offset=0) in near
    assert replace(start, start=2, stop=STEPS - 3, offset=1) in near
    assert replace(start, offset=1) in near
    for candidate in near:
        candidate.schedule(STEPS)  # none has an offset that its ranges do not allow


def test_narrow_windows_of_reuse_are_in_the_pool_whatever_was_measured(screen: Screen, world: World):
    points = [world.measure(Candidate("good", 0.5, 2, 0))]
    for goal, offered in ((Goal(psnr=40), True), (Goal(speedup=1.2), True), (Goal(recall=0.9), False)):
        pool = list(make_pool(screen, points, goal, fit(screen, points, goal), Random(0)))
        assert (Candidate(reuse=2, start=7, stop=11) in pool) == offered


def test_short_videos_get_small_blocks_too():
    names = [family.name for family in families(["svg", "draft", "caching"], 1024)]
    assert names == ["svg", "svg-32", "draft"]
    assert [family.name for family in families(["svg"], 20000)] == ["svg"]


def test_the_broadcast_of_one_recipe_meets_the_method_of_another(screen: Screen, goal: Goal):
    world = BroadcastWorld(screen)
    points = [world.measure(c) for c in world.written]
    assert all(goal.met(p) for p in points)
    for _ in range(14):
        proposal = propose(screen, points, goal)
        assert proposal is not None
        points.append(world.measure(proposal))
    best = goal.best(points)
    assert best is not None
    assert best.candidate.family == "good"
    assert best.candidate.reuses
    reachable = max(world.speedup(c) for c in world.all_pairs() if world.quality(c) >= 30)
    written = max(p.speedup for p in points if p.candidate.given)
    assert best.speedup >= written + 0.8 * (reachable - written)


def test_a_measurement_moves_the_prediction_nearby_and_not_far_away(screen: Screen, goal: Goal):
    base, far = Candidate("good", 0.3, 4, 1), Candidate(reuse=2, start=1, stop=STEPS)
    line = fit(screen, [], goal)
    quality, speedup = line.predict(screen, base)
    left = Anchors.at(screen, [base], [(6.0, 0.1)])
    moved = replace(line, anchors=left)
    assert moved.predict(screen, base)[0] == pytest.approx(quality + 6 / 1.2)
    assert 1 / speedup - 1 / moved.predict(screen, base)[1] == pytest.approx(0.1 / 1.2)
    near = replace(base, dense_layers=2)
    assert 3 < moved.predict(screen, near)[0] - line.predict(screen, near)[0] < 6
    assert abs(moved.predict(screen, far)[0] - line.predict(screen, far)[0]) < 0.5


def test_plans_and_reuse_of_other_outputs_are_measured_side_by_side(screen: Screen, goal: Goal):
    """A plan says nothing of the feed-forward layers; what it does there is to compute them."""
    names = ("share", "drift", "reuse_harm")
    tables = {name: getattr(screen, name) for name in names}
    screen = replace(screen, **{name: {**table, "mlp": table["attention"]} for name, table in tables.items()})
    plan = Candidate("good", 0.3, plan=(("F" * LAYERS, "A" * LAYERS) * STEPS)[:STEPS])
    points = [World(screen).measure(c) for c in (plan, Candidate(reuse=2, mlp=2, start=1, stop=STEPS))]
    assert len(fit(screen, points, goal).anchors.places) == 2
    assert propose(screen, points, goal) is not None
