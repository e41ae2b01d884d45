"""The steps from mass to blocks: what each promises, for any mass."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from videosieve import RecipeError, Site, VideoLayout
from videosieve.methods.selection import (
    entries_of,
    outside_video,
    text_blocks,
    top_k,
    top_p,
)
from videosieve.testing.factories import make_call

CPU = torch.device("cpu")


@st.composite
def masses(draw):
    """Mass [2, 2, rows, columns] with ties, zeros and large ratios."""
    rows, columns = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    mass = torch.rand(2, 2, rows, columns, generator=generator) ** draw(st.sampled_from([1, 8]))
    return (mass * 4).round() if draw(st.booleans()) else mass


@settings(max_examples=40, deadline=None)
@given(masses(), st.integers(0, 14))
def test_top_k_keeps_the_heaviest_blocks_of_every_row(mass, count):
    keep = top_k(mass, count)
    assert (keep.sum(-1) == min(max(count, 1), mass.shape[-1])).all()
    lightest_kept = mass.masked_fill(~keep, torch.inf).amin(-1)
    heaviest_left = mass.masked_fill(keep, -torch.inf).amax(-1)
    assert (lightest_kept >= heaviest_left).all()


def test_top_k_takes_a_count_per_head_and_ties_in_order():
    keep = top_k(torch.ones(1, 2, 3, 5), torch.tensor([[1, 4]]).unsqueeze(-1))
    assert keep[0, 0].tolist() == [[True, False, False, False, False]] * 3
    assert keep[0, 1].tolist() == [[True, True, True, True, False]] * 3


def test_top_k_leaves_excluded_blocks_out_while_others_remain():
    mass = torch.tensor([[[[3.0, -torch.inf, 2.0, 0.0]]]])
    assert top_k(mass, 3).tolist() == [[[[True, False, True, True]]]]


@settings(max_examples=60, deadline=None)
@given(masses(), st.floats(0.01, 1.0))
def test_top_p_holds_the_threshold_with_the_fewest_blocks(mass, threshold):
    keep = top_p(mass, threshold)
    wide, total = mass.double(), mass.double().sum(-1)
    held = (wide * keep).sum(-1)
    assert (held >= threshold * total * (1 - 1e-12)).all()
    assert keep.any(-1).all()
    lightest = wide.masked_fill(~keep, torch.inf).amin(-1)
    one_less = held - lightest
    assert ((one_less < threshold * total * (1 + 1e-12)) | (keep.sum(-1) == 1) | (threshold == 1)).all()
    assert (lightest >= wide.masked_fill(keep, -torch.inf).amax(-1)).all()


@settings(max_examples=40, deadline=None)
@given(masses(), st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_a_larger_threshold_keeps_what_a_smaller_one_keeps(mass, one, other):
    low, high = sorted((one, other))
    assert (top_p(mass, low) <= top_p(mass, high)).all()


@settings(max_examples=40, deadline=None)
@given(masses(), st.floats(0.01, 1.0), st.integers(0, 99))
def test_blocks_kept_in_any_case_count_first(mass, threshold, seed):
    first = torch.rand(mass.shape[-2:], generator=torch.Generator().manual_seed(seed)) < 0.3
    keep = top_p(mass, threshold, first)
    assert (keep | ~first).all()
    wide = mass.double()
    for row in torch.cartesian_prod(*(torch.arange(size) for size in mass.shape[:3])).tolist():
        values, wanted = wide[tuple(row)], set(first[row[2]].nonzero().flatten().tolist())
        ranked = [i for i in values.argsort(descending=True, stable=True).tolist() if i not in wanted]
        held, total = float(values[list(wanted)].sum()), float(values.sum())
        while ranked and (not wanted or threshold == 1 or held < threshold * total * (1 - 1e-12)):
            wanted.add(ranked[0])
            held += float(values[ranked.pop(0)])
        assert wanted == set(keep[tuple(row)].nonzero().flatten().tolist())


def test_top_p_takes_a_threshold_per_head_and_keeps_everything_at_one():
    mass = torch.tensor([8.0, 1.0, 1.0, 0.0]).expand(1, 2, 1, 4)
    keep = top_p(mass, torch.tensor([0.75, 1.0]).unsqueeze(-1))
    assert keep[0, :, 0].tolist() == [[True, False, False, False], [True] * 4]


@pytest.mark.parametrize("value", [0.0, torch.nan, torch.inf])
def test_rows_without_a_usable_estimate_keep_one_block(value):
    mass = torch.full((1, 1, 2, 5), value)
    assert top_p(mass, 0.5).any(-1).all()
    assert (top_k(mass, 1).sum(-1) == 1).all()


@pytest.mark.parametrize(
    "layout",
    [
        VideoLayout.of(3, 4, 5),
        VideoLayout.of(3, 4, 5, text_first=9),
        VideoLayout.of(3, 4, 5, text_last=9),
        VideoLayout.of(2, 4, 5, text_first=3, text_last=2, extra_last=7),
    ],
    ids=str,
)
def test_blocks_outside_the_video_are_those_that_hold_such_a_token(layout):
    video = range(layout.tokens)[layout.video]
    blocks = range(0, layout.tokens, 8)
    expected = [any(t not in video for t in range(b, min(b + 8, layout.tokens))) for b in blocks]
    assert outside_video(layout, 8, CPU).tolist() == expected
    pairs = [[row or column for column in expected] for row in expected]
    assert text_blocks(layout, 8, CPU).tolist() == pairs


def test_a_table_of_another_model_is_refused():
    call = make_call(heads=3, site=Site(1, 2))
    with pytest.raises(RecipeError, match="each of 2 layers .* each of 3 heads, got 2 rows of 3 or 4"):
        entries_of("t", ((1, 2, 3), (1, 2, 3, 4)), call)
    with pytest.raises(RecipeError, match="got 1 rows of 3"):
        entries_of("t", ((1, 2, 3),), call)
    assert entries_of("t", ((1, 2, 3), (4, 5, 6)), call) == (4, 5, 6)


def test_a_call_with_some_heads_takes_their_entries():
    call = make_call(heads=2, site=Site(1, 2, heads=4, head_numbers=(3, 1)))
    assert entries_of("t", ((1, 2, 3, 4), (5, 6, 7, 8)), call) == (8, 6)
    with pytest.raises(RecipeError, match="each of 4 heads, got 2 rows of 2"):
        entries_of("t", ((1, 2), (3, 4)), call)
