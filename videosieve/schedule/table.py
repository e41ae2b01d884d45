"""A plan: what every layer does at every step, letter by letter. DiTFastAttn's search writes one.

Yuan et al., "DiTFastAttn: Attention Compression for Diffusion Transformer Models", arXiv:2406.08552, §3.4.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from videosieve.errors import RecipeError
from videosieve.fields import Says, check_fields
from videosieve.forward import Site
from videosieve.schedule.base import Action, Kind, Schedule

ACTIONS = {
    "F": (Action.DENSE, False),
    "f": (Action.DENSE, True),
    "W": (Action.SPARSE, False),
    "w": (Action.SPARSE, True),
    "A": (Action.REUSE, False),
}
"""Letter → (action, whether the guidance branches share the output)."""


@dataclass(frozen=True, slots=True)
class Table(Schedule):
    """One row of letters per step, one letter per layer.

    F: full attention. W: the method, in DiTFastAttn window attention with residual sharing (WA-RS). A: the output of
    the last computed step (AST). Small letters share one output between the guidance branches (ASC): f, w.

    Attributes:
        rows: One string per denoising step, one letter per layer; step 0 has nothing to reuse.
    """

    dense_reason: ClassVar[str] = "full in the plan"

    rows: Annotated[tuple[str, ...], Says("are a plan, one string per step")]

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        rows = self.rows
        if not rows:
            raise RecipeError(f"a plan is one string per step, got {rows!r}")
        if not rows[0] or any(len(row) != len(rows[0]) for row in rows):
            raise RecipeError(
                f"a plan has one letter per layer at every step, "
                f"got rows of {sorted({len(row) for row in rows})} letters"
            )
        if unknown := sorted({letter for row in rows for letter in row} - set(ACTIONS)):
            raise RecipeError(
                f"a plan is written in the letters {', '.join(ACTIONS)}, got {', '.join(unknown)}"
            )
        if "A" in rows[0]:
            raise RecipeError(f"step 0 has no earlier output to reuse (A), got {rows[0]!r}; write F")

    def action(self, site: Site) -> Action:
        self.require(site)
        return ACTIONS[self.rows[site.step][site.layer]][0]

    @property
    def reused_kinds(self) -> tuple[Kind, ...]:
        return ("attention",) if any("A" in row for row in self.rows) else ()

    @property
    def shares_branches(self) -> bool:
        return any(letter.islower() for row in self.rows for letter in row)

    def shares(self, site: Site) -> bool:
        """True for the small letters."""
        self.require(site)
        return ACTIONS[self.rows[site.step][site.layer]][1]

    def require(self, site: Site) -> None:
        """Raise a RecipeError unless the generation has as many steps and layers as the plan."""
        if (site.steps, site.layers) != (len(self.rows), len(self.rows[0])):
            raise RecipeError(
                f"the plan is for {len(self.rows)} steps and {len(self.rows[0])} layers, "
                f"the generation has {site.steps} and {site.layers}; search a plan for it"
            )
