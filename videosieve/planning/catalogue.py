"""What there is to choose from: methods with their papers and parameters, as plain data for a table."""

import inspect
import re
import sys
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from videosieve.methods import METHODS
from videosieve.recipe import Recipe
from videosieve.schedule import Broadcast
from videosieve.schedule.keys import REUSE_KEYS, keys_of


@dataclass(frozen=True, slots=True)
class MethodEntry:
    """A method in words.

    Attributes:
        name: What `--method` takes.
        idea: One sentence.
        paper: Title and arXiv id; empty where there is none.
        parameters: "name=default", as `--set` takes them.
        meanings: What a parameter is, by name, where the method says so.
    """

    name: str
    idea: str
    paper: str
    parameters: tuple[str, ...]
    meanings: dict[str, str] = field(default_factory=dict)


def describe_methods() -> list[MethodEntry]:
    """All methods, in the order of `videosieve.METHODS`."""
    return [
        MethodEntry(
            name, (inspect.getdoc(cls) or "").split("\n")[0], _paper(cls), _parameters(cls), _meanings(cls)
        )
        for name, cls in METHODS.items()
    ]


def describe_reuse() -> MethodEntry:
    """Pyramid Attention Broadcast: a schedule, and so open to every method."""
    plain = Broadcast()
    parameters = tuple(f"{key}={getattr(plain, name)}" for key, name in REUSE_KEYS.items())
    idea = (
        "Output reuse: within a window of steps, attention returns what it returned before; with any method."
    )
    said = _meanings(Broadcast)
    meanings = {key: said[name] for key, name in REUSE_KEYS.items() if name in said}
    return MethodEntry("pab", idea, _paper(Broadcast), parameters, meanings)


def common_settings() -> str:
    """The settings that every method takes, with their defaults."""
    recipe = Recipe()
    timing = [f"{key}={value}" for key, value in keys_of(recipe.schedule).items()]
    shared = str(recipe.shared_selection).lower()
    own = [f"min_tokens={recipe.min_tokens}", f"shared_selection={shared}", f"compensate={recipe.compensate}"]
    own += [f"token_order={recipe.token_order}", f"prefer={recipe.prefer}"]
    return "  ".join([*timing, *own])


def _paper(cls: type) -> str:
    text = " ".join((sys.modules[cls.__module__].__doc__ or "").split())
    found = re.search(r'"([^"]+?),?",? (arXiv:\d{4}\.\d{4,5})', text)
    return f"{found[1]}, {found[2]}" if found else ""


def _parameters(cls: Any) -> tuple[str, ...]:
    return tuple(f"{f.name}={'?' if f.default is MISSING else f.default}" for f in fields(cls))


def _meanings(cls: type) -> dict[str, str]:
    """The section "Attributes" of a class, by name; its fields are what is said there."""
    section = re.search(r"^Attributes:\n((?:[ ]+.*\n?|\n)+)", inspect.getdoc(cls) or "", re.MULTILINE)
    lines = section[1] if section else ""
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", lines, re.MULTILINE)
    return {name: " ".join(meaning.split()) for name, meaning in found}
