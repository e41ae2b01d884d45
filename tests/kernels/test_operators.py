"""Inside torch.compile every op is one opaque operator of `torch.ops.videosieve`: no graph break, the same result."""

import pytest
import torch

from videosieve.kernels import (
    antidiagonal_mass,
    antidiagonal_scores,
    block_mass,
    block_moments,
    centroid_mass,
    deal_budget,
    kmeans,
    norm_rope,
    pool_blocks,
    reorder_tokens,
    sampled_attention,
)
from videosieve.kernels.norm_rope import HeadNorm, Rotation, Stream
from videosieve.masks.block_mask import BlockSize
from videosieve.testing.factories import make_qkv

Q, K, V = make_qkv(75, 63, batch=2, heads=3)
TABLE = torch.rand(75, 8, generator=torch.Generator().manual_seed(0))
MASKS = [torch.rand(1, 1, 75, 63, generator=torch.Generator().manual_seed(i)) < 0.5 for i in range(2)]


def fused(q, k, v):
    del k, v
    norms = HeadNorm("layer", 1e-5, TABLE[0].repeat(6), None, True), HeadNorm("rms", 1e-5)
    video = Stream(q, q + 1, *norms, Rotation(TABLE, TABLE))
    text = Stream(q[:, :, :5], q[:, :, 5:10], norms[0], None)
    result = norm_rope([video, text], order=torch.arange(79, -1, -1), fp8=True)
    return [x.float() for x in result]


EDGES = torch.tensor([[[0, 20, 40, 63]]])
OPS = {
    "pool_blocks": lambda q, k, v: tuple(pool_blocks(k, EDGES, order=torch.arange(62, -1, -1))),
    "block_moments": lambda q, k, v: tuple(block_moments(k, EDGES, y=v[..., :3], order=torch.arange(62, -1, -1))),
    "deal_budget": lambda q, k, v: deal_budget(
        q.contiguous(), torch.full(q.shape[:3], 9), torch.full((2, 3, q.shape[3]), 5), torch.full((2, 3), 2000)
    ),
    "centroid_mass": lambda q, k, v: centroid_mass(
        q, k[:, :, :9].contiguous(), torch.zeros(1, 1, 9), torch.tensor([[[0, 20, 75]]])
    ),
    "reorder_tokens": lambda q, k, v: reorder_tokens(q, torch.arange(74, -1, -1), heads=MASKS[0][0, :, 0, :3]),
    "antidiagonal_mass": lambda q, k, v: antidiagonal_mass(q, k, 8, 16),
    "antidiagonal_scores": lambda q, k, v: antidiagonal_scores(q, k, 8),
    "block_mass": lambda q, k, v: block_mass(q, k, q.new_zeros(2, 3, 75), BlockSize(16, 32)),
    "sampled_attention": lambda q, k, v: tuple(sampled_attention(q, k, v, MASKS)),
    "kmeans": lambda q, k, v: tuple(kmeans(q, 7)),
    "norm_rope": fused,
}  # fmt: skip


@pytest.mark.parametrize("name", OPS)
def test_it_is_one_node_of_a_full_graph(name):
    torch._dynamo.reset()
    graphs = []

    def count(graph, _inputs):
        graphs.append([n for n in graph.graph.nodes if f"videosieve.{name}" in str(n.target)])
        return graph

    compiled = torch.compile(OPS[name], fullgraph=True, backend=count)
    torch.testing.assert_close(compiled(Q, K, V), OPS[name](Q, K, V))
    assert [len(nodes) for nodes in graphs] == [1]


@pytest.mark.parametrize("name", OPS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.float64], ids=str)
def test_its_fake_says_what_it_returns(name, dtype):
    torch._dynamo.reset()
    q, k, v = (x.to(dtype) for x in (Q, K, V))
    compiled = torch.compile(OPS[name], fullgraph=True, backend="aot_eager")
    expected = OPS[name](q, k, v)
    actual = compiled(q, k, v)
    pairs = zip(*(x if isinstance(x, list | tuple) else (x,) for x in (actual, expected)), strict=True)
    for got, want in pairs:
        assert (got.shape, got.dtype) == (want.shape, want.dtype)
    torch.testing.assert_close(actual, expected)


def test_its_schema_and_fake_pass_torchs_own_checks():
    q = make_qkv(20, 1, head_dim=8)[0].contiguous()
    checks = ("test_schema", "test_faketensor")
    ops = torch.ops.videosieve
    torch.library.opcheck(ops.reorder_tokens, (q, torch.arange(20), None, None), test_utils=checks)
    torch.library.opcheck(ops.kmeans, (q, 3, 1, None, 0, None), test_utils=checks)
    torch.library.opcheck(ops.antidiagonal_mass, (q, q, 4, 8, 0.5, False, None), test_utils=checks)
    torch.library.opcheck(ops.antidiagonal_scores, (q, q, 4, 0.5, None), test_utils=checks)
    torch.library.opcheck(ops.block_mass, (q, q, q[..., 0], 8, 8, 0.5, None), test_utils=checks)
    edges = torch.tensor([[[0, 12, 20]]])
    torch.library.opcheck(ops.block_moments, (q, edges, q[..., :3], None, None), test_utils=checks)
    worth, budget = q[..., :6].contiguous(), torch.full(q.shape[:2], 50)
    sizes = torch.full(q.shape[:3], 3), torch.full((*q.shape[:2], 6), 3)
    torch.library.opcheck(ops.deal_budget, (worth, *sizes, budget, None), test_utils=checks)
    torch.library.opcheck(ops.pool_blocks, (q, edges, None, None), test_utils=checks)
    sizes = torch.zeros(1, 1, 20)
    torch.library.opcheck(ops.centroid_mass, (q, q, sizes, edges, 0.5, None, None), test_utils=checks)
    masks = [torch.ones(1, 1, 20, 20, dtype=torch.bool)]
    torch.library.opcheck(ops.sampled_attention, (q, q, q, masks, 0.5, None), test_utils=checks)
