"""How well masks and maps find an object: pixel accuracy, IoU and average precision.

The mIoU of the ConceptAttention paper (arXiv:2502.04320, ImageNet-Segmentation; inherited from Chefer et al.) pools
the intersections and unions of foreground and background before it divides. Every wrong pixel then enters the pooled
union twice, and the figure equals accuracy ÷ (2 − accuracy): no second measurement, and blind to small objects. Here
`miou` is the mean of the two IoUs; the pooled figure is there for comparison, by the name `pooled_miou`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from videosieve.errors import ShapeError


@dataclass(frozen=True, slots=True)
class Counts:
    """Pixels by prediction and truth; counts of several videos add up.

    Attributes:
        hit: Predicted and true.
        false_alarm: Predicted, not true.
        miss: True, not predicted.
        rest: Neither.
    """

    hit: int = 0
    false_alarm: int = 0
    miss: int = 0
    rest: int = 0

    @classmethod
    def of(cls, predicted: Tensor, truth: Tensor) -> "Counts":
        """Count two bool masks of one shape.

        Raises:
            ShapeError: They are not bool, or their shapes differ.
        """
        if predicted.dtype != torch.bool or truth.dtype != torch.bool or predicted.shape != truth.shape:
            raise ShapeError(
                f"masks must be bool and of one shape, got {predicted.dtype} {list(predicted.shape)} and "
                f"{truth.dtype} {list(truth.shape)}"
            )
        hit, predictions, truths = int((predicted & truth).sum()), int(predicted.sum()), int(truth.sum())
        return cls(hit, predictions - hit, truths - hit, truth.numel() - predictions - truths + hit)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.hit + other.hit,
            self.false_alarm + other.false_alarm,
            self.miss + other.miss,
            self.rest + other.rest,
        )

    @property
    def accuracy(self) -> float:
        """Share of pixels that are right, in [0, 1]."""
        return (self.hit + self.rest) / (self.hit + self.rest + self.false_alarm + self.miss)

    @property
    def iou(self) -> float:
        """Intersection ÷ union of the foreground; 1 where both are empty."""
        return _ratio(self.hit, self.false_alarm + self.miss)

    @property
    def miou(self) -> float:
        """Mean of the IoUs of foreground and background."""
        return (self.iou + _ratio(self.rest, self.false_alarm + self.miss)) / 2

    @property
    def pooled_miou(self) -> float:
        """The paper's figure: accuracy ÷ (2 − accuracy); see the module's text."""
        right, wrong = self.hit + self.rest, self.false_alarm + self.miss
        return right / (right + 2 * wrong)


def average_precision(scores: Tensor, truth: Tensor) -> float:
    """Area under the precision–recall steps of a ranking; pixels of equal score are taken together.

    Args:
        scores: Any real numbers; higher means more likely.
        truth: bool, of the same shape.

    Returns:
        In [0, 1]; NaN where nothing is true.

    Raises:
        ShapeError: The shapes differ.
    """
    if scores.shape != truth.shape:
        raise ShapeError(
            f"scores and truth must share one shape, got {list(scores.shape)}, {list(truth.shape)}"
        )
    ranked, order = scores.flatten().double().sort(descending=True)
    right = truth.flatten()[order].double().cumsum(0)
    last = torch.cat([ranked[1:] != ranked[:-1], torch.ones(1, dtype=torch.bool, device=ranked.device)])
    places = torch.arange(1, len(ranked) + 1, device=ranked.device)[last]
    found = right[last]
    gained = torch.diff(found, prepend=found.new_zeros(1))
    return float((gained * found / places).sum() / found[-1])


def _ratio(intersection: int, difference: int) -> float:
    union = intersection + difference
    return intersection / union if union else 1.0
