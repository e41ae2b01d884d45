"""Views of a head against attention written out in full, in both token orders, exact and sampled."""

import pytest
import torch

from videosieve.inspection import (
    MEASURES,
    KeptRows,
    Patches,
    Plan,
    decode_ratios,
    encode_ratios,
    measure_heads,
    name_order,
    plan,
    uniform_measures,
    view_head,
)
from videosieve.layout import Grid, VideoLayout
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods import Selection, SemanticPermutation, SparseVideoGen, TokenOrder, attend_selected
from videosieve.testing.factories import make_call

LAYOUT = VideoLayout.of(3, 4, 5, text_first=3, text_last=4)  # 67 tokens: cells of 9 do not divide them


def weights_of(call, batch=0, head=0):
    return (call.q[batch, head].double() @ call.k[batch, head].double().T * call.scale).softmax(-1)


def pooled_by_hand(matrix, order, side):
    """Means over cells, written as loops."""
    moved, tokens = matrix[order][:, order], len(matrix)
    starts = range(0, tokens, side)
    return torch.stack(
        [torch.stack([moved[r : r + side, c : c + side].mean() for c in starts]) for r in starts]
    )


@pytest.mark.parametrize("at_once", [2**24, 500])
def test_maps_are_the_means_of_full_attention_over_cells(monkeypatch, at_once):
    monkeypatch.setattr(plan, "SCORES_AT_ONCE", at_once)  # 500: seven rows at a time
    call = make_call(LAYOUT, batch=2)
    how = Plan.of(LAYOUT, cells=8)
    assert how.exact
    assert (how.side, how.cells) == (9, 8)
    view = view_head(call, 1, 1, how)
    full = weights_of(call, 1, 1) * LAYOUT.tokens
    for picture, order in zip(view.attention, (torch.arange(67), LAYOUT.token_major_order()), strict=True):
        torch.testing.assert_close(picture.double(), pooled_by_hand(full, order, 9), rtol=1e-5, atol=1e-6)
    assert view.computed.eq(1).all()
    assert view.measures["recall"] == 1


def test_measures_are_the_mass_that_lies_there():
    call = make_call(LAYOUT)
    view = view_head(call, 0, 0, Plan.of(LAYOUT))
    full, video = weights_of(call), range(3, 63)
    text = [token for token in range(67) if token not in video]
    by_hand = {name: [] for name in MEASURES[1:]}
    for query in video:
        row, frame, place = full[query], (query - 3) // 20, (query - 3) % 20
        by_hand["text"].append(row[text].sum())
        by_hand["first_frame"].append(row[3:23].sum())
        by_hand["own_frame"].append(row[3 + 20 * frame : 23 + 20 * frame].sum())
        by_hand["own_place"].append(row[[3 + place, 23 + place, 43 + place]].sum())
        by_hand["spread"].append(torch.exp(-(row * row.log()).sum()) / 67)
    for name, values in by_hand.items():
        assert view.measures[name] == pytest.approx(float(torch.stack(values).mean()), abs=1e-6), name
    everyone = measure_heads(call, 0, torch.arange(3, 63))
    assert everyone[:, 0].tolist() == pytest.approx([view.measures[name] for name in MEASURES], abs=1e-6)


def test_uniform_attention_has_the_uniform_measures():
    call = make_call(LAYOUT)
    call.q.zero_()
    view = view_head(call, 0, 0, Plan.of(LAYOUT))
    assert view.measures == pytest.approx(uniform_measures(LAYOUT, 1.0), abs=1e-6)
    torch.testing.assert_close(view.attention, torch.ones_like(view.attention), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "method", [SparseVideoGen(density=0.4, block=8), SemanticPermutation(query_clusters=4, key_clusters=6)]
)
def test_recall_is_that_of_the_kernel_whatever_order_the_mask_has(method):
    call = make_call(LAYOUT, heads=4)
    selection, _ = method.select(call, None)
    kept = attend_selected(call, selection, "reference").lse
    full = (call.q @ call.k.mT * call.scale).logsumexp(-1)
    expected = (kept - full).exp().mean(-1)[0]
    for head in range(4):
        rows = KeptRows(selection, 0, head)
        view = view_head(call, 0, head, Plan.of(LAYOUT), rows)
        assert view.measures["recall"] == pytest.approx(float(expected[head]), abs=1e-5)
        density = rows(torch.arange(67)).double().mean()
        assert rows.density == pytest.approx(float(density))


def test_a_mask_is_outlined_where_its_pairs_are():
    keep = torch.zeros(1, 1, 9, 9, dtype=torch.bool)
    keep[..., 2, 5] = True  # one block, made in token-major order
    order = TokenOrder(LAYOUT.token_major_order())
    selection = Selection(BlockMask(keep, BlockSize(8, 8), 67), order, order)
    view = view_head(make_call(LAYOUT), 0, 0, Plan.of(LAYOUT, cells=9), KeptRows(selection, 0, 0))
    assert view.computed[1, 2, 5] == 1
    assert view.computed[1].sum() == 1
    assert view.computed[0].max() < 1
    assert name_order(selection, LAYOUT, 0, 0) == "token-major"
    assert name_order(None, LAYOUT, 0, 0) == "frame-major"


