"""What `tune` takes by keyword: a type checker finds a misspelt option before anything runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypedDict

from videosieve.generation.request import Request
from videosieve.methods import Method
from videosieve.recipe import Recipe
from videosieve.tuning.outcome import Moment


class SearchOptions(TypedDict, total=False):
    """How the search goes; see `videosieve.tuning.tune.tune`."""

    minutes: float
    seeds: Sequence[int]
    check_prompts: Sequence[str]
    methods: tuple[str, ...] | None
    start: Sequence[str | Path | Method | Recipe]
    base: Request | None
    seed: int
    model: str
    best_effort: bool
    observe: Callable[[Moment], None] | None


class TuneOptions(SearchOptions, total=False):
    """The same with the target, of which one is needed, and the folder."""

    psnr: float | None
    recall: float | None
    speedup: float | None
    folder: str | Path
