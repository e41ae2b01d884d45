"""Faults that were found once, each with more members of its kind: wrong numbers, memory errors, calls that hang."""

import math

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import videosieve
from videosieve import BlockMask, BlockSize, NumericsError, ShapeError, VideoLayout, VideosieveError
from videosieve.call import AttentionCall
from videosieve.kernels import (
    antidiagonal_scores,
    block_mass,
    block_sparse_attention,
    dense_attention,
    kmeans,
    norm_rope,
    reorder_tokens,
    sampled_attention,
)
from videosieve.kernels.arguments import check_order
from videosieve.kernels.norm_rope import HeadNorm, Rotation, Stream
from videosieve.masks.ragged_mask import RaggedBlockMask, whole_offsets
from videosieve.methods import make_method
from videosieve.testing.factories import band_mask, make_qkv, random_ragged_mask
from videosieve.testing.kernel_inputs import KernelCall
from videosieve.testing.memory import misaligned, shrunk
from videosieve.testing.triton_interpreter import interpreted

LAYOUT = VideoLayout.of(4, 8, 8)
TOKENS, HEADS, HEAD_DIM = LAYOUT.tokens, 2, 64

ODD_MEMORY = {
    "every second value": lambda x: x.repeat_interleave(2, -1)[..., ::2],
    "head_dim outside": lambda x: x.mT.contiguous().mT,
    "heads innermost": lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "batch innermost": lambda x: x.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "one value for all of head_dim": lambda x: x[..., :1].expand_as(x),
    "one token for all": lambda x: x[:, :, :1].expand_as(x),
    "one head for all": lambda x: x[:, :1].expand_as(x),
    "windows that overlap": lambda x: x.flatten().as_strided(x.shape, (0, 64, 3, 1)),
    "from the middle of a larger one": lambda x: torch.cat([x, x], 3)[..., 7 : 7 + x.shape[3]],
}


@pytest.mark.parametrize("memory", ODD_MEMORY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float64], ids=str)
def test_where_values_lie_does_not_change_what_attention_gives(memory, dtype):
    x = [ODD_MEMORY[memory](y) for y in make_qkv(TOKENS, TOKENS, head_dim=HEAD_DIM, dtype=dtype)]
    result = videosieve.attention(*x, LAYOUT, "dense")
    call = KernelCall("block_sparse_attention", dict(zip("qkv", x, strict=True)) | {"mask": result.mask})
    call.judge((result.output, result.lse), result.kernel)


@pytest.mark.parametrize("memory", ODD_MEMORY)
@pytest.mark.parametrize("backend", ["cpu", "reference", None])
def test_where_values_lie_does_not_change_what_sparse_attention_gives(memory, backend):
    q, k, v = (ODD_MEMORY[memory](y) for y in make_qkv(100, 100, head_dim=16))
    arguments = {"q": q, "k": k, "v": v, "mask": band_mask(100, BlockSize(16, 32), 20, sink=1)}
    call = KernelCall("block_sparse_attention", arguments)
    call.judge(call.run(backend), backend)


MISMATCHED = {
    "more heads of keys": lambda q, k, v: (q, *(torch.cat([x, x[:, :1]], 1) for x in (k, v))),
    "values of one head": lambda q, k, v: (q, k, v[:, :1]),
    "one batch element of keys": lambda q, k, v: (torch.cat([q, q]), k, v),
    "fewer values than keys": lambda q, k, v: (q, k, v[:, :, :-1]),
    "narrower keys": lambda q, k, v: (q, k[..., :-1], v[..., :-1]),
    "narrower values": lambda q, k, v: (q, k, v[..., :-1]),
    "wider queries": lambda q, k, v: (torch.cat([q, q], -1), k, v),
    "three axes": lambda q, k, v: (q[0], k[0], v[0]),
    "half-precision keys": lambda q, k, v: (q, k.half(), v.half()),
    "keys elsewhere": lambda q, k, v: (q, k.to("meta"), v),
    "no head": lambda q, k, v: (q[:, :0], k[:, :0], v[:, :0]),
    "no batch element": lambda q, k, v: (q[:0], k[:0], v[:0]),
    "no query": lambda q, k, v: (q[:, :, :0], k, v),
    "no key": lambda q, k, v: (q, k[:, :, :0], v[:, :, :0]),
    "no value": lambda q, k, v: (q[..., :0], k[..., :0], v[..., :0]),
    "whole numbers": lambda q, k, v: (q.int(), k.int(), v.int()),
    "bools": lambda q, k, v: (q > 0, k > 0, v > 0),
    "complex numbers": lambda q, k, v: (q + 0j, k + 0j, v + 0j),
    "memory that was taken away": lambda q, k, v: (q, shrunk(k), v),
    "keys between addresses": lambda q, k, v: (q, misaligned(k), v),
    "a pending negation": lambda q, k, v: (torch._neg_view(q), k, v),
    "lists": lambda q, k, v: (q.tolist(), k.tolist(), v.tolist()),
    "a sparse tensor": lambda q, k, v: (q, k.to_sparse(), v),
}
KEEP = torch.ones(1, 1, 40, 40, dtype=torch.bool)
OPS = {
    "sampled_attention": lambda q, k, v: sampled_attention(q, k, v, [KEEP]),
    "dense_attention": dense_attention,
    "block_sparse_attention": lambda q, k, v: block_sparse_attention(
        q, k, v, band_mask(40, BlockSize(16, 16), 8)
    ),
    "block_mass": lambda q, k, v: block_mass(q, k, torch.zeros(1, 4, 40), BlockSize(8, 8)),
    "antidiagonal_scores": lambda q, k, v: antidiagonal_scores(q, k, 4),
}


