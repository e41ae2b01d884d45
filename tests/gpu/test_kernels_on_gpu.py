"""What only a GPU can show: bf16, real launches, no host synchronisation, graph capture. Run with `-m gpu`."""

import pytest
import torch

from videosieve.kernels import block_sparse_attention, dense_attention
from videosieve.kernels.block_sparse_attention import IMPLEMENTATIONS
from videosieve.kernels.block_sparse_attention.fp8 import reference as fp8
from videosieve.kernels.dense_attention import IMPLEMENTATIONS as DENSE
from videosieve.layout import VideoLayout
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods.base import Selection, TokenOrder, attend_selected
from videosieve.testing.factories import make_call, make_qkv, random_mask
from videosieve.testing.oracles import attention_oracle, pairs_oracle
from videosieve.testing.tolerances import assert_attention

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is visible"),
]
DTYPES = [torch.bfloat16, torch.float16, torch.float32]
OTHERS = ["flex", "flash-attn-4", "flashinfer"]


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.inference_mode():
        yield


def on_gpu(*tensors):
    return [x.cuda() for x in tensors]


def mask_on_gpu(mask):
    return BlockMask(mask.keep.cuda(), mask.block, mask.queries, mask.keys)


def check(q, k, v, mask, keep, backend, **options):
    """`keep` holds the pairs on the CPU, where the fp64 oracle runs."""
    output, lse = block_sparse_attention(*on_gpu(q, k, v), mask, backend=backend, **options)
    assert output.is_cuda
    assert_attention((output.cpu(), lse.cpu()), q, k, v, keep, q.shape[-1] ** -0.5)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("head_dim", [32, 64, 96, 128])
@pytest.mark.parametrize(
    "block", [BlockSize(16, 16), BlockSize(64, 64), BlockSize(128, 128), BlockSize(128, 64)], ids=str
)
@pytest.mark.parametrize("tokens", [75, 1000])
def test_every_precision_head_dim_and_block(dtype, head_dim, block, tokens):
    q, k, v = make_qkv(tokens, tokens, batch=2, heads=3, head_dim=head_dim, dtype=dtype)
    mask = random_mask(tokens, tokens, block, 0.4, batch=2, heads=3)
    check(q, k, v, mask_on_gpu(mask), pairs_oracle(mask), "triton")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_ragged_blocks_and_orders(dtype):
    generator = torch.Generator().manual_seed(0)
    cuts = torch.randint(0, 1001, (1, 3, 20), generator=generator).sort(-1).values
    offsets = torch.cat([torch.zeros(1, 3, 1).long(), cuts, torch.full((1, 3, 1), 1000)], -1)
    keep = torch.rand(2, 3, 21, 21, generator=generator) < 0.4
    mask = RaggedBlockMask(keep, offsets, offsets, 1000)
    q, k, v = make_qkv(1000, 1000, batch=2, heads=3, head_dim=128, dtype=dtype)
    order = torch.rand(1, 3, 1000, generator=generator).argsort(-1)
    back = order.argsort(-1).expand(2, 3, -1)
    pairs = mask.to_dense().expand(2, 3, -1, -1)
    pairs = pairs.gather(2, back.unsqueeze(-1).expand_as(pairs)).gather(
        3, back.unsqueeze(-2).expand_as(pairs)
    )
    there = RaggedBlockMask(keep.cuda(), offsets.cuda(), offsets.cuda(), 1000)
    check(q, k, v, there, pairs, "triton", query_order=order.cuda(), key_order=order.cuda())


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("head_dim", [64, 128])
def test_other_peoples_kernels_where_they_can_run(name, head_dim):
    q, k, v = make_qkv(1000, 1000, heads=3, head_dim=head_dim, dtype=torch.bfloat16)
    mask = random_mask(1000, 1000, BlockSize(128, 128), 0.4, heads=3)
    implementation = next(i for i in IMPLEMENTATIONS if i.name == name)
    arguments = (*on_gpu(q, k, v), mask_on_gpu(mask), head_dim**-0.5)
    reason = implementation.refuse(*arguments) or implementation.verify(*arguments)
    if reason:
        pytest.skip(reason)
    check(q, k, v, arguments[3], pairs_oracle(mask), name)


@pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 9),
    reason="e4m3 needs sm89 or newer",
)
@pytest.mark.parametrize("head_dim", [64, 128])
@pytest.mark.parametrize("side", [64, 128])
def test_fp8_computes_its_meaning(head_dim, side):
    q, k, v = make_qkv(1000, 1000, heads=3, head_dim=head_dim, dtype=torch.bfloat16)
    k[..., 0] += 5.0
    mask, scale = random_mask(1000, 1000, BlockSize(side, side), 0.4, heads=3), head_dim**-0.5
    output, lse = block_sparse_attention(*on_gpu(q, k, v), mask_on_gpu(mask), backend="triton-fp8")
    meant, meant_lse = fp8.block_sparse_attention(q, k, v, mask, scale)
    exact, exact_lse = attention_oracle(q, k, v, pairs_oracle(mask), scale)
    # Matrix units add e4m3 products with fewer bits than fp32: little beside what the rounding of q and k costs.
    for got, want, true in ((output.cpu(), meant, exact), (lse.cpu(), meant_lse, exact_lse)):
        kept = true.isfinite()
        assert (got[kept].double() - want[kept]).abs().mean() < 0.25 * (want[kept] - true[kept]).abs().mean()


@pytest.mark.parametrize("name", [implementation.name for implementation in DENSE])
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_dense_kernels_where_they_can_run(name, causal):
    q, k, v = make_qkv(1000, 1000, heads=3, head_dim=128, dtype=torch.bfloat16)
    implementation = next(i for i in DENSE if i.name == name)
    arguments = (*on_gpu(q, k, v), 128**-0.5, causal)
    reason = implementation.refuse(*arguments) or implementation.verify(*arguments)
    if reason:
        pytest.skip(reason)
    output = dense_attention(*on_gpu(q, k, v), causal=causal, backend=name)
    keep = torch.ones(1, 1, 1000, 1000, dtype=torch.bool)
    keep = keep.tril() if causal else keep
    lse = (q.double() @ k.double().mT * 128**-0.5).masked_fill(~keep, -torch.inf).logsumexp(-1)
    assert_attention((output.cpu(), lse), q, k, v, keep, 128**-0.5)


def test_a_call_does_not_wait_for_the_gpu():
    q, k, v = on_gpu(*make_qkv(1000, 1000, heads=3, head_dim=64, dtype=torch.bfloat16))
    mask = mask_on_gpu(random_mask(1000, 1000, BlockSize(64, 64), 0.4, heads=3))
    block_sparse_attention(q, k, v, mask, backend="triton")  # compiles
    mask = mask_on_gpu(random_mask(1000, 1000, BlockSize(64, 64), 0.3, heads=3))
    torch.cuda.set_sync_debug_mode("error")
    try:
        block_sparse_attention(q, k, v, mask, backend="triton")
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_a_call_can_be_captured_in_a_graph():
    q, k, v = on_gpu(*make_qkv(1000, 1000, heads=3, head_dim=64, dtype=torch.bfloat16))
    mask = mask_on_gpu(random_mask(1000, 1000, BlockSize(64, 64), 0.4, heads=3))
    expected = block_sparse_attention(q, k, v, mask, backend="triton")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = block_sparse_attention(q, k, v, mask, backend="triton")
    graph.replay()
    for actual, wanted in zip(captured, expected, strict=True):
        assert torch.equal(actual, wanted)


def test_spatial_and_temporal_heads_in_one_launch():
    call = make_call(VideoLayout.of(5, 15, 16, text_last=40), heads=4, head_dim=64, dtype=torch.bfloat16)
    heads = torch.tensor([[True, False, True, False]])
    order = TokenOrder(call.layout.token_major_order(), heads)
    mask = random_mask(call.tokens, call.tokens, BlockSize(64, 64), 0.4, heads=4)
    expected = attend_selected(call, Selection(mask, order, order), "reference")
    there = type(call)(*on_gpu(call.q, call.k, call.v), call.layout, call.site, call.scale)
    moved = TokenOrder(order.order.cuda(), heads.cuda())
    actual = attend_selected(there, Selection(mask_on_gpu(mask), moved, moved))
    assert actual.kernel == "triton"
    torch.testing.assert_close(actual.output.cpu(), expected.output)


def test_sequences_beyond_32_bit_offsets():
    """heads · tokens · head_dim passes 2³¹ values: the last head must be as right as the first."""
    tokens, heads, head_dim = 180_000, 96, 128
    free, _ = torch.cuda.mem_get_info()
    if free < 5 * tokens * heads * head_dim * 2:
        pytest.skip(f"needs {5 * tokens * heads * head_dim * 2 / 2**30:.0f} GiB of free GPU memory")
    q = torch.randn(1, heads, tokens, head_dim, device="cuda", dtype=torch.bfloat16)
    rows = -(-tokens // 128)
    keep = torch.eye(rows, dtype=torch.bool, device="cuda")[None, None]
    output, _ = block_sparse_attention(
        q, q, q, BlockMask(keep, BlockSize(128, 128), tokens), backend="triton"
    )
    last = q[:, -1:, -(tokens % 128 or 128) :].float()
    expected = torch.nn.functional.scaled_dot_product_attention(last, last, last)
    torch.testing.assert_close(output[:, -1:, -last.shape[2] :].float(), expected, rtol=2e-2, atol=2e-2)
