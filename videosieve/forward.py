"""Which forward is this? The identity of one transformer forward, and of one attention call inside it.

Schedules, method states, lent selections, stored outputs and the trace are filed under this identity and nothing else:
what has another identity never shares memory. Integrations say it (diffusers: `integrations/diffusers/clock.py`).
"""

from dataclasses import dataclass

from videosieve.errors import ShapeError
from videosieve.fields import Count, Whole, check_fields


@dataclass(frozen=True, slots=True)
class Site:
    """Where in a generation an attention call happens.

    Attributes:
        layer: Index of the hooked self-attention in call order, 0 … layers − 1.
        layers: Hooked self-attentions in the transformer.
        step: Denoising step, 0 … steps − 1. A solver that evaluates the model twice at a timestep makes two steps.
        steps: Denoising steps of the generation.
        branch: "cond", "uncond", "cond_uncond" or another name that the pipeline gives.
        generation: Number of the generation in its run, from 0.
        pass_number: How often this branch had run before in this step: 0 but for context windows, further guidance and
            the like.
        items: Indices into the batch of the forward where the call holds only some of it; empty where it holds all.
        heads: Attention heads of the model where the call holds only some of them, as under Ulysses context
            parallelism; 0 where it holds all.
        head_numbers: Which of them the call holds, in its order; empty where it holds all.

    Raises:
        ShapeError: A number is none, layer, step or the number of a head is not below its count, a head stands twice,
            or one of heads and head_numbers is given alone.
    """

    layer: Whole = 0
    layers: Count = 1
    step: Whole = 0
    steps: Count = 1
    branch: str = "cond"
    generation: Whole = 0
    pass_number: Whole = 0
    items: tuple[Whole, ...] = ()
    heads: Whole = 0
    head_numbers: tuple[Whole, ...] = ()

    def __post_init__(self) -> None:
        check_fields(self, ShapeError)
        if not (0 <= self.layer < self.layers and 0 <= self.step < self.steps):
            raise ShapeError(f"a site needs 0 <= layer < layers and 0 <= step < steps, got {self}")
        held = self.head_numbers
        if (
            bool(held) != bool(self.heads)
            or len(set(held)) < len(held)
            or max(held, default=-1) >= max(self.heads, 1)
        ):
            raise ShapeError(
                f"a site needs heads and the head_numbers < heads that it holds, each once, or neither for all heads, "
                f"got {self}"
            )

    @property
    def is_conditional(self) -> bool:
        """Whether the branch is about the prompt: not "uncond", and not what is called after it, as "uncond_stg"."""
        return not self.branch.startswith("uncond")

    @property
    def label(self) -> str:
        """The branch, with the pass and the items where they say more."""
        part = f", pass {self.pass_number}" if self.pass_number else ""
        return self.branch + part + (f", items {list(self.items)}" if self.items else "")


@dataclass(frozen=True, slots=True)
class Forward:
    """One forward of a transformer.

    Attributes:
        generation: Number of the generation in its run, from 0.
        step: Denoising step, from 0.
        steps: Denoising steps of the generation.
        branch: As in `Site`.
        pass_number: As in `Site`.
        told_by: What the step was read from: "scheduler", "timesteps" (the scheduler's list, by value),
            "cache_context", "changes" (of the timestep, where nothing better is known) or "caller".
        moved: Whether the branch runs several times a step and this pass shows the latents of another pass of the step
            before: a window that has moved, so that what is remembered under this pass is about another one.
    """

    generation: Whole = 0
    step: Whole = 0
    steps: Count = 1
    branch: str = "cond"
    pass_number: Whole = 0
    told_by: str = "caller"
    moved: bool = False

    def __post_init__(self) -> None:
        check_fields(self, ShapeError)

    def site(self, layer: int, layers: int, branch: str = "", items: tuple[int, ...] = ()) -> Site:
        """An attention call of this forward.

        Args:
            layer: Index of the self-attention.
            layers: Self-attentions in the transformer.
            branch: Where the call holds one branch of a batch with both; empty takes the forward's.
            items: As in `Site`.
        """
        return Site(
            layer,
            layers,
            self.step,
            self.steps,
            branch or self.branch,
            self.generation,
            self.pass_number,
            items,
        )
