"""What is saved is what is loaded: recipes and traces with any names, keys and numbers."""

import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from videosieve import METHODS, Recipe, RecipeError, Trace
from videosieve.files import parse_toml, toml_key, toml_value
from videosieve.methods import Method, RadialAttention, SlidingTile, Sparge, SparseVideoGen, XAttention
from videosieve.methods.geometry.minference_patterns import PATTERNS
from videosieve.methods.minference import MInference
from videosieve.schedule import Broadcast, DenseFirst, FirstMatch, Schedule, Table
from videosieve.trace import Record

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SHARE = st.floats(0, 1, exclude_min=True)
PART = st.floats(0, 1) | st.integers(0, 2**63 - 1)
SEED = st.integers(0, 2**63 - 1)
TRIPLE = st.tuples(*[st.integers(1, 2**63 - 1)] * 3)


def table_of(item: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | st.lists(st.lists(item, max_size=3).map(tuple), max_size=3).map(tuple)


METHOD: st.SearchStrategy[Method] = st.one_of(
    st.builds(
        SparseVideoGen,
        SHARE,
        profile_rows=SHARE | st.integers(1, 99),
        first_frame_sink=st.booleans(),
        seed=SEED,
    ),
    st.builds(XAttention, SHARE, head_thresholds=table_of(SHARE), keep_first=st.booleans()),
    st.builds(
        MInference, SHARE, head_patterns=table_of(st.sampled_from(PATTERNS)), rows=st.integers(1, 2**62)
    ),
    st.builds(SlidingTile, SHARE, st.none() | TRIPLE, table_of(TRIPLE), st.none() | TRIPLE),
    st.builds(Sparge, SHARE, st.none() | st.floats(0, 1), st.none() | SHARE),
    st.builds(RadialAttention, st.none() | SHARE, st.floats(0, exclude_min=True, allow_infinity=False)),
    st.sampled_from([METHODS[name]() for name in sorted(METHODS)]),
)
DENSE = st.builds(DenseFirst, PART, PART)
REUSE = st.builds(Broadcast, st.integers(1, 9), st.floats(0, 0.4), st.floats(0.5, 1), mlp_layers=PART)
SCHEDULE: st.SearchStrategy[Schedule] = st.one_of(
    DENSE,
    REUSE,
    st.tuples(DENSE, REUSE).map(FirstMatch),
    st.sampled_from([Table(("FW", "AA")), Table(("f",))]),
)
RECIPE = st.builds(
    Recipe, METHOD, SCHEDULE, TEXT, st.integers(0, 2**63 - 1), st.dictionaries(TEXT, TEXT, max_size=4)
)


@given(RECIPE)
@example(
    Recipe(name='a"b\\c\n\x00\x1b\x7f\u2028[red]', provenance={"a key": "\r\n", "": "", "é.x": '"', "=": "#"})
)
def test_a_recipe_reads_back_equal_whatever_it_holds(recipe: Recipe):
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "r.toml")
        recipe.save(path)
        assert Recipe.load(path) == recipe
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
        assert Recipe.load(path) == recipe


@given(
    TEXT,
    st.one_of(
        TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(), st.lists(TEXT), st.lists(PART)
    ),
)
def test_any_key_and_value_is_toml(key: str, value: object):
    read = parse_toml(f"{toml_key(key)} = {toml_value(value, RecipeError)}\n", "it", RecipeError)
    if isinstance(value, float) and math.isnan(value):
        assert math.isnan(read[key])
    else:
        assert read == {key: value}
        assert type(read[key]) is type(value)


@pytest.mark.parametrize("value", [None, b"a", {"a": 1}, object(), 1j, [None]])
def test_what_toml_has_not_is_refused(value: object):
    with pytest.raises(RecipeError, match="TOML can write"):
        toml_value(value, RecipeError)


MEASURED = st.floats() | st.integers(0, 2**63 - 1)
RECORD = st.builds(
    Record, *[st.integers(0, 2**40)] * 2, *[st.text()] * 4, st.integers(0, 2**62), MEASURED, st.lists(MEASURED),
    st.lists(st.text()), MEASURED, st.sampled_from([(), (3, "cond")]),
)  # fmt: skip


@given(st.lists(RECORD, max_size=4))
def test_a_trace_reads_back_what_was_saved(records: list[Record]):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "t.jsonl")
        Trace(records).save(path)
        assert path.read_bytes().isascii()
        assert repr(Trace.load(path).records) == repr(records)  # repr, for NaN is not equal to itself


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("5", "must be a JSON object"),
        ("{}", "it lacks layer"),
        ('{"layer": "a"}', "it lacks|layer must be"),
        ('{"layer": 0, "more": 1}', "it has 'more'"),
    ],
)
def test_lines_of_other_shape_are_refused(tmp_path: Path, line: str, words: str):
    (tmp_path / "t.jsonl").write_text(line)
    with pytest.raises(RecipeError, match=words):
        Trace.load(tmp_path / "t.jsonl")


@pytest.mark.parametrize(
    ("key", "value"),
    [("layer", 1.5), ("step", None), ("branch", 3), ("density", "1"), ("recall", 0.5), ("recall", ["a"]),
     ("pattern", [1]), ("source", [1]), ("source", "cond"), ("milliseconds", True)],
)  # fmt: skip
def test_values_of_other_types_are_refused_with_their_name(tmp_path: Path, key: str, value: object):
    import json
    from dataclasses import asdict

    row = asdict(Record(0, 0, "cond", "dense", "", "sdpa", 1, 1.0)) | {key: value}
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    with pytest.raises(RecipeError, match=f"t.jsonl:1 is no Record: {key}"):
        Trace.load(tmp_path / "t.jsonl")
