"""Several schedules as one: the first that has something to say about a site decides."""

from dataclasses import dataclass
from typing import Annotated

from videosieve.errors import RecipeError
from videosieve.fields import Says, check_fields
from videosieve.forward import Site
from videosieve.schedule.base import KINDS, Action, Kind, Schedule


@dataclass(frozen=True, slots=True)
class FirstMatch(Schedule):
    """The first schedule whose action is not SPARSE decides; where all leave a site to the method, it is sparse.

    `FirstMatch((DenseFirst(0.1, 1), Broadcast()))` keeps the first steps and the first layer dense, and broadcasts the
    rest.

    Attributes:
        parts: Two or more schedules, the strongest first.
    """

    parts: Annotated[tuple[Schedule, ...], Says("must be a list of schedules: FirstMatch joins schedules")]

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        if len(self.parts) < 2:
            raise RecipeError(f"FirstMatch joins two or more schedules, got {self.parts!r}")

    def action(self, site: Site) -> Action:
        answers = (part.action(site) for part in self.parts)
        return next((answer for answer in answers if answer is not Action.SPARSE), Action.SPARSE)

    @property
    def reused_kinds(self) -> tuple[Kind, ...]:
        return tuple(kind for kind in KINDS if any(kind in part.reused_kinds for part in self.parts))

    @property
    def shares_branches(self) -> bool:
        return any(part.shares_branches for part in self.parts)

    def reuses(self, kind: Kind, site: Site) -> bool:
        """For self-attention as `action` says; for other modules no earlier part may keep the layer and step dense."""
        if kind == "attention":
            return self.action(site) is Action.REUSE
        if kind == "joint":
            return self.reuses("attention", site) and self.reuses("mlp", site)
        for part in self.parts:
            if part.reuses(kind, site):
                return True
            if part.action(site) is Action.DENSE:
                return False
        return False

    def shares(self, site: Site) -> bool:
        """As the part says that decides about this site."""
        return any(part.shares(site) for part in self.parts if part.action(site) is self.action(site))

    def require(self, site: Site) -> None:
        """Every part must fit."""
        for part in self.parts:
            part.require(site)
