"""What to look for, and where: the layers and steps that saliency reads unless it is told which."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from videosieve.concepts import SaliencyMethod
from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.targets import Target

# Noise levels at which the paper finds concepts best separated, as fractions of all training timesteps.
NOISE = (0.3, 0.7)


@dataclass(frozen=True, slots=True)
class Question:
    """What to look for, and where.

    Attributes:
        concepts: Words or phrases, each once.
        method: How saliency is computed.
        layers: Self-attentions to average, in call order; None takes those that the method has sights for, those that
            the pipeline's config names for the method in `saliency_layers`, or all: averaged together they beat every
            single layer of the paper's models.
        steps: Denoising steps to average; None takes those at a noise level in `NOISE`, or the middle third.
    """

    concepts: tuple[str, ...]
    method: SaliencyMethod = field(default_factory=SaliencyMethod)
    layers: tuple[int, ...] | None = None
    steps: tuple[int, ...] | None = None


def named_layers(pipe: Any, question: Question) -> tuple[int, ...] | None:
    """The layers that a question asks for, its method has sights for, or a pipeline's config names; None for neither.

    Raises:
        IntegrationError: A layer is asked for that the method has no sight for.
    """
    sights, method = question.method.sights, question.method
    if question.layers is None:
        config = getattr(pipe, "config", {}).get("saliency_layers") or {}
        return tuple(sights) or config.get(method.name)
    if sights and (other := [layer for layer in question.layers if layer not in sights]):
        raise IntegrationError(
            f"sight names layers {', '.join(map(str, sights))}, and {other} are to be read; name them there too, or "
            f"leave layers out"
        )
    return question.layers


def choose_layers(wanted: Sequence[int] | None, target: Target, depth: int | None = None) -> tuple[int, ...]:
    """The layers to average, ascending.

    Args:
        wanted: Indices of self-attentions in call order; None for all.
        target: The transformer.
        depth: How many layers, from the first, can be looked at; None for all.

    Returns:
        At least one layer.

    Raises:
        IntegrationError: None of them, or one that does not exist.
    """
    count = target.layers if depth is None else depth
    if wanted is None:
        return tuple(range(count))
    kind = "self-attentions" if count == target.layers else "self-attentions with text"
    require_indices(wanted, count, "layers", kind)
    return tuple(sorted(set(wanted)))


def choose_steps(wanted: tuple[int, ...] | None, scheduler: Any, steps: int) -> tuple[int, ...]:
    """The steps to average, ascending.

    Args:
        wanted: Indices of steps; None for the default.
        scheduler: With its timesteps set.
        steps: Denoising steps of the generation.

    Returns:
        At least one step.

    Raises:
        IntegrationError: None of them, or one that does not exist.
    """
    if wanted is not None:
        require_indices(wanted, steps, "steps", "denoising steps")
        return tuple(sorted(set(wanted)))
    times = noise_levels(scheduler)
    middle = tuple(step for step, time in times.items() if NOISE[0] <= time <= NOISE[1])
    third = range(steps // 3, max(steps // 3 + 1, -(-2 * steps // 3)))
    return middle if middle and len(times) == steps else tuple(third)


def noise_levels(scheduler: Any) -> dict[int, float]:
    """The noise of every step of a scheduler whose timesteps are set, as a fraction of all training timesteps."""
    count = scheduler.config.num_train_timesteps
    return {step: float(time) / count for step, time in enumerate(scheduler.timesteps)}


def require_indices(wanted: Sequence[int], count: int, name: str, what: str) -> None:
    """Raise an IntegrationError unless `wanted` holds at least one index, all of them from 0 to count - 1."""
    if not wanted or any(isinstance(i, bool) or not isinstance(i, int) or not 0 <= i < count for i in wanted):
        raise IntegrationError(
            f"{name} must be at least one of 0 … {count - 1}, for there are {count} {what}; got {list(wanted)}"
        )
