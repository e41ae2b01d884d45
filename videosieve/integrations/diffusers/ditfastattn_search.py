"""DiTFastAttn's compression-plan search: for every step and layer, the cheapest choice that changes little enough.

Yuan et al., "DiTFastAttn: Attention Compression for Diffusion Transformer Models", arXiv:2406.08552, §3.4, with the
order, the loss and the threshold of the authors' `dit_fast_attention.py`. The search is greedy on the compressed
trajectory: a step is searched with all earlier steps already compressed. Both guidance branches of a step are judged
together, which a pipeline that calls them one after the other allows only by running up to the step again.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from videosieve.errors import IntegrationError, RecipeError
from videosieve.forward import Site
from videosieve.integrations.diffusers.attach import attach
from videosieve.integrations.diffusers.clock import Clock
from videosieve.integrations.diffusers.targets import Target, describe
from videosieve.methods.window_residual import WindowResidual
from videosieve.recipe import Recipe
from videosieve.run import Run
from videosieve.schedule import Action, Kind, Schedule, Table
from videosieve.schedule.table import ACTIONS

SHARING_CANDIDATES = ("A", "w", "W", "f")
CANDIDATES = ("A", "W")
"""Tried in this order, as in the authors' code: AST, WA-RS with ASC, WA-RS, ASC."""


def search_plan(
    pipe: Any,
    make_arguments: Callable[[], dict[str, Any]],
    *,
    delta: float = 0.05,
    method: WindowResidual | None = None,
    min_tokens: int = 512,
    progress: Callable[[int, int], None] | None = None,
) -> Recipe:
    """Search a plan for one pipeline, number of steps and size.

    Takes at most steps × layers × 4 forwards per branch, and steps² / 2 more to get back to each step.

    Args:
        pipe: A diffusers video pipeline with one supported transformer, not sparsified.
        make_arguments: Fresh arguments of one pipeline call, the generator newly seeded each time; several prompts are
            judged together. The video is not decoded.
        delta: Allowed change of the transformer's output, > 0; the paper's δ. Layer l of L may use (l + 1) / L of it.
        method: Window attention with residual sharing; its defaults where left out.
        min_tokens: As in a recipe.
        progress: Called with (step, steps) before each step is searched.

    Returns:
        A recipe with the plan, ready to `save`.

    Raises:
        RecipeError: delta is not positive.
        IntegrationError: The pipeline has two transformers, or is sparse already.
    """
    if isinstance(delta, bool) or not isinstance(delta, int | float) or not 0 < delta < float("inf"):
        raise RecipeError(f"delta is the allowed change of the output and must be > 0, got {delta!r}")
    targets = describe(pipe)
    if len(targets) != 1 or isinstance(pipe, Module):
        raise IntegrationError(
            f"a plan is searched for a pipeline with one transformer, got {len(targets)} in {type(pipe).__name__}"
        )
    chosen = method or WindowResidual()
    search = _Search(pipe, targets[0], make_arguments, chosen, min_tokens)
    search.search(0, delta)
    for step in range(1, len(search.draft.rows)):
        if progress is not None:
            progress(step, len(search.draft.rows))
        search.search(step, delta)
    provenance = {
        "source": "search_plan: greedy search of Yuan et al., DiTFastAttn, arXiv:2406.08552, §3.4",
        "delta": f"{delta:g}",
        "model": type(pipe).__name__,
        "forwards": str(search.forwards),
    }
    return Recipe(chosen, Table(search.draft.plan), "ditfastattn", min_tokens, provenance)


def plan_loss(full: list[Tensor], compressed: list[Tensor]) -> float:
    """The authors' loss: mean over outputs of mean(clip(|(a − b) / (max(a, b) + 1e-6)|, 0, 10)).

    The maximum is of the values and not of their magnitudes, as in the authors' code; the absolute value stands around
    the whole quotient, so that an error counts whatever the signs.

    Args:
        full: Outputs of the transformer with full attention at the step, one per branch.
        compressed: The same with a candidate, equal shapes.

    Returns:
        A number in [0, 10].
    """
    pairs = [(a.float(), b.float()) for a, b in zip(full, compressed, strict=True)]
    losses = [((a - b) / (torch.maximum(a, b) + 1e-6)).abs().clip(0, 10).mean() for a, b in pairs]
    return float(torch.stack(losses).mean())


