"""Hand-written recipes described as candidates, margins, and who is asked at the end."""

from statistics import fmean

import pytest

from videosieve.methods import METHODS
from videosieve.recipe import Recipe, bundled_recipes
from videosieve.schedule import Table
from videosieve.tuning.finalists import next_finalists
from videosieve.tuning.search import Candidate, Goal, Point
from videosieve.tuning.search.points import lower_bound, margin_for, student_t
from videosieve.tuning.search.written import written_candidate, written_family
from videosieve.tuning.tune import PATIENCE, is_stale

STEPS, LAYERS = 20, 8
GENERAL = [name for name in bundled_recipes() if "-" not in name]


@pytest.mark.parametrize("name", GENERAL)
def test_every_bundled_recipe_is_described_and_run_as_it_is(name: str):
    recipe = Recipe.of(name)
    candidate = written_candidate(recipe, STEPS, LAYERS)
    assert not candidate.opaque
    assert candidate.recipe({}, STEPS, 512) == recipe
    family = written_family(recipe)
    if family is None:
        assert candidate.reuses
    else:
        varied = candidate.plain.recipe({family.name: family}, STEPS, 512)
        assert varied.method == recipe.method
        for key in ("compensate", "token_order", "shared_selection"):
            assert getattr(varied, key) == getattr(recipe, key)


def test_windows_and_warm_ups_become_counts():
    candidate = written_candidate(Recipe.of("radial", reuse_range=3), STEPS, LAYERS)
    assert (candidate.dense_steps, candidate.dense_layers) == (4, 1)  # 24 % of 20 steps
    assert (candidate.reuse, candidate.start, candidate.stop) == (3, 4, 18)  # 16 and 90 %


def test_an_offset_is_taken_over():
    recipe = Recipe.of("pab", reuse_offset=1)
    candidate = written_candidate(recipe, STEPS, LAYERS)
    assert (candidate.offset, candidate.opaque) == (1, False)
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert candidate.plain.recipe({}, STEPS, 512).schedule.parts[1].offset == 1


def test_what_candidates_cannot_say_is_measured_only():
    plan = Recipe(METHODS["window_residual"](), Table(("F" * LAYERS, "W" * LAYERS)))
    some_layers = Recipe.of("pab", reuse_mlp=2, reuse_mlp_layers=3)
    assert written_candidate(plan, 2, LAYERS).opaque
    assert written_candidate(some_layers, STEPS, LAYERS).opaque


def test_students_t_is_that_of_the_tables():
    known = {1: 6.314, 4: 2.132, 10: 1.812, 11: 1.796, 20: 1.725, 60: 1.671, 10**6: 1.645}
    for freedom, value in known.items():
        assert student_t(freedom) == pytest.approx(value, abs=1e-3)


def test_the_bound_is_the_mean_less_what_chance_may_do():
    assert lower_bound([30.0, 32.0, 34.0]) == pytest.approx(32 - 2.920 * 2 / 3**0.5)
    assert lower_bound([31.0]) == 31.0
    assert lower_bound([31.0, 31.0]) == 31.0


def point(quality: float, speedup: float, spread: float = 1.0, given: bool = False) -> Point:
    psnrs = (quality - spread, quality, quality + spread)
    text = f"name = 'r{speedup}'" if given else ""
    candidate = Candidate("svg", round(speedup, 3), dense_steps=int(quality), given=text, label=text)
    return Point(candidate, psnrs, (), (10 / speedup,) * 3, (10.0,) * 3, 0.5, 3)


def test_a_search_aims_as_high_as_the_check_will_ask():
    points = [point(30, 1.2, 2.0), point(33, 1.1, 2.0)]
    margin = margin_for(points, "psnr", 7)
    assert margin == pytest.approx(1.943 * 2 / 7**0.5)
    assert Goal(psnr=30).raised(margin).target == pytest.approx(30 + margin)
    assert Goal(speedup=1.3).raised(margin).target == 1.3
    assert Goal(recall=0.9).raised(0.5).target == 1.0
    assert margin_for([], "psnr", 7) == 0
    assert fmean(points[0].psnrs) == 30


def test_given_recipes_do_not_use_up_the_patience():
    goal = Goal(psnr=30)
    given = [point(33, 1.5, given=True), *(point(20, 1 + i / 100, given=True) for i in range(PATIENCE))]
    ours = [point(20, 1.2 + i / 1000) for i in range(PATIENCE)]
    assert not is_stale(given, goal)
    assert not is_stale([*given, *ours[1:]], goal)
    assert is_stale([*given, *ours], goal)
    assert not is_stale([*given, *ours, point(33, 1.6)], goal)
    assert not is_stale([], goal)


def test_the_fastest_with_a_margin_are_asked_with_the_fastest_hand_written_one():
    goal = Goal(psnr=30)
    bare, fast, good, fine = point(30.1, 2.0), point(32, 1.8), point(33, 1.7), point(34, 1.6)
    written, slow = point(40, 1.2, given=True), point(41, 1.1, given=True)
    points = [bare, fast, good, fine, written, slow]
    assert next_finalists(points, [], [], goal, 4) == [fast, good, written]


def test_those_that_fail_give_way_to_better_ones_and_those_that_hold_end_the_slower():
    goal = Goal(psnr=30)
    fast, good, fine, written = point(32, 1.8), point(33, 1.7), point(34, 1.6), point(40, 1.2, given=True)
    points = [point(31.9, 1.75), fast, good, fine, written]
    asked = [fast, good, written]
    assert next_finalists(points, asked, [written], goal, 4) == [fine]
    assert next_finalists(points, asked, [good, written], goal, 4) == []
    assert next_finalists(points, [*asked, fine], [], goal, 4) == []


def test_the_nearest_miss_is_asked_when_nothing_meets_the_target():
    points = [point(20, 2.0), point(25, 1.5)]
    assert next_finalists(points, [], [], Goal(psnr=30), 4) == [points[1]]
    assert next_finalists(points, [points[1]], [], Goal(psnr=30), 4) == []
