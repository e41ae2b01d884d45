"""Attention distances against numpy, and recall against a softmax written out."""

import numpy as np
import pytest
import torch

from videosieve.errors import ShapeError
from videosieve.metrics import cosine, lse_error, recall, relative_l1, relative_l2, rmse


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 75, 8, generator=generator), torch.randn(2, 3, 75, 8, generator=generator)


def test_distances_are_the_formulas(pair: tuple[torch.Tensor, torch.Tensor]):
    a, b = (x.double().numpy().ravel() for x in pair)
    assert cosine(*pair) == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)))
    assert relative_l1(*pair) == pytest.approx(np.abs(a - b).sum() / np.abs(b).sum())
    assert relative_l2(*pair) == pytest.approx(np.sqrt(((a - b) ** 2).sum() / (b**2).sum()))
    assert rmse(*pair) == pytest.approx(np.sqrt(((a - b) ** 2).mean()))


def test_equal_outputs_are_at_distance_zero(pair: tuple[torch.Tensor, torch.Tensor]):
    output = pair[0]
    assert cosine(output, output) == pytest.approx(1)
    assert relative_l1(output, output) == relative_l2(output, output) == rmse(output, output) == 0


def test_recall_is_the_softmax_mass_of_the_kept_keys():
    scores = torch.randn(2, 5, 20, generator=torch.Generator().manual_seed(2))
    kept = scores[..., :7].logsumexp(-1)
    expected = scores.softmax(-1)[..., :7].sum(-1).mean().item()
    assert recall(kept, scores.logsumexp(-1)) == pytest.approx(expected, rel=1e-6)


def test_recall_of_nothing_is_zero_and_its_lse_error_infinite():
    nothing = torch.full((4,), -torch.inf)
    assert recall(nothing, torch.zeros(4)) == 0
    assert lse_error(nothing, torch.zeros(4)) == np.inf


def test_lse_error_is_the_mean_of_minus_log_recall():
    scores = torch.randn(2, 5, 20, generator=torch.Generator().manual_seed(2)).double()
    mass = scores.softmax(-1)[..., :7].sum(-1)
    kept, everything = scores[..., :7].logsumexp(-1), scores.logsumexp(-1)
    assert lse_error(kept, everything) == pytest.approx(-mass.log().mean().item(), rel=1e-12)
    assert lse_error(everything, kept) == pytest.approx(lse_error(kept, everything))


def test_relative_l2_does_not_see_a_common_factor(pair: tuple[torch.Tensor, torch.Tensor]):
    assert relative_l2(3 * pair[0], 3 * pair[1]) == pytest.approx(relative_l2(*pair))
    assert relative_l2(2 * pair[1], pair[1]) == pytest.approx(1)


def test_shapes_that_differ_are_refused():
    for metric in (cosine, relative_l1, relative_l2, rmse, recall, lse_error):
        with pytest.raises(ShapeError, match=r"\[3\] and \[4\]"):
            metric(torch.ones(3), torch.ones(4))


def test_relative_distances_need_a_reference_with_content():
    for metric in (relative_l1, relative_l2):
        with pytest.raises(ShapeError, match="not zero everywhere"):
            metric(torch.ones(3), torch.zeros(3))
