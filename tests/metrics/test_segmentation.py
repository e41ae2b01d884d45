"""Masks and rankings against a truth, by hand."""

import math

import pytest
import torch

from videosieve.errors import ShapeError
from videosieve.metrics import Counts, average_precision

TRUTH = torch.tensor([1, 1, 0, 0, 0, 0, 0, 0]).bool()
GUESS = torch.tensor([1, 0, 1, 0, 0, 0, 0, 0]).bool()


def test_counts_by_hand():
    counts = Counts.of(GUESS, TRUTH)
    assert counts == Counts(hit=1, false_alarm=1, miss=1, rest=5)
    assert counts.accuracy == 6 / 8
    assert counts.iou == 1 / 3
    assert counts.miou == pytest.approx((1 / 3 + 5 / 7) / 2)


def test_the_papers_figure_is_a_function_of_accuracy_and_hides_a_lost_object():
    counts = Counts.of(GUESS, TRUTH)
    assert counts.pooled_miou == pytest.approx(counts.accuracy / (2 - counts.accuracy))
    truth = torch.arange(100) < 4
    lost = Counts.of(torch.zeros(100, dtype=torch.bool), truth)  # the object is not found at all
    assert lost.pooled_miou > 0.9
    assert lost.miou < 0.5
    assert lost.iou == 0.0


def test_counts_of_videos_add_up():
    both = Counts.of(torch.cat([GUESS, TRUTH]), torch.cat([TRUTH, GUESS]))
    assert Counts.of(GUESS, TRUTH) + Counts.of(TRUTH, GUESS) == both
    empty = torch.zeros(3, dtype=torch.bool)
    assert Counts.of(empty, empty).miou == 1.0


def test_average_precision_by_hand():
    truth = torch.tensor([1, 0, 1, 0]).bool()
    assert average_precision(torch.tensor([4.0, 3.0, 2.0, 1.0]), truth) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(torch.tensor([4.0, 1.0, 3.0, 2.0]), truth) == 1.0
    assert average_precision(torch.ones(4), truth) == 0.5  # ties are no ranking
    assert average_precision(torch.tensor([2.0, 2.0, 1.0, 0.0]), truth) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert math.isnan(average_precision(torch.ones(4), torch.zeros(4, dtype=torch.bool)))


def test_other_shapes_and_kinds_are_refused():
    with pytest.raises(ShapeError, match="must be bool"):
        Counts.of(GUESS.float(), TRUTH)
    with pytest.raises(ShapeError, match="one shape"):
        Counts.of(GUESS[:3], TRUTH)
    with pytest.raises(ShapeError, match="one shape"):
        average_precision(torch.ones(3), TRUTH)
