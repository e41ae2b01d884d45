"""Runs captured transformer calls again under a recipe, without the pipeline."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from videosieve.forward import Site
from videosieve.integrations.diffusers.attach import attach
from videosieve.integrations.diffusers.clock import Clock
from videosieve.recipe import Recipe
from videosieve.run import Run
from videosieve.schedule import Action, Kind, Schedule
from videosieve.tuning.capture import Capture


@dataclass(frozen=True, slots=True)
class ReuseOnce(Schedule):
    """One layer returns what it returned at the step before, everything else is dense.

    Attributes:
        step: Where.
        layer: Which.
        kind: Of the module; "joint" reuses attention and feed-forward with their projection.
    """

    step: int
    layer: int
    kind: Kind

    @property
    def reused_kinds(self) -> tuple[Kind, ...]:
        return ("attention", "mlp", "joint") if self.kind == "joint" else (self.kind,)

    def action(self, site: Site) -> Action:
        return Action.REUSE if self.reuses("attention", site) else Action.DENSE

    def reuses(self, kind: Kind, site: Site) -> bool:
        return (site.step, site.layer) == (self.step, self.layer) and kind in self.reused_kinds


class Replay:
    """A context manager; the transformer is as before when the block ends.

    Args:
        captured: Whose calls.
        recipe: What their attention does.
    """

    def __init__(self, captured: Capture, recipe: Recipe) -> None:
        self._captured, self._run = captured, Run(recipe, recall_rows=0)
        self._clock = Clock(self._run, None, len(captured.pace))

    def __enter__(self) -> "Replay":
        attach([self._captured.target], self._run, self._clock)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._run.remove()

    @torch.no_grad()
    def __call__(self, step: int) -> Tensor:
        """What the transformer returns for the captured call of a step."""
        args, kwargs = self._captured.calls[step]
        self._clock.held = (step, self._captured.branch)
        transformer: Any = self._captured.target.transformer
        return transformer(*args, **kwargs)[0]

    def states(self) -> dict[tuple[str, int, str], Any]:
        """What the method remembers."""
        return self._run.states()
