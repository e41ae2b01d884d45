"""Targets, fronts, and the journal that a search goes on from."""

import json
from pathlib import Path

import pytest

from videosieve.errors import OutputError, RecipeError
from videosieve.methods import make_method
from videosieve.recipe import Recipe
from videosieve.schedule import DenseFirst
from videosieve.tuning.search import Candidate, Family, Goal, Journal, Point, families, pareto_front
from videosieve.tuning.search.points import estimate, prompt_offsets


def point(psnr: float, speedup: float, prompts: int = 2, run: int = 2, recall: float = 0.9) -> Point:
    psnrs = tuple(psnr + i - (run - 1) / 2 for i in range(run))
    candidate = Candidate("svg", round(speedup, 3), dense_steps=int(psnr))
    return Point(candidate, psnrs, (recall,) * run, (10 / speedup,) * run, (10.0,), 0.4, prompts)


@pytest.mark.parametrize("given", [{}, {"psnr": 30, "recall": 0.9}, {"psnr": 30, "speedup": 1.3}])
def test_exactly_one_target(given: dict[str, float]):
    with pytest.raises(RecipeError, match="one target"):
        Goal(**given)


@pytest.mark.parametrize(
    "given",
    [{"psnr": 0}, {"psnr": 100}, {"recall": 1.2}, {"speedup": 1.0}, {"psnr": float("nan")}, {"recall": True}],
)
def test_targets_outside_their_range_are_refused(given: dict[str, float]):
    with pytest.raises(RecipeError, match=next(iter(given))):
        Goal(**given)


def test_a_quality_goal_takes_the_fastest_that_meets_it():
    points = [point(31, 1.2), point(30.5, 1.4), point(29.9, 1.9), point(40, 1.05)]
    assert Goal(psnr=30).best(points) is points[1]
    assert Goal(psnr=45).best(points) is points[3]  # nobody meets it: the nearest miss
    assert Goal(speedup=1.3).best(points) is points[1]
    assert Goal(speedup=3).best(points) is points[2]


def test_a_measurement_that_was_given_up_is_never_the_best():
    goal = Goal(psnr=30)
    half, whole = point(35, 2.0, run=1), point(31, 1.1)
    assert not goal.met(half)
    assert goal.best([half, whole]) is whole
    assert goal.best([half]) is None


def test_the_front_is_what_no_other_beats():
    points = [point(q, s) for q, s in ((30, 1.0), (28, 1.5), (29, 1.5), (25, 1.4), (20, 2.0), (30, 0.9))]
    points.append(point(50, 3.0, run=1))
    front = pareto_front(points, lambda p: p.psnr)
    assert [(p.psnr, round(p.speedup, 2)) for p in front] == [(30, 1.0), (29, 1.5), (20, 2.0)]
    for p in front:
        assert not any(
            q.complete and q.psnr >= p.psnr and q.speedup >= p.speedup for q in points if q is not p
        )


def test_prompts_that_are_always_easy_do_not_flatter():
    offsets = prompt_offsets([point(30, 1.2), point(20, 1.5)], "psnr")
    assert offsets == pytest.approx([-0.5, 0.5])
    assert estimate((24.5,), offsets) == pytest.approx(25)
    assert prompt_offsets([point(30, 1.2, run=1)], "psnr") == []


def test_points_candidates_and_families_survive_json():
    candidate = Candidate("svg", 0.3, plan=("FW", "AW"))
    measured = Point(candidate, (30.0, 31.0), (), (1.0, 1.1), (2.0,), 0.5, 2)
    assert Point.from_json(json.loads(json.dumps(measured.as_json()))) == measured
    table = Family("x-heads", "xattention", (("head_thresholds", ((0.5, 0.7), (0.1, 1.0))),), "", (0.9,))
    for family in (*families(None, 100), table):
        back = Family.from_json(json.loads(json.dumps(family.as_json())))
        assert back == family
        assert back.make(back.values[0]) == family.make(family.values[0])


def test_what_follows_a_plus_goes_into_the_recipe():
    both, order, sieve, plain = families(["svg+centroids+shared", "xattention+head", "sieve", "svg"], 20_000)
    recipe = Candidate(both.name, 0.4, dense_steps=2).recipe({both.name: both}, 20, 512)
    assert (recipe.compensate, recipe.shared_selection, recipe.token_order) == ("centroids", True, "model")
    assert (recipe.method, recipe.min_tokens) == (make_method("svg", density=0.4), 512)
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert order.recipe(0.9, DenseFirst()).token_order == "head"
    assert sieve.recipe(0.3, DenseFirst()).shared_selection  # as its own recipe
    assert plain.recipe(0.3, DenseFirst()) == Recipe(
        make_method("svg", density=0.3), name="tuned", min_tokens=0
    )


def test_the_search_knows_sieve_and_centroids_by_itself():
    names = [family.name for family in families(None, 1_024)]
    assert {"sieve", "svg+centroids+shared", "svg+centroids+shared-32"} <= {*names}
    assert "sieve-32" not in names  # its own blocks are as small there
    assert "sieve-32" in [family.name for family in families(None, 4_096)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("svg+head", "token_order needs a method that chooses among blocks by queries and keys alone"),
        ("window_residual+centroids", "does so in its own way"),
        ("xattention+head+hilbert", "several token orders, head and hilbert"),
        ("xattention+centroid", "token_order is one of"),
    ],
)
def test_what_does_not_go_together_is_refused(words: str, message: str):
    with pytest.raises(RecipeError, match=message):
        families([words], 1_024)


def test_unknown_methods_are_refused_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean 'adaspa'"):
        families(["adaspaa"], 100)
    with pytest.raises(RecipeError, match="tune has no method 'oracle_top_k'"):
        families(["oracle_top_k"], 100)


def test_a_journal_goes_on_where_it_stopped(tmp_path: Path):
    path = tmp_path / "out" / "journal.jsonl"
    with Journal(path, {"goal": "PSNR"}) as journal:
        journal.add("look", took=2.0, value=1)
        journal.add("shot", took=3.5, value=2)
    with Journal(path, {"goal": "PSNR"}) as journal:
        assert [entry["value"] for entry in journal.entries] == [1, 2]
        assert journal.elapsed == 5.5
        journal.add("shot", took=1.0, value=3)
    with Journal(path, {"goal": "PSNR"}) as journal:
        assert [entry["value"] for entry in journal.of_kind("shot")] == [2, 3]


def test_a_journal_of_other_settings_is_refused_with_the_difference(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    with Journal(path, {"goal": "PSNR ≥ 30 dB", "steps": 20}) as journal:
        journal.add("point", took=1.0)
    with pytest.raises(OutputError, match="steps was 20 and is 30"):
        Journal(path, {"goal": "PSNR ≥ 30 dB", "steps": 30})
    assert len(path.read_text().splitlines()) == 2