@pytest.mark.parametrize("change", MISMATCHED)
@pytest.mark.parametrize("op", OPS)
def test_tensors_that_are_no_call_are_refused(op, change):
    q, k, v = MISMATCHED[change](*make_qkv(40, 40, heads=4, head_dim=16))
    if op in ("block_mass", "antidiagonal_scores") and "values" in change:
        return  # it takes no values
    with pytest.raises(ShapeError):
        OPS[op](q, k, v)


def test_offsets_of_other_heads_than_the_tensors_are_refused():
    q, k, v = make_qkv(40, 40, heads=4)
    mask = random_ragged_mask(40, 40, (3, 5), 0.5, heads=2)
    with pytest.raises(ShapeError, match=r"mask.keep must start with \[1 or 1, 1 or 4\], got \[1, 2, 3, 5\]"):
        block_sparse_attention(q, k, v, mask)
    shared = RaggedBlockMask(mask.keep[:, :1], mask.query_offsets, mask.key_offsets[:, :1], 40)
    with pytest.raises(ShapeError, match=r"mask.query_offsets must start with \[1 or 1, 1 or 4\]"):
        block_sparse_attention(q, k, v, shared)


@pytest.mark.parametrize(
    "offsets",
    [
        [[0, 20, 10, 40]],
        [[1, 20, 30, 40]],
        [[0, 20, 30, 41]],
        [[0, -5, 30, 40]],
        [[0, 50, 60, 40]],
        [[0, 20, 40]],
    ],
    ids=str,
)
def test_offsets_that_leave_the_sequence_are_refused_where_the_mask_is_made(offsets):
    keep, right = torch.ones(1, 1, 3, 3, dtype=torch.bool), torch.tensor([[[0, 10, 30, 40]]])
    for pair in ((right, torch.tensor([offsets])), (torch.tensor([offsets]), right)):
        with pytest.raises(ShapeError, match="_offsets must"):
            RaggedBlockMask(keep, *pair, 40)


def test_offsets_that_nobody_looked_at_become_a_partition_before_a_program_follows_them():
    wrong = torch.tensor([[[3, 50, -7, 20, 2**40, 9]]])
    assert whole_offsets(wrong, 40).tolist() == [[[0, 40, 40, 40, 40, 40]]]
    assert whole_offsets(torch.tensor([[[0, 5, 5, 30, 40]]]), 40).tolist() == [[[0, 5, 5, 30, 40]]]
    assert whole_offsets(torch.tensor([[[7, 7]]]), 40).tolist() == [[[0, 40]]]


def test_places_that_nobody_looked_at_are_clamped_into_the_sequence():
    x, order = torch.empty(1, 2, 9, 4, device="meta"), torch.empty(9, dtype=torch.int64, device="meta")
    clamped = check_order("order", order, x)
    assert clamped is not order  # a new tensor: the clamped one, whose values a meta device does not have
    there = torch.arange(9)
    assert check_order("order", there, torch.empty(1, 2, 9, 4)) is there


ORDERS = {
    "past the end": torch.tensor([0, 1, 2, 3, 5]),
    "before the start": torch.tensor([0, 1, 2, 3, -1]),
    "far away": torch.tensor([0, 1, 2, 3, 2**40]),
    "in another head": torch.arange(5, 10),
}


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("backend", ["cpu", "reference", None])
def test_a_token_that_there_is_not_is_refused(order, backend):
    x = torch.arange(20.0).view(1, 2, 5, 2)
    with pytest.raises(ShapeError, match=r"order must name tokens 0 … 4, got"):
        reorder_tokens(x, ORDERS[order], backend=backend)
    with pytest.raises(ShapeError, match=r"order must name tokens 0 … 4, got"):
        norm_rope([Stream(x, x)], order=ORDERS[order])
    mask = BlockMask.dense(5, BlockSize(2, 2))
    for name in ("query_order", "key_order"):
        with pytest.raises(ShapeError, match=rf"{name} must name tokens 0 … 4, got"):
            block_sparse_attention(x, x, x, mask, **{name: ORDERS[order]})


