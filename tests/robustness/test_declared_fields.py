"""Every declared field takes what it must, and nothing else: thousands of values, none of them a raw exception."""

import numbers
from dataclasses import fields
from typing import Annotated

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.robustness.declared import Declared, declared
from benchmarks.robustness.trials import ANSWERED, REFUSED, try_value
from benchmarks.robustness.values import VALUES, is_part, is_real, is_text, is_whole
from videosieve import METHODS, BlockMask, BlockSize, Recipe, RecipeError, ShapeError
from videosieve.fields import Fraction, In, Seed, Whole, checked
from videosieve.methods import RadialAttention, SlidingTile, SparseVideoGen, XAttention
from videosieve.schedule import DenseFirst

CLASSES = declared()
KEEP = torch.ones(1, 1, 2, 2, dtype=torch.bool)


@pytest.mark.parametrize("entry", CLASSES, ids=lambda entry: entry.cls.__name__)
def test_a_value_is_answered_where_it_has_a_meaning_and_refused_where_it_has_none(entry: Declared):
    for name in entry.fields:
        for value in VALUES:
            outcome, said = try_value(entry, name, value)
            assert outcome in (ANSWERED, REFUSED), (name, type(value), said)
            assert outcome == ANSWERED or (0 < len(said) < 500 and "\n" not in said), said


def test_no_field_and_no_method_is_left_out():
    assert {entry.cls for entry in CLASSES} >= set(METHODS.values())
    for entry in CLASSES:
        assert set(entry.fields) == {field.name for field in fields(entry.cls) if field.init}


ANYTHING = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.complex_numbers(),
        st.decimals(), st.fractions(), st.sampled_from([np.int8(3), np.float16(0.5), np.bool_(False)]),
    ),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)  # fmt: skip


@pytest.mark.parametrize(
    ("annotation", "fits"),
    [
        (bool, lambda value: isinstance(value, bool | np.bool_)),
        (Whole, lambda value: is_whole(value, 0)),
        (Seed, lambda value: is_whole(value, 0)),
        (float, is_real),
        (str, is_text),
        (Fraction | Whole, is_part),
        (Annotated[float, In("(0, 1]")], lambda value: is_real(value, lambda number: 0 < number <= 1)),
        (float | None, lambda value: value is None or is_real(value)),
    ],
    ids=["bool", "whole", "seed", "float", "str", "part", "share", "optional"],
)
def test_no_value_at_all_gets_past_an_annotation_or_meets_a_raw_exception(annotation, fits):
    @given(ANYTHING)
    def holds(value: object):
        try:
            plain = checked("x", value, annotation, RecipeError)
        except RecipeError:
            assert not fits(value)
        else:
            assert fits(value)
            assert plain in (value, float(value) if isinstance(value, numbers.Rational) else value)
            assert type(plain) in (bool, int, float, str, type(None))

    holds()


@pytest.mark.parametrize("word", ["no", "off", "false", "yes", 0, 1, None, [], ""])
@pytest.mark.parametrize(("method", "field"), [(SparseVideoGen, "first_frame_sink"), (XAttention, "causal")])
def test_nothing_but_true_switches_anything_on(method, field, word):
    with pytest.raises(RecipeError, match=f"{field} must be true or false, got {field}="):
        method(**{field: word})
    with pytest.raises(RecipeError, match="true or false"):
        Recipe.of("svg", shared_selection=word)


def test_values_come_out_as_plain_python_and_compare_hash_and_write_as_such():
    ours = Recipe(
        RadialAttention(density=np.float64(0.5), first_frame_sink=np.bool_(True), block=np.int64(64)),
        DenseFirst(np.float32(0.25), np.int32(1)),
    )
    theirs = Recipe(RadialAttention(density=0.5, first_frame_sink=True, block=64), DenseFirst(0.25, 1))
    assert ours == theirs
    assert hash(ours.method) == hash(theirs.method)
    assert ours.to_toml() == theirs.to_toml()
    assert Recipe.from_toml(ours.to_toml()) == Recipe.from_toml(theirs.to_toml())
    assert hash(SlidingTile(head_windows=[[[1, 2, 3]]])) == hash(SlidingTile(head_windows=(((1, 2, 3),),)))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: BlockMask(KEEP, BlockSize(4, 4), (8, 8)), ShapeError, "queries must be a whole number"),
        (lambda: BlockMask(KEEP, (4, 4), 8), ShapeError, "block must be a BlockSize"),
        (lambda: BlockMask([[True]], BlockSize(4, 4), 4), ShapeError, "keep must be a Tensor"),
        (lambda: SlidingTile(head_windows=5), RecipeError, "head_windows is a list with one list per layer"),
        (lambda: Recipe.of(None), RecipeError, "a recipe is made from a name"),
        (lambda: Recipe.of(b"svg"), RecipeError, "a recipe is made from a name"),
        (lambda: Recipe(name=5), RecipeError, "name must be text, got name=5"),
        (lambda: Recipe("svg"), RecipeError, "method must be a Method, got method='svg'"),
        (lambda: Recipe.from_toml('[method]\nname = ["svg"]'), RecipeError, "name of a method must be text"),
        (lambda: Recipe.from_toml('name = 5\n[method]\nname = "svg"'), RecipeError, "name must be text"),
        (lambda: Recipe.from_toml('[method]\nname = "svg"\nfirst_frame_sink = "false"'), RecipeError, "without quotes"),
    ],
)  # fmt: skip
def test_the_named_mistakes_are_sentences(make, error, words):
    with pytest.raises(error, match=words):
        make()
