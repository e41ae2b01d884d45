"""What a fit leaves over at the measurements, carried to candidates that do nearly the same."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from videosieve.schedule import KINDS
from videosieve.tuning.search.candidates import Candidate
from videosieve.tuning.search.screen import Screen

REACH = 0.1
"""Share of the sites in which a candidate may differ until a measurement counts e times less."""

PRIOR = 0.2
"""Weight of having measured nothing; a measurement of the very same weighs 1."""


@dataclass(frozen=True, slots=True)
class Anchors:
    """Measurements with what they have over the fit.

    Attributes:
        names: Families in the order of their codes.
        places: What happens where: 0 dense, −1 reused, 1 … a family's code [measurements, kinds, steps, layers].
        left: Quality, and saved share of the seconds, that the fit leaves over [measurements, 2].
    """

    names: tuple[str, ...]
    places: Tensor
    left: Tensor

    @classmethod
    def at(
        cls, screen: Screen, candidates: Sequence[Candidate], left: Sequence[tuple[float, float]]
    ) -> "Anchors":
        """Anchors at measured candidates, one or more, with what is left over at each."""
        names = tuple(screen.by_family)
        places = torch.stack([_places(screen, candidate, names) for candidate in candidates])
        return cls(names, places, torch.tensor(left, dtype=torch.float64))

    def near(self, screen: Screen, candidate: Candidate) -> tuple[float, float]:
        """What a candidate will have over the fit: quality, and saved share of the seconds."""
        differs = (self.places != _places(screen, candidate, self.names)).double().mean((1, 2, 3))
        weight = torch.exp(-differs / REACH)
        better, faster = (weight @ self.left / (weight.sum() + PRIOR)).tolist()
        return better, faster


def _places(screen: Screen, candidate: Candidate, names: tuple[str, ...]) -> Tensor:
    sites = screen.sites(candidate)
    code = names.index(candidate.family) + 1 if candidate.family in names else 0
    attention = sites.sparse * code
    rows = [
        attention * (kind == "attention") - (sites.gaps[kind] > 0).long()
        for kind in KINDS
        if kind in screen.share
    ]
    return torch.stack(rows)
