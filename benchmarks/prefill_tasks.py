"""Prompts for `benchmarks.prefill`, made by a seed: pass keys, several keys, key-value look-ups, and long text."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

ROOT = Path(__file__).parent.parent
TASKS = ("passkey", "multikey", "keyvalue", "nll")
NAMES = ("Amsterdam", "Budapest", "Cordoba", "Dakar", "Esbjerg", "Florence", "Geneva", "Havana")
DEPTHS = 5  # places of a key, evenly spread
SCORED = 256  # tokens of long text whose likelihood is taken


@dataclass(frozen=True)
class Sample:
    """One prompt and what must come after it.

    Attributes:
        tokens: int64 [1, tokens], the answer included.
        scored: Tokens at the end that are the answer, or whose likelihood is taken.
        retrieves: Whether they are an answer.
    """

    tokens: Tensor
    scored: int
    retrieves: bool


def make_sample(task: str, tokenizer: Any, length: int, number: int) -> Sample:
    """A prompt of `length` tokens; number and task are the seed."""
    source = random.Random(f"{task} {length} {number}")
    if task == "nll":
        text = _words(tokenizer, source, length)
        return Sample(torch.tensor([text]), min(SCORED, length // 4), False)
    facts, question, answer = {"passkey": _passkey, "multikey": _multikey, "keyvalue": _keyvalue}[task](
        source
    )
    encode = lambda text: tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]  # noqa: E731
    told, asked, wanted = [encode(fact) for fact in facts], encode(question), encode(answer)
    room = length - len(asked) - len(wanted) - sum(map(len, told))
    filler = _words(tokenizer, source, room)
    places = sorted((_place(number, i, len(told), source) for i in range(len(told))), reverse=True)
    for share, fact in zip(places, reversed(told), strict=True):
        at = int(share * room)
        filler[at:at] = fact
    return Sample(torch.tensor([filler + asked + wanted]), len(wanted), True)


def _place(number: int, index: int, facts: int, source: random.Random) -> float:
    if facts == 1:
        return (number % DEPTHS + 0.5) / DEPTHS
    return (index + source.random()) / facts


def _passkey(source: random.Random) -> tuple[list[str], str, str]:
    key = source.randint(10_000, 99_999)
    fact = f"\nThe pass key is {key}. Remember it. {key} is the pass key.\n"
    return [fact], "\n\nWhat is the pass key? The pass key is", f" {key}"


def _multikey(source: random.Random) -> tuple[list[str], str, str]:
    cities, numbers = source.sample(NAMES, 4), source.sample(range(1_000, 10_000), 4)
    facts = [
        f"\nThe special number of {city} is {number}.\n" for city, number in zip(cities, numbers, strict=True)
    ]
    asked = source.randrange(4)
    return facts, f"\n\nThe special number of {cities[asked]} is", f" {numbers[asked]}"


def _keyvalue(source: random.Random) -> tuple[list[str], str, str]:
    keys, values = source.sample(range(100, 1_000), 20), source.sample(range(1_000, 10_000), 20)
    facts = [f'\n"key {key}": "value {value}",\n' for key, value in zip(keys, values, strict=True)]
    asked = source.randrange(20)
    return facts, f'\n\n"key {keys[asked]}": "value', f" {values[asked]}"


def _words(tokenizer: Any, source: random.Random, count: int) -> list[int]:
    """`count` tokens of the project's own pages, from a place of their own."""
    return cut_words(tokenizer, sorted((ROOT / "docs").glob("*.md")), source, count)


def cut_words(tokenizer: Any, pages: list[Path], source: random.Random, count: int) -> list[int]:
    """`count` tokens of these pages in any order, from a place of their own."""
    source.shuffle(pages)
    text = "\n".join(page.read_text(encoding="utf-8") for page in pages)
    tokens = tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
    if len(tokens) < count:
        raise ValueError(f"the pages hold {len(tokens)} tokens, {count} are wanted")
    first = source.randrange(len(tokens) - count + 1)
    return tokens[first : first + count]
