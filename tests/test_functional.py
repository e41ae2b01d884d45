import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import videosieve
from videosieve import BackendError, NumericsError, RecipeError, ShapeError, VideoLayout

LAYOUT = VideoLayout.of(4, 6, 8, text_last=11)


def tensors(head_dim: int = 16):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, 2, 203, head_dim, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("method", ["dense", "svg", "spatial_only", "temporal_only"])
def test_density_one_is_dense_attention(method: str):
    q, k, v = tensors()
    options = {} if method == "dense" else {"density": 1.0}
    result = videosieve.attention(q, k, v, LAYOUT, method, **options)
    torch.testing.assert_close(result.output, scaled_dot_product_attention(q, k, v))
    torch.testing.assert_close(result.lse, (q @ k.mT / 4).logsumexp(-1))


def test_a_sparse_call_reports_its_mask():
    result = videosieve.attention(*tensors(), LAYOUT, "svg", density=0.5, block=16)
    assert 0.3 < result.mask.density < 0.7


def test_bad_requests_are_refused():
    q, k, v = tensors()
    with pytest.raises(RecipeError, match="unknown method"):
        videosieve.attention(q, k, v, LAYOUT, "svgg")
    with pytest.raises(RecipeError, match="give parameters to the method itself"):
        videosieve.attention(q, k, v, LAYOUT, videosieve.Dense(), density=0.3)
    with pytest.raises(BackendError, match="has no backend 'gpu'"):
        videosieve.attention(q, k, v, LAYOUT, "svg", backend="gpu")
    with pytest.raises(ShapeError, match="must add up"):
        videosieve.attention(q[:, :, 1:], k[:, :, 1:], v[:, :, 1:], LAYOUT)
    q[0, 0, 0, 0] = torch.nan
    with pytest.raises(NumericsError, match="q must be finite"):
        videosieve.attention(q, k, v, LAYOUT, check_finite=True)
