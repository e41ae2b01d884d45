"""Attention distances against numpy, and recall against a softmax written out."""

import numpy as np
import pytest
import torch

from videosieve.errors import ShapeError
from videosieve.metrics import cosine, recall, relative_l1, rmse


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 3, 75, 8, generator=generator), torch.randn(2, 3, 75, 8, generator=generator)


def test_distances_are_the_formulas(pair: tuple[torch.Tensor, torch.Tensor]):
    a, b = (x.double().numpy().ravel() for x in pair)
    assert cosine(*pair) == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)))
    assert relative_l1(*pair) == pytest.approx(np.abs(a - b).sum() / np.abs(b).sum())
    assert rmse(*pair) == pytest.approx(np.sqrt(((a - b) ** 2).mean()))


def test_equal_outputs_are_at_distance_zero(pair: tuple[torch.Tensor, torch.Tensor]):
    output = pair[0]
    assert cosine(output, output) == pytest.approx(1)
    assert relative_l1(output, output) == rmse(output, output) == 0


def test_recall_is_the_softmax_mass_of_the_kept_keys():
    scores = torch.randn(2, 5, 20, generator=torch.Generator().manual_seed(2))
    kept = scores[..., :7].logsumexp(-1)
    expected = scores.softmax(-1)[..., :7].sum(-1).mean().item()
    assert recall(kept, scores.logsumexp(-1)) == pytest.approx(expected, rel=1e-6)


def test_recall_of_nothing_is_zero():
    assert recall(torch.full((4,), -torch.inf), torch.zeros(4)) == 0


def test_shapes_that_differ_are_refused():
    for metric in (cosine, relative_l1, rmse, recall):
        with pytest.raises(ShapeError, match=r"\[3\] and \[4\]"):
            metric(torch.ones(3), torch.ones(4))


def test_relative_l1_needs_a_reference_with_content():
    with pytest.raises(ShapeError, match="not zero everywhere"):
        relative_l1(torch.ones(3), torch.zeros(3))
