"""What a schedule is: a pure function from site to action."""

from abc import ABC, abstractmethod
from dataclasses import replace
from enum import Enum
from typing import Annotated, ClassVar, Literal

from videosieve.errors import RecipeError
from videosieve.fields import Fraction, Says, Whole, check_fields
from videosieve.forward import Site

Kind = Literal["attention", "cross", "mlp", "joint"]
Part = Annotated[
    Fraction | Whole,
    Says("must be a fraction in [0.0, 1.0] or a count >= 0", "write a count without a decimal point"),
]
"""Of the steps or layers: 0.2 is a fifth of them, 5 is five."""

KINDS: tuple[Kind, ...] = ("attention", "cross", "mlp", "joint")
"""Modules whose outputs can be stored: video self-attention, text cross-attention, feed-forward, and the output
projection that attention and feed-forward share in single-stream blocks, which is reused where both are."""


class Action(Enum):
    """What to do at a site.

    REUSE returns the output that the attention module had at the last computed step of the same layer and branch.
    """

    DENSE = "dense"
    SPARSE = "sparse"
    REUSE = "reuse"


class Schedule(ABC):
    """One answer to *when*. Subclasses are frozen dataclasses.

    Attributes:
        dense_reason: What the trace says of calls that this schedule keeps dense.
    """

    dense_reason: ClassVar[str] = "warm-up"

    def __post_init__(self) -> None:
        """Hold the parameters against their annotations; a subclass with more to check begins with the same line."""
        check_fields(self, RecipeError)

    @abstractmethod
    def action(self, site: Site) -> Action:
        """What happens at `site`; SPARSE leaves it to the method. Pure: equal sites, equal actions."""

    def next_computed(self, site: Site) -> Action | None:
        """What happens at the next step of the same layer and branch that computes anything; None where none does."""
        later = (self.action(replace(site, step=step)) for step in range(site.step + 1, site.steps))
        return next((action for action in later if action is not Action.REUSE), None)

    @property
    def reused_kinds(self) -> tuple[Kind, ...]:
        """Kinds of modules whose outputs are ever returned again."""
        return ()

    @property
    def shares_branches(self) -> bool:
        """Whether the guidance branches share an output at any site."""
        return False

    def reuses(self, kind: Kind, site: Site) -> bool:
        """Whether the modules of a kind return a stored output at `site`."""
        return kind == "attention" and self.action(site) is Action.REUSE

    def shares(self, site: Site) -> bool:
        """Whether at this layer and step the unconditional branch takes the output of the conditional one."""
        del site
        return False

    def require(self, site: Site) -> None:
        """Raise a RecipeError where the schedule was made for other numbers of steps or layers than the site's."""
        del site
