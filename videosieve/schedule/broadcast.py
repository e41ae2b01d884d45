"""Pyramid Attention Broadcast as a schedule: at most steps of a window, modules return what they returned before.

Zhao et al., "Real-Time Video Generation with Pyramid Attention Broadcast", arXiv:2408.12588, §3. Differences between
the outputs of neighbouring steps are small in the middle of a generation, and smaller for cross-attention than for
self-attention, hence one range per kind of module.

Deviation: the window is given in fractions of the steps and not in timesteps, because a flow shift moves most steps to
high timesteps; `window_of_timesteps` converts. Addition: `offset` moves the computed steps, which the paper has at the
multiples of the range. docs/methods/pab.md has the rest.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from videosieve.errors import RecipeError
from videosieve.fields import In, Whole, check_fields
from videosieve.forward import Site
from videosieve.schedule.base import KINDS, Action, Kind, Part, Schedule

Period = Annotated[
    int,
    In(
        "[1, inf)",
        "counts steps, one computed and the others reused, and must be an int >= 1",
        "2 reuses every other step, 1 none",
    ),
]
Edge = Annotated[
    float,
    In(
        "[0, 1]",
        "must be a fraction of the steps: the reuse window has 0 <= start < stop <= 1",
        "window_of_timesteps converts timesteps",
    ),
]


@dataclass(frozen=True, slots=True)
class Broadcast(Schedule):
    """Within a window of steps every module of a kind is computed at one step of `range`, and repeats it at the others.

    Attributes:
        range: Self-attention is computed at every so many steps; 1 computes all. The paper's spatial range.
        start: Fraction of all steps before the window, in [0, 1].
        stop: Fraction of all steps at which the window ends, in [0, 1], above `start`.
        cross: The same as `range` for cross-attention to text, where the model has it.
        mlp: The same for feed-forward modules.
        mlp_layers: First layers to which `mlp` applies: a fraction as a float in [0, 1], or a count as an int.
        offset: Computed are the steps offset, offset + range, offset + 2 · range, …, for every kind of module; at
            least 0 and below the longest range. 0 is the paper.

    Raises:
        RecipeError: A value is outside its range.
    """

    range: Period = 2
    start: Edge = 0.16
    stop: Edge = 0.9
    cross: Period = 1
    mlp: Period = 1
    mlp_layers: Part = 1.0
    offset: Whole = 0

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        if not self.start < self.stop:
            raise RecipeError(
                f"the reuse window must be fractions of the steps with 0 <= start < stop <= 1, got start={self.start} "
                f"and stop={self.stop}; window_of_timesteps converts timesteps"
            )
        longest = max(self.range, self.cross, self.mlp)
        if not self.offset < longest:
            raise RecipeError(
                f"offset shifts the computed steps and must be an int in [0, {longest}), below the longest of "
                f"range={self.range}, cross={self.cross} and mlp={self.mlp}; got offset={self.offset!r}"
            )

    def action(self, site: Site) -> Action:
        return Action.REUSE if self.reuses("attention", site) else Action.SPARSE

    @property
    def reused_kinds(self) -> tuple[Kind, ...]:
        found = {kind for kind in KINDS if self._range(kind) > 1}
        joint = {"joint"} if {"attention", "mlp"} <= found else set()
        return tuple(kind for kind in KINDS if kind in found | joint)

    def reuses(self, kind: Kind, site: Site) -> bool:
        """True at the steps of the window that are no whole ranges from the offset. Step 0 is always computed."""
        if kind == "joint":
            return self.reuses("attention", site) and self.reuses("mlp", site)
        if kind == "mlp" and not site.layer < _count(self.mlp_layers, site.layers):
            return False
        # The small term keeps products such as 0.29 * 100 = 28.999999999999996 on their integer.
        inside = self.start * site.steps - 1e-9 <= site.step < self.stop * site.steps - 1e-9
        return inside and site.step > 0 and (site.step - self.offset) % self._range(kind) != 0

    def _range(self, kind: Kind) -> int:
        return {"attention": self.range, "cross": self.cross, "mlp": self.mlp, "joint": 1}[kind]


def window_of_timesteps(timesteps: Sequence[float], low: float, high: float) -> tuple[float, float]:
    """Which fraction of the steps has timesteps between two bounds.

    Args:
        timesteps: Of all steps, in denoising order (descending), as `pipe.scheduler.timesteps` after `set_timesteps`.
        low: Bound below, not included; a timestep, usually 0 … 1000.
        high: Bound above, not included.

    Returns:
        `start` and `stop` of the window, fractions of all steps.

    Raises:
        RecipeError: No timestep lies between the bounds.
    """
    inside = [step for step, time in enumerate(timesteps) if low < time < high]
    if not inside:
        raise RecipeError(f"no timestep lies between {low=} and {high=}, got {len(timesteps)} timesteps")
    return inside[0] / len(timesteps), (inside[-1] + 1) / len(timesteps)


def _count(value: float | int, total: int) -> int:
    return value if isinstance(value, int) else int(value * total + 1e-9)
