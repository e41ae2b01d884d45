"""Dense and sparse prefills of the same prompts, one after another, as rows of a table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from torch import Tensor

from videosieve.errors import PromptError, RecipeError
from videosieve.fields import Count, Whole, checked
from videosieve.integrations.transformers.recipes import causal_recipe
from videosieve.prefill.measure import Reading, Tell, read_prompt
from videosieve.prefill.models import LanguageModel
from videosieve.prefill.results import PrefillRow
from videosieve.recipe import Recipe

LEAST_TOKENS = 2


@dataclass(frozen=True, slots=True)
class Order:
    """What is measured of every prompt.

    Attributes:
        scored: Tokens at the end of a prompt whose likelihood is taken, at least 1.
        decoded: Greedy tokens after it, at least 0.
        repeats: Prefills that are timed per method, at least 1; the median counts.
    """

    scored: int = 256
    decoded: int = 16
    repeats: int = 1

    def __post_init__(self) -> None:
        for name, wanted in (("scored", Count), ("decoded", Whole), ("repeats", Count)):
            checked(name, getattr(self, name), wanted, RecipeError)


def recipes_of(methods: str, settings: dict[str, Any] | None = None) -> list[tuple[str, Recipe | None]]:
    """The recipes that a list names.

    Args:
        methods: Methods, bundled recipes or .toml files, separated by commas; "dense" is the untouched model and always
            comes first.
        settings: Overrides for every one but dense.

    Returns:
        Name and recipe, None for dense; each once.

    Raises:
        RecipeError: A name is unknown, or a method has no causal form.
    """
    names = [name.strip() for name in methods.split(",") if name.strip() and name.strip() != "dense"]
    made: dict[str, Recipe | None] = {"dense": None}
    for name in names:
        made[name] = causal_recipe(name, **(settings or {}))
    return list(made.items())


def prompt_tokens(found: LanguageModel, text: str, most: int | None = None) -> Tensor:
    """A prompt as the model reads it.

    Args:
        found: The model.
        text: The prompt as it is, without a chat template.
        most: Tokens to cut it to, from the front; None takes all.

    Returns:
        int64 [1, tokens].

    Raises:
        PromptError: It has fewer than two tokens, or more than the model was made for.
    """
    tokens = found.tokenizer(text, return_tensors="pt", verbose=False)["input_ids"]
    tokens = tokens if most is None else tokens[:, :most]
    if tokens.shape[1] < LEAST_TOKENS:
        raise PromptError(f"a prompt needs at least {LEAST_TOKENS} tokens, got {tokens.shape[1]}")
    if tokens.shape[1] > found.longest:
        raise PromptError(
            f"the prompt has {tokens.shape[1]} tokens, and {found.name} was made for at most {found.longest}; cut "
            f"it with --tokens"
        )
    return tokens


def compare_prefills(
    found: LanguageModel,
    prompts: Sequence[Tensor],
    recipes: Sequence[tuple[str, Recipe | None]],
    order: Order,
    begin: Callable[[str], Tell] | None = None,
) -> list[PrefillRow]:
    """Prefill every prompt under every recipe.

    Args:
        found: The model.
        prompts: Each int64 [1, tokens].
        recipes: As `recipes_of` makes them, dense first.
        order: What is measured.
        begin: Told what begins, hands back who is told its progress.

    Returns:
        A row per prompt and recipe, in this order.
    """
    rows = []
    for number, tokens in enumerate(prompts):
        # Dense once more with every call noted: its seconds of attention. Its prefill is timed untouched.
        noted = _read(
            found, tokens, causal_recipe("dense", min_tokens=0), order, _begin(begin, "dense, noted", number)
        )
        dense: Reading | None = None
        for name, recipe in recipes:
            tell = _begin(begin, name, number)
            readings = [_read(found, tokens, recipe, order, tell) for _ in range(order.repeats)]
            dense = dense or readings[0]
            rows.append(_row(found, name, number, tokens, readings, noted, dense))
    return rows


def _begin(begin: Callable[[str], Tell] | None, name: str, number: int) -> Tell | None:
    return begin(f"prompt {number}: {name}") if begin else None


def _read(
    found: LanguageModel, tokens: Tensor, recipe: Recipe | None, order: Order, tell: Tell | None
) -> Reading:
    return read_prompt(found, tokens, recipe, scored=order.scored, decoded=order.decoded, tell=tell)


def _row(
    found: LanguageModel,
    name: str,
    number: int,
    tokens: Tensor,
    readings: list[Reading],
    noted: Reading,
    dense: Reading,
) -> PrefillRow:
    first = readings[0]
    summary = first.summary or noted.summary
    assert summary is not None  # noqa: S101 - the noted reading has one
    is_dense = first.summary is None
    nll = float(first.nll.mean())
    return PrefillRow(
        method=name,
        prompt=number,
        tokens=tokens.shape[1],
        seconds=median(reading.seconds for reading in readings),
        attention_seconds=summary.attention_seconds,
        density=summary.run_density,
        recall=None if is_dense else summary.recall,
        lowest_recall=None if is_dense else first.lowest_recall,
        nll=nll,
        nll_difference=None if is_dense else nll - float(dense.nll.mean()),
        agreement=None if is_dense else agreement(first.continuation, dense.continuation),
        continuation=found.tokenizer.decode(list(first.continuation)),
        dense_reasons={} if is_dense else summary.dense_reasons,
    )


def agreement(tokens: Sequence[int], dense: Sequence[int]) -> float | None:
    """Share of a continuation before it first differs from the dense one; None of an empty one."""
    if not dense:
        return None
    same = next((i for i, (a, b) in enumerate(zip(tokens, dense, strict=True)) if a != b), len(dense))
    return same / len(dense)
