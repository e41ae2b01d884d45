"""SpargeAttn's selection: pooling and gate as loops, the dense limit, planted blocks, unlike blocks, refusals."""

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve import AttentionCall, RecipeError, VideoLayout
from videosieve.methods import attend_selected
from videosieve.methods.sparge import Sparge, pool, top_p_below
from videosieve.testing.factories import make_call

LAYOUTS = {"odd": VideoLayout.of(3, 5, 5), "whole": VideoLayout.of(4, 4, 5, text_last=16)}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
SIDE = 16


def smooth(call, noise=0.5):
    """A call whose blocks are alike: tokens differ little from the mean of their 16."""
    for x in (call.q, call.k):
        for start in range(0, call.tokens, SIDE):
            part = x[:, :, start : start + SIDE]
            part.copy_(noise * part + part.mean(2, keepdim=True) * 4)
    return call


def keep_by_loops(call, batch, head, threshold, theta):
    """The first stage of the paper's Algorithm 1; query blocks of 16, key blocks of 8."""
    q, k = call.q[batch, head].double(), call.k[batch, head].double()
    q_blocks, k_blocks = q.split(SIDE), k.split(SIDE // 2)

    def alike(block):
        total = sum(float(a @ b / (a.norm() * b.norm())) for a in block for b in block)
        return total / len(block) ** 2 > theta

    k_alike = [alike(block) for block in k_blocks]
    keep = torch.zeros(len(q_blocks), len(k_blocks), dtype=torch.bool)
    for i, block in enumerate(q_blocks):
        weights = [
            math.exp(float(block.mean(0) @ other.mean(0)) * call.scale) * len(other) if like else 0.0
            for other, like in zip(k_blocks, k_alike, strict=True)
        ]
        order = sorted(range(len(weights)), key=lambda j: -weights[j])
        held = 0.0
        for rank, j in enumerate(order):
            held += weights[j]
            if rank == 0 or held <= threshold * sum(weights):
                keep[i, j] = True
        keep[i] |= torch.tensor([not like for like in k_alike])
        if not alike(block):
            keep[i] = True
    return keep


@pytest.mark.parametrize("parameters", [{"threshold": 0.3}, {"density": 0.2}])
def test_the_sink_adds_the_first_key_block_and_nothing_else(parameters):
    call = smooth(make_call(LAYOUTS["odd"], batch=2))
    plain, sunk = (
        Sparge(**parameters, block=SIDE, sink=sink).select(call, None)[0].mask.keep for sink in (False, True)
    )
    assert not plain[..., 0].all()
    assert sunk[..., 0].all()
    assert torch.equal(sunk[..., 1:], plain[..., 1:])


@layouts
@pytest.mark.parametrize("threshold", [0.3, 0.8])
@pytest.mark.parametrize("theta", [0.5, 0.75])
def test_the_selection_is_algorithm_1(layout, threshold, theta):
    call = smooth(make_call(layout, batch=2))
    keep = Sparge(threshold, theta, block=SIDE).select(call, None)[0].mask.keep
    assert not keep.all()
    for batch, head in ((0, 0), (1, 1)):
        assert torch.equal(keep[batch, head], keep_by_loops(call, batch, head, threshold, theta))


def test_similarity_is_the_mean_of_all_cosines_in_passes_of_any_size(monkeypatch):
    call = make_call(LAYOUTS["odd"], batch=2)
    pooled = pool(call.q, SIDE, None)
    monkeypatch.setattr("videosieve.methods.sparge.VALUES_AT_ONCE", 1)
    for whole, part in zip(pooled, pool(call.q, SIDE, None), strict=True):
        torch.testing.assert_close(part, whole)
    for i, block in enumerate(call.q.split(SIDE, 2)):
        unit = block / block.norm(dim=-1, keepdim=True)
        torch.testing.assert_close(pooled.similarity[:, :, i], (unit @ unit.mT).mean((-1, -2)))
        torch.testing.assert_close(pooled.mean[:, :, i], block.mean(2))


def test_the_block_that_crosses_the_threshold_stays_out_but_for_the_first():
    mass = torch.tensor([[[[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]]])
    assert top_p_below(mass, 0.85)[0, 0].tolist() == [[True, True, False], [True, False, True]]
    assert top_p_below(mass, 0.1)[0, 0].tolist() == [[True, False, False], [False, False, True]]
    assert top_p_below(mass, 1.0).all()


@layouts
@pytest.mark.parametrize(
    "parameters", [{"threshold": 1.0, "similarity": 0.0}, {"density": 1.0}, {"similarity": 1.0}]
)
def test_keeping_everything_is_dense_attention(layout, parameters):
    call = make_call(layout)
    selection, _ = Sparge(block=SIDE, **parameters).select(call, None)
    torch.testing.assert_close(
        attend_selected(call, selection).output, scaled_dot_product_attention(call.q, call.k, call.v)
    )


def test_the_planted_block_is_the_one_kept():
    call = smooth(make_call(LAYOUTS["whole"]))
    call.q[:, :, 16:32] = call.k[:, :, 48:56] = 4.0
    keep = Sparge(0.5, block=SIDE).select(call, None)[0].mask.keep
    assert keep[0, 0, 1].nonzero().flatten().tolist() == [6]


def test_blocks_of_unlike_tokens_are_computed_in_full():
    call = smooth(make_call(LAYOUTS["whole"]), noise=0.1)
    noise = torch.randn(1, 2, SIDE, 16, generator=torch.Generator().manual_seed(9))
    call.q[:, :, 32:48], call.k[:, :, 64:72] = noise, noise[:, :, :8]
    keep = Sparge(0.2, block=SIDE).select(call, None)[0].mask.keep
    assert keep[:, :, 2].all()
    assert keep[..., 8].all()
    assert not keep[:, :, [0, 1, 3, 4, 5]].all(-1).any()
    gate_off = Sparge(0.2, 0.0, block=SIDE).select(call, None)[0].mask.keep
    assert not gate_off[:, :, 2].all(-1).any()


def test_top_k_keeps_a_share_of_the_key_blocks_and_has_no_gate():
    call = make_call(LAYOUTS["whole"])
    keep = Sparge(density=0.25, block=SIDE).select(call, None)[0].mask.keep
    assert (keep.sum(-1) == 3).all()
    gated = Sparge(density=0.25, similarity=0.9, block=SIDE).select(call, None)[0].mask.keep
    assert gated.all()


def test_permuted_key_blocks_are_kept_where_they_went():
    call = smooth(make_call(LAYOUTS["whole"]))
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    moved = AttentionCall(
        call.q, call.k.unflatten(2, (12, 8))[:, :, order].flatten(2, 3), call.v, call.layout
    )
    method = Sparge(0.6, block=SIDE)
    keep, there = (method.select(c, None)[0].mask.keep for c in (call, moved))
    assert torch.equal(there, keep[..., order])


def test_a_hilbert_order_makes_neighbours_in_space_one_block():
    """Tokens that are alike by place in space: along the curve blocks are self-similar, frame-major they are not."""
    layout = VideoLayout.of(8, 8, 8)
    corner = torch.cartesian_prod(*[torch.arange(8) // 2] * 3)
    group = corner[:, 0] * 16 + corner[:, 1] * 4 + corner[:, 2]
    centres = torch.randn(64, 16, generator=torch.Generator().manual_seed(0)) * 4
    call = make_call(layout)
    for x in (call.q, call.k):
        x.mul_(0.3).add_(centres[group])
    plain, curve = (
        Sparge(0.9, block=SIDE, order=order).select(call, None)[0] for order in ("frame_major", "hilbert")
    )
    assert plain.mask.density == 1
    assert curve.mask.density < 0.9
    full = Sparge(1.0, 0.0, block=SIDE, order="hilbert").select(call, None)[0]
    torch.testing.assert_close(
        attend_selected(call, full).output,
        scaled_dot_product_attention(call.q, call.k, call.v),
        atol=1e-4,
        rtol=1e-3,
    )


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"threshold": 0.0},
            r"pooled mass to keep per query block and must lie in \(0, 1\], got threshold=0.0",
        ),
        ({"density": 1.5}, "got density=1.5"),
        ({"similarity": -0.1}, r"mean cosine and must lie in \[0, 1\], got similarity=-0.1"),
        ({"similarity": math.nan}, "got similarity=nan"),
        ({"order": "zigzag"}, "order must be 'frame_major' or 'hilbert', got order='zigzag'"),
        ({"block": 15}, "block must be even, key blocks are half as long, got self.block=15"),
        ({"block": 0}, "at least 1, got block=0"),
    ],
)
def test_values_outside_their_range_are_refused(parameters, message):
    with pytest.raises(RecipeError, match=message):
        Sparge(**parameters)
