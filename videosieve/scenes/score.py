"""How well maps find the concepts of a scene: sound figures, and those of ConceptAttention's authors by their names."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from videosieve.metrics import Counts, average_precision

FIGURES = {
    "pixel_accuracy": "pixel accuracy",
    "miou": "mIoU",
    "object_iou": "object IoU",
    "map": "mAP",
    "authors_accuracy": "accuracy, as the authors count it",
    "authors_miou": "mIoU, as the authors count it",
    "authors_map": "mAP, as the authors count it",
}


@dataclass(frozen=True)
class Score:
    """How well maps find the concepts of some scenes; scores add up.

    Attributes:
        counts: Pixels of all masked concepts, each against everything else, where the winner has the pixel.
        right: Pixels whose winning concept is right, of all concepts.
        pixels: All pixels.
        precisions: Average precision of every masked concept's map.
        authors: Pixels of all masked concepts where a map above its own mean has the pixel.
        authors_precisions: Average precision of both maps of a concept, itself and 1 − itself, stretched to [0, 1].
    """

    counts: Counts = field(default_factory=Counts)
    right: int = 0
    pixels: int = 0
    precisions: tuple[float, ...] = ()
    authors: Counts = field(default_factory=Counts)
    authors_precisions: tuple[float, ...] = ()

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.counts + other.counts,
            self.right + other.right,
            self.pixels + other.pixels,
            self.precisions + other.precisions,
            self.authors + other.authors,
            self.authors_precisions + other.authors_precisions,
        )

    def figures(self) -> dict[str, float]:
        """The figures of `FIGURES`, each in [0, 1]; average precisions are NaN where no mask holds a pixel."""
        return {
            "pixel_accuracy": self.right / max(self.pixels, 1),
            "miou": self.counts.miou,
            "object_iou": self.counts.iou,
            "map": _mean(self.precisions),
            "authors_accuracy": self.authors.accuracy if self.pixels else 0.0,
            "authors_miou": self.authors.pooled_miou if self.pixels else 0.0,
            "authors_map": _mean(self.authors_precisions),
        }


def score_maps(maps: Tensor, truth: Tensor) -> Score:
    """Score the maps of one scene.

    Args:
        maps: [masked concepts + 1 + others, frames, height, width]; the rest comes behind the masked ones, others win
            for it.
        truth: bool [masked concepts + 1, frames, height, width]; exactly one is true at every pixel.

    Returns:
        The score.
    """
    rest = len(truth) - 1
    winners = maps.argmax(0).clamp(max=rest)
    predicted = torch.stack([winners == index for index in range(rest + 1)])
    score = Score(right=int((predicted & truth).sum()), pixels=winners.numel())
    for index in range(rest):
        own = maps[index]
        found = truth[index].any()
        score += Score(
            Counts.of(predicted[index], truth[index]),
            precisions=(average_precision(own, truth[index]),) if found else (),
            authors=Counts.of(own > own.mean(), truth[index]),
            authors_precisions=(_authors_precision(own, truth[index]),) if found else (),
        )
    return score


def intervals(scores: Sequence[Score], draws: int = 1000, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Where every figure lies in 95 of 100 draws of as many scenes, with repetition.

    Args:
        scores: One a scene.
        draws: How many, >= 1.
        seed: Of the draws.
    """
    drawn: dict[str, list[float]] = {name: [] for name in FIGURES}
    generator = torch.Generator().manual_seed(seed)
    for _ in range(draws):
        picked = torch.randint(len(scores), (len(scores),), generator=generator).tolist()
        for name, value in sum((scores[index] for index in picked), Score()).figures().items():
            drawn[name].append(value)
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    return {
        name: tuple(torch.tensor(values, dtype=torch.float64).nanquantile(ends).tolist())  # type: ignore[misc]
        for name, values in drawn.items()
    }


def _authors_precision(maps: Tensor, truth: Tensor) -> float:
    """Their ranking: the map and 1 − the map side by side, stretched by least and most, against mask and no mask."""
    low, high = maps.amin(), maps.amax()
    stretched = (maps - low) / (high - low).clamp_min(1e-12)
    return average_precision(torch.stack([1 - stretched, stretched]), torch.stack([~truth, truth]))


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values) if values else float("nan")