SCALES = [math.nan, math.inf, -math.inf, 1e39, 10**400, True, "0.1", torch.tensor(0.1), [0.1], 1j]
WITH_SCALE = {
    "dense_attention": lambda q, scale: dense_attention(q, q, q, scale=scale),
    "block_sparse_attention": lambda q, scale: block_sparse_attention(
        q, q, q, BlockMask.dense(20, BlockSize(8, 8)), scale=scale
    )[0],
    "sampled_attention": lambda q, scale: sampled_attention(q, q, q, [KEEP[..., :20, :20]], scale=scale)[0],
    "block_mass": lambda q, scale: block_mass(q, q, q[..., 0], BlockSize(8, 8), scale=scale),
    "antidiagonal_scores": lambda q, scale: antidiagonal_scores(q, q, 4, scale=scale),
    "attention": lambda q, scale: (
        videosieve.attention(q, q, q, VideoLayout.of(5, 2, 2), "dense", scale=scale).output
    ),
    "AttentionCall": lambda q, scale: (
        torch.tensor(AttentionCall(q, q, q, VideoLayout.of(5, 2, 2), scale=scale).scale) * q
    ),
}


@pytest.mark.parametrize("name", WITH_SCALE)
@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_a_scale_that_is_no_finite_number_is_refused(name, scale):
    with pytest.raises(NumericsError, match="scale must be a finite number"):
        WITH_SCALE[name](make_qkv(20, 1)[0], scale)


@pytest.mark.parametrize("name", WITH_SCALE)
def test_minus_one_and_zero_are_scales_like_any_other(name):
    q = make_qkv(20, 1, head_dim=16)[0]
    run = WITH_SCALE[name]
    torch.testing.assert_close(run(q, None), run(q, 0.25))
    for scale in (-1.0, 0.0):
        assert not torch.allclose(run(q, scale), run(q, None))
        torch.testing.assert_close(run(q, scale), run(q, scale + 1e-7), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("scale", [-1.0, -0.1, 0.0])
@pytest.mark.parametrize(("queries", "keys"), [(31, 32), (31, 70), (40, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_causal_attention_takes_every_scale(scale, queries, keys, dtype):
    q, k, v = make_qkv(queries, keys, dtype=dtype)
    call = KernelCall("dense_attention", {"q": q, "k": k, "v": v, "scale": scale, "causal": True})
    call.judge(call.run(None), None)


@pytest.mark.parametrize("field", ["first_iterations", "step_iterations"])
@pytest.mark.parametrize("rounds", [2**70, 1001])
def test_rounds_without_end_are_refused(field, rounds):
    with pytest.raises(VideosieveError, match=f"{field} must be a whole number >= 1, at most 1,000"):
        make_method("svg2", **{field: rounds})
    with pytest.raises(ShapeError, match="iterations is a number of rounds, at least 1 and at most 1000"):
        kmeans(make_qkv(20, 1)[0], 3, iterations=rounds)


@pytest.mark.parametrize("size", [2**20, 2**40, 2**62])
def test_blocks_longer_than_the_sequence_cost_no_memory(size):
    q, k, v = make_qkv(40, 40)
    expected = scaled_dot_product_attention(q, k, v)
    for backend in ("cpu", "reference", None):
        mask = BlockMask.dense(40, BlockSize(size, size))
        torch.testing.assert_close(block_sparse_attention(q, k, v, mask, backend=backend)[0], expected)
        lse = (q @ k.mT / 4).logsumexp(-1)
        mass = block_mass(q, k, lse, BlockSize(size, size), backend=backend)
        torch.testing.assert_close(mass, torch.full((1, 2, 1, 1), 40.0))
    with pytest.raises(ShapeError, match="stride is a number of tokens"):
        antidiagonal_scores(q, k, size)


def test_factors_and_orders_that_are_strided_reach_the_triton_kernelwhole_offsets():
    q, k, _ = make_qkv(20, 20, heads=3, head_dim=64)
    weight, table = torch.linspace(0.5, 2, 128)[::2], torch.linspace(0, 3, 20 * 64).view(20, 64)[:, ::2]
    norm = HeadNorm("layer", 1e-3, weight, torch.tensor(0.25).expand(64))
    streams = [Stream(q, k, norm, norm, Rotation(table.cos(), table.sin()))]
    order = torch.stack([torch.randperm(20) for _ in range(3)], -1).T[None]
    call = KernelCall("norm_rope", {"streams": streams, "order": order})
    with interpreted():
        call.judge(call.run("triton"), "triton")