class _Draft(Schedule):
    """A plan that is being written. Of steps still to come it wants everything kept."""

    dense_reason = Table.dense_reason

    def __init__(self, shares: bool) -> None:
        self.rows: list[list[str]] = []
        self.now = 0
        self._shares = shares

    @property
    def plan(self) -> tuple[str, ...]:
        return tuple("".join(row) for row in self.rows)

    @property
    def reused_kinds(self) -> tuple[Kind, ...]:
        return ("attention",)

    @property
    def shares_branches(self) -> bool:
        return self._shares

    def action(self, site: Site) -> Action:
        if site.step > self.now:
            return Action.SPARSE
        return ACTIONS[self.rows[site.step][site.layer]][0]

    def reuses(self, kind: Kind, site: Site) -> bool:
        if site.step > self.now:
            return kind == "attention"
        return kind == "attention" and self.action(site) is Action.REUSE

    def shares(self, site: Site) -> bool:
        return ACTIONS[self.rows[site.step][site.layer]][1]

    def require(self, site: Site) -> None:
        self.rows = self.rows or [["F"] * site.layers for _ in range(site.steps)]
        self.now = site.step


class _Reached(Exception):
    """Thrown out of the pipeline when the step to search is complete."""


class _Search:
    def __init__(
        self,
        pipe: Any,
        target: Target,
        arguments: Callable[[], dict[str, Any]],
        method: WindowResidual,
        least: int,
    ) -> None:
        self.forwards = 0
        self.draft = _Draft(shares=not target.row.is_padded)
        self._pipe, self._target, self._arguments = pipe, target, arguments
        self._recipe = Recipe(method, self.draft, min_tokens=least)
        self._calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self._full: list[Tensor] = []
        self._put_back: Callable[[], None] = lambda: None

    def search(self, step: int, delta: float) -> None:
        """Write one row of the draft."""
        with Run(self._recipe, recall_rows=0) as run:
            clock = Clock(run, self._pipe, None)
            attach([self._target], run, clock)
            self._replay(step, run, clock)
            if step > 0:
                self._choose(step, delta, clock)

    def _replay(self, step: int, run: Run, clock: Clock) -> None:
        """Run the pipeline to the end of `step`, itself still full; note its calls, outputs and what it began with."""
        self._calls, self._full = [], []

        def on_call(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            del module
            if clock.step > step:
                raise _Reached
            if clock.step == step:
                self._calls.append((clock.branch, args, kwargs))

        def on_return(module: Module, args: tuple[Any, ...], output: Any) -> None:
            del module, args
            self.forwards += 1
            if clock.step == step:
                self._full.append(output[0])
            else:
                self._put_back = run.snapshot()

        transformer = self._target.transformer
        handles = (
            transformer.register_forward_pre_hook(on_call, with_kwargs=True),
            transformer.register_forward_hook(on_return),
        )
        try:
            self._pipe(**{**self._arguments(), "output_type": "latent"})
        except _Reached:
            pass
        finally:
            for handle in handles:
                handle.remove()

    def _choose(self, step: int, delta: float, clock: Clock) -> None:
        """Greedy over the layers of a step; earlier choices stay in force."""
        row = self.draft.rows[step]
        shared = self.draft.shares_branches and clock.guided
        for layer in range(len(row)):
            for letter in SHARING_CANDIDATES if shared else CANDIDATES:
                row[layer] = letter
                if self._loss(step, clock) < (layer + 1) / len(row) * delta:
                    break
            else:
                row[layer] = "F"

    @torch.no_grad()
    def _loss(self, step: int, clock: Clock) -> float:
        self._put_back()
        outputs = []
        for branch, args, kwargs in self._calls:
            clock.held = (step, branch)
            outputs.append(self._target.transformer(*args, **kwargs)[0])
            self.forwards += 1
        return plan_loss(self._full, outputs)
