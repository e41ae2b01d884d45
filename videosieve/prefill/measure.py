"""One prompt through one model under one recipe: the prefill timed, its last tokens scored, and a few decoded."""

import inspect
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from videosieve.errors import NumericsError
from videosieve.integrations.transformers import sparsify
from videosieve.integrations.transformers.models import find_attentions
from videosieve.prefill.models import LanguageModel
from videosieve.recipe import Recipe
from videosieve.trace import Summary

Tell = Callable[[int, int], None]
"""Called with layers done and layers in all."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one prefill gave.

    Attributes:
        seconds: Wall time of the prefill, all tokens in one forward.
        nll: Negative log-likelihood of each of the last tokens, nats; fp32 [scored] on the CPU.
        hits: Whether each of them was the likeliest: bool [scored] on the CPU.
        continuation: Greedy tokens after the prompt.
        summary: What the run traced; None of the untouched model.
        lowest_recall: Mean recall of the sparse call where it is lowest; None where none was measured.
    """

    seconds: float
    nll: Tensor
    hits: Tensor
    continuation: tuple[int, ...]
    summary: Summary | None
    lowest_recall: float | None = None


def read_prompt(
    found: LanguageModel,
    tokens: Tensor,
    recipe: Recipe | None,
    *,
    scored: int = 256,
    decoded: int = 16,
    recall_rows: int = 16,
    tell: Tell | None = None,
) -> Reading:
    """Prefill a prompt once.

    Args:
        found: The model.
        tokens: int64 [1, tokens]; the last `scored` of them are also what is predicted.
        recipe: What makes it sparse; None leaves it untouched.
        scored: Tokens at the end whose likelihood is taken, at least 1.
        decoded: Tokens to decode greedily; decoding is dense.
        recall_rows: As in `sparsify`.
        tell: Progress through the layers.

    Returns:
        The reading.

    Raises:
        RecipeError, IntegrationError: The recipe or the model cannot be sparse.
        NumericsError: The model returned NaN.
    """
    model = found.model
    tokens = tokens.to(model.device)
    scored = min(scored, tokens.shape[1] - 1)
    made = nullcontext() if recipe is None else sparsify(model, recipe, recall_rows=recall_rows)
    with torch.no_grad(), _told(model, tell), made as run:
        if run is not None:
            run.warns = False  # short prompts stay dense, and the summary says so
        start = _now(model)
        out = model(tokens, use_cache=True, **_last_logits(model, scored + 1))
        seconds = _now(model) - start
        logits = out.logits[0, -(scored + 1) :].float()
        if not bool(logits.isfinite().all()):
            raise NumericsError(
                f"{found.name} returned values that are not finite for a prompt of {tokens.shape[1]} tokens"
            )
        nll = cross_entropy(logits[:-1], tokens[0, -scored:], reduction="none").cpu()
        hits = (logits[:-1].argmax(-1) == tokens[0, -scored:]).cpu()
        continuation = _decode(model, out.past_key_values, logits[-1], decoded)
    if run is None:
        return Reading(seconds, nll, hits, continuation, None)
    recalls = [sum(record.recall) / len(record.recall) for record in run.trace.records if record.recall]
    return Reading(seconds, nll, hits, continuation, run.summary(), min(recalls, default=None))


def _last_logits(model: Any, count: int) -> dict[str, int]:
    """Only the logits that are read, where the model can: all of a long prompt are gigabytes."""
    return (
        {"logits_to_keep": count} if "logits_to_keep" in inspect.signature(model.forward).parameters else {}
    )


def _decode(model: Any, cache: Any, logits: Tensor, count: int) -> tuple[int, ...]:
    tokens: list[int] = []
    while len(tokens) < count:
        tokens.append(int(logits.argmax()))
        if len(tokens) < count:
            following = torch.tensor([[tokens[-1]]], device=model.device)
            logits = model(following, past_key_values=cache, use_cache=True).logits[0, -1]
    return tuple(tokens)


def _now(model: Any) -> float:
    if model.device.type == "cuda":
        torch.cuda.synchronize(model.device)
    return time.perf_counter()


class _told:
    """Hooks that tell the progress of a forward with many queries."""

    def __init__(self, model: Any, tell: Tell | None) -> None:
        self._modules = find_attentions(model).modules if tell else []
        self._tell = tell
        self._hooks: list[Any] = []

    def __enter__(self) -> None:
        for index, module in enumerate(self._modules):
            self._hooks.append(module.register_forward_hook(self._hook(index + 1)))

    def _hook(self, done: int) -> Callable[..., None]:
        def told(_module: Any, _args: Any, output: Any) -> None:
            first = output[0] if isinstance(output, tuple) else output
            if self._tell and first.shape[1] > 1:
                self._tell(done, len(self._modules))

        return told

    def __exit__(self, *_error: object) -> None:
        for hook in self._hooks:
            hook.remove()