def test_heads_that_stay_and_ragged_blocks_and_causal_masks_are_told_apart():
    order = TokenOrder(LAYOUT.token_major_order(), torch.tensor([[False, True]]))
    dense = BlockMask.dense(67, BlockSize(8, 8))
    half = Selection(dense, order, order, ("spatial", "temporal"), torch.tensor([[0, 1]]))
    assert [name_order(half, LAYOUT, 0, head) for head in (0, 1)] == ["frame-major", "token-major"]
    assert [KeptRows(half, 0, head).pattern for head in (0, 1)] == ["spatial", "temporal"]
    offsets = torch.tensor([0, 10, 67]).view(1, 1, 3)
    ragged = RaggedBlockMask(torch.eye(2, dtype=torch.bool)[None, None], offsets, offsets, 67)
    kept = KeptRows(Selection(ragged), 0, 1)(torch.tensor([9, 10]))
    assert kept.sum(-1).tolist() == [10, 57]
    causal = KeptRows(Selection(dense, causal=True), 0, 0)(torch.tensor([0, 66]))
    assert causal.sum(-1).tolist() == [1, 67]


def test_long_sequences_are_sampled_evenly_and_close(monkeypatch):
    monkeypatch.setattr(plan, "EXACT_TOKENS", 50)
    monkeypatch.setattr(plan, "SAMPLED_ROWS", 40)
    call = make_call(LAYOUT)
    sampled = Plan.of(LAYOUT, cells=4)
    assert not sampled.exact
    assert len(set(sampled.rows.tolist())) == 40
    view = view_head(call, 0, 0, sampled)
    rows = weights_of(call)[sampled.rows] * 67
    of_cell = [sampled.rows // sampled.side == cell for cell in range(4)]
    by_hand = torch.stack([rows[mine, :17].mean() for mine in of_cell])
    torch.testing.assert_close(view.attention[0, :, 0].double(), by_hand, rtol=1e-5, atol=1e-6)


def test_patches_are_exact_rows_pooled_over_cells():
    call = make_call(LAYOUT)
    how = Plan.of(LAYOUT, patches=9)
    patches = how.patches
    assert (patches.frames, patches.rows, patches.columns) == ((0,), (1, 3), (1, 3))
    tokens = patches.tokens(LAYOUT)
    assert tokens.tolist() == [3 + 5 * row + column for row in (1, 3) for column in (1, 3)]
    view = view_head(call, 0, 0, how)
    full = weights_of(call)[tokens]
    expected = full[:, 3:63].view(4, 3, 4, 5) * 67
    assert ((decode_ratios(view.patches) / expected.clamp(2**-4, 2**8)).log2().abs() < 0.025).all()
    torch.testing.assert_close(
        view.outside.double(), full[:, [0, 1, 2, 63, 64, 65, 66]].sum(-1), rtol=1e-4, atol=1e-6
    )


def test_key_cells_of_uneven_size_hold_means():
    patches = Patches((0,), (0,), (0,), (2, 3, 2), Grid(3, 4, 5))
    assert patches.cells == (2, 2, 3)
    mass = torch.rand(1, 60, generator=torch.Generator().manual_seed(0))
    cells, grid = patches.pool_keys(mass), mass.view(3, 4, 5)
    assert cells[0, 1, 1, 2] == pytest.approx(float(grid[2, 3, 4]))
    assert cells[0, 0, 0, 0] == pytest.approx(float(grid[:2, :3, :2].mean()))


@pytest.mark.parametrize("grid", [Grid(33, 45, 80), Grid(1, 1, 1), Grid(200, 2, 90), Grid(16, 8, 8)])
@pytest.mark.parametrize("most", [1, 20, 256])
def test_grids_of_queries_and_cells_keep_their_limits(grid, most):
    patches = Patches.choose(grid, most)
    frames, rows, columns = (len(x) for x in (patches.frames, patches.rows, patches.columns))
    assert 1 <= frames * rows * columns <= most
    assert max(patches.frames) < grid.frames
    assert max(patches.rows) < grid.height
    assert max(patches.columns) < grid.width
    assert torch.tensor(patches.cells).prod() <= 4096


def test_bytes_say_a_ratio_to_within_a_step():
    ratios = torch.tensor([0.0, 2**-4, 0.5, 1.0, 37.0, 256.0, 1e9])
    back = decode_ratios(encode_ratios(ratios))
    assert ((back / ratios.clamp(2**-4, 2**8)).log2().abs() <= 6.1 / 255).all()
