"""The ops inside torch.compile(fullgraph=True): one opaque operator each, with shapes known before it runs."""

import pytest
import torch

from videosieve.kernels import block_sparse_attention, centroids_of, compensated_attention, dense_attention
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.testing.factories import make_qkv, random_mask, random_ragged_mask

pytestmark = pytest.mark.filterwarnings("ignore")  # torch warns about itself while it imports its compiler


@pytest.fixture(autouse=True)
def poisoned_memory():
    """Not here: the compiler cannot trace an exchanged torch.empty."""


@pytest.fixture(autouse=True)
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def compiled(function):
    return torch.compile(function, fullgraph=True, backend="aot_eager")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("order", [False, True], ids=["in order", "reordered"])
def test_block_sparse_attention_does_not_break_the_graph(dtype, order):
    q, k, v = make_qkv(75, 75, batch=2, head_dim=32, dtype=dtype)
    mask = random_mask(75, 75, BlockSize(16, 32), 0.5, heads=2)
    orders = {"query_order": torch.randperm(75), "key_order": torch.randperm(75)} if order else {}

    def attend(q, k, v, mask):
        output, lse = block_sparse_attention(q * 2, k, v, mask, scale=0.2, **orders)
        return output.transpose(1, 2) + 1, lse.exp()

    with torch.no_grad():
        for actual, expected in zip(compiled(attend)(q, k, v, mask), attend(q, k, v, mask), strict=True):
            assert actual.dtype == expected.dtype
            torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("ragged", [False, True], ids=["uniform", "ragged"])
def test_compensated_attention_does_not_break_the_graph(dtype, ragged):
    q, k, v = make_qkv(75, 75, batch=2, head_dim=32, dtype=dtype)
    mask = random_mask(75, 75, BlockSize(16, 32), 0.5, heads=2)
    if ragged:
        mask = random_ragged_mask(75, 75, (5, 3), 0.5, heads=2)

    def attend(q, k, v, mask):
        centroids = centroids_of(k, v, mask)
        output, lse, both = compensated_attention(q * 2, k, v, mask, centroids, scale=0.2)
        return output.transpose(1, 2) + 1, lse.exp(), both.exp()

    with torch.no_grad():
        for actual, expected in zip(compiled(attend)(q, k, v, mask), attend(q, k, v, mask), strict=True):
            assert actual.dtype == expected.dtype
            torch.testing.assert_close(actual, expected)


def test_gradients_pass_through_the_reference():
    mask = random_mask(75, 75, BlockSize(16, 32), 0.5, heads=2)

    def attend(q, k, v):
        return block_sparse_attention(q, k, v, mask)[0]

    gradients = []
    for function in (compiled(attend), attend):
        q, k, v = (x.requires_grad_() for x in make_qkv(75, 75, head_dim=32))
        function(q, k, v).square().sum().backward()
        gradients.append((q.grad, k.grad, v.grad))
    for actual, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, expected)


def test_a_mask_may_be_made_inside_the_graph():
    q, k, v = make_qkv(75, 75, head_dim=32)

    def attend(q, k, v):
        keep = (q.mean((-1, -2))[..., None, None] + torch.zeros(5, 5)) > 0
        return block_sparse_attention(q, k, v, BlockMask(keep, BlockSize(16, 16), 75))[0]

    with torch.no_grad():
        torch.testing.assert_close(compiled(attend)(q, k, v), attend(q, k, v))


def test_ragged_masks_go_through_as_well():
    q, k, v = make_qkv(75, 75, head_dim=32)
    offsets = torch.tensor([[[0, 20, 20, 75]]])
    keep = torch.tensor([[True, False, True], [True, True, True], [False, True, True]])[None, None]
    mask = RaggedBlockMask(keep, offsets, offsets, 75)

    def attend(q, k, v, mask):
        return block_sparse_attention(q, k, v, mask)[0]

    with torch.no_grad():
        torch.testing.assert_close(compiled(attend)(q, k, v, mask), attend(q, k, v, mask))


def test_dense_attention_does_not_break_the_graph():
    q, k, v = make_qkv(75, 75, head_dim=32)
    attend = lambda q, k, v: dense_attention(q, k, v, causal=True)  # noqa: E731 - a name would say nothing
    torch.testing.assert_close(compiled(attend)(q, k, v), attend(q, k, v))


def test_what_is_promised_about_the_operator_is_true():
    q, k, v = make_qkv(40, 40, head_dim=32, contiguous=True)
    keep = random_mask(40, 40, BlockSize(16, 16), 0.5, heads=2).keep
    operator = torch.ops.videosieve.block_sparse_attention.default
    arguments = (q, k, v, keep, [16, 16], None, None, 0.2, None, None, None)
    torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))
