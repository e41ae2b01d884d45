"""Warm-up: the first denoising steps and the first layers stay dense, the rest is sparse.

Early steps decide the layout of the video and early layers mix everything, so every method of the field keeps them
dense. A fraction is rounded down as in Sparse VideoGen's scripts: floor(fraction × steps).
"""

from dataclasses import dataclass
from typing import Annotated

from videosieve.fields import Fraction, Says, Whole
from videosieve.forward import Site
from videosieve.schedule.base import Action, Schedule

DensePart = Annotated[
    Fraction | Whole,
    Says(
        "that stay dense must be a fraction in [0.0, 1.0] or a count >= 0",
        "write a count without a decimal point",
    ),
]


@dataclass(frozen=True, slots=True)
class DenseFirst(Schedule):
    """Dense first steps and dense first layers.

    Attributes:
        steps: Denoising steps that stay dense: a fraction of all steps as a float in [0, 1], or a count as an int.
        layers: Layers that stay dense at every step: a fraction as a float in [0, 1], or a count as an int.
    """

    steps: DensePart = 0.2
    layers: DensePart = 0.0

    def action(self, site: Site) -> Action:
        warm = site.step < _count(self.steps, site.steps) or site.layer < _count(self.layers, site.layers)
        return Action.DENSE if warm else Action.SPARSE


def _count(value: float | int, total: int) -> int:
    # The small term keeps products such as 0.29 * 100 = 28.999999999999996 on their integer.
    return value if isinstance(value, int) else int(value * total + 1e-9)
