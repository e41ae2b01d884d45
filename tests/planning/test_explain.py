import pytest
import torch

from videosieve.errors import ShapeError
from videosieve.kernels import block_sparse_attention
from videosieve.kernels.block_sparse_attention import runner
from videosieve.masks.block_mask import BlockSize
from videosieve.planning.explain import CallSize, explain_dense, explain_sparse
from videosieve.testing.factories import make_qkv, random_mask

CPU = torch.device("cpu")


def size(tokens=119_056, heads=24, head_dim=128, density=0.25, dtype=torch.float32, block=128):
    return CallSize(tokens, heads, head_dim, density, dtype, CPU, BlockSize(block, block))


def test_a_call_of_any_size_is_explained_without_its_memory():
    answers = explain_sparse(size())
    assert [answer.name for answer in answers][:2] == ["triton", "triton-fp8"]
    assert [answer.detail for answer in answers].count("taken") == 1
    refused = {answer.name: answer.detail for answer in answers if not answer.able}
    assert refused["triton"] == "it needs CUDA tensors, got cpu"
    assert refused["flash-attn-4"] == "flash-attn-4 is not installed"


def test_work_and_memory_are_those_of_the_formulas():
    video = size()
    assert video.dense_work == pytest.approx(174.2e12, rel=1e-3)  # 4 · N² · heads · head_dim
    assert video.tensor_bytes == 4 * 119_056 * 24 * 128 * 4
    assert video.mask_bytes == 24 * 931 * 931 * 5


def test_what_is_said_to_be_taken_is_what_runs():
    q, k, v = make_qkv(256, 256, heads=2, head_dim=64)
    taken = next(a.name for a in explain_sparse(size(256, 2, 64)) if a.detail == "taken")
    assert taken == runner(q, k, v, random_mask(256, 256, BlockSize(128, 128), 0.5))
    for answer in explain_sparse(size(256, 2, 64)):
        if answer.able:
            block_sparse_attention(
                q, k, v, random_mask(256, 256, BlockSize(128, 128), 0.5), backend=answer.name
            )


def test_a_type_changes_the_answer():
    assert [a.name for a in explain_sparse(size(dtype=torch.float64)) if a.able][-1] == "reference"
    assert next(a.name for a in explain_dense(size(dtype=torch.float64)) if a.able) == "sdpa"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokens": 0}, "must be at least 1 and below 2\\^31, got tokens=0"),
        ({"density": 0.0}, r"density must lie in \(0, 1\], got density=0.0"),
        ({"density": 1.1}, r"density must lie in \(0, 1\], got density=1.1"),
        ({"block": 0}, "a block side has at least one token"),
    ],
    ids=str,
)
def test_impossible_sizes_are_refused(change, message):
    with pytest.raises(ShapeError, match=message):
        size(**change)
