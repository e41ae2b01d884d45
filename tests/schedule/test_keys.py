"""Schedules as keys of a recipe: in, out, overridden, refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from videosieve import Dense, DenseFirst, Recipe, RecipeError, Schedule, SparseVideoGen
from videosieve.schedule import Action, Broadcast, FirstMatch, Table

SHARES = st.one_of(st.integers(0, 9), st.floats(0, 1))
BROADCASTS = st.builds(
    Broadcast,
    st.integers(1, 9),
    st.floats(0, 0.4),
    st.floats(0.5, 1),
    st.integers(1, 9),
    st.integers(1, 9),
    SHARES,
)
PLANS = st.integers(1, 4).flatmap(
    lambda layers: st.lists(st.text("FfWwA", min_size=layers, max_size=layers), max_size=4).map(
        lambda rows: Table(("F" * layers, *rows))
    )
)
SCHEDULES = st.one_of(
    st.builds(DenseFirst, SHARES, SHARES),
    BROADCASTS,
    st.builds(lambda *parts: FirstMatch(parts), st.builds(DenseFirst, SHARES, SHARES), BROADCASTS),
    PLANS,
)


@given(SCHEDULES)
def test_toml_reads_back_to_an_equal_schedule(schedule):
    recipe = Recipe(SparseVideoGen(), schedule, "mine")
    assert Recipe.from_toml(recipe.to_toml()) == recipe


def test_overrides_add_a_broadcast_to_a_sparse_recipe():
    recipe = Recipe.of("svg", reuse_range=3, reuse_start=0.3)
    assert recipe.schedule == FirstMatch((DenseFirst(0.2, 0), Broadcast(3, 0.3)))
    assert Recipe.of(recipe, dense_steps=1).schedule.parts[0] == DenseFirst(1, 0)
    assert Recipe.of("pab", reuse_mlp=2).schedule == Broadcast(mlp=2)


def test_a_recipe_that_reuses_is_not_dense():
    assert Recipe.of("dense").is_dense
    assert not Recipe.of("pab").is_dense
    assert Recipe(Dense(), Broadcast(1)).is_dense
    assert not Recipe(Dense(), Table(("F", "f"))).is_dense


class Odd(Schedule):
    def action(self, site):
        return Action.SPARSE


@pytest.mark.parametrize(
    "schedule",
    [Odd(), FirstMatch((Broadcast(), DenseFirst())), FirstMatch((DenseFirst(), Odd()))],
    ids=["own class", "other order", "own part"],
)
def test_what_keys_cannot_say_is_not_written(schedule):
    with pytest.raises(RecipeError, match="recipes can write DenseFirst, Broadcast"):
        Recipe(Dense(), schedule).to_toml()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reuse_ranges = 2", r"no key 'reuse_ranges' .did you mean 'reuse_range'"),
        ("reuse_range = 0", "range counts steps"),
        ("plan = ['FF']\ndense_steps = 1", "no other schedule key may stand beside it; got dense_steps"),
        ("plan = 'FF'", "one string per step"),
    ],
)
def test_bad_keys_are_refused(text, message):
    with pytest.raises(RecipeError, match=message):
        Recipe.from_toml(f"[method]\nname = 'dense'\n[schedule]\n{text}")
