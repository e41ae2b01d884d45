"""What a tune is asked to do, checked before anything expensive happens."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch

from videosieve.errors import OutputError, PromptError, RecipeError
from videosieve.fields import In, Seed, check_fields
from videosieve.files import is_empty, is_file, require_folder
from videosieve.forward import Site
from videosieve.generation.load import is_shapes
from videosieve.generation.request import Request, default_steps
from videosieve.integrations.diffusers.models import MODELS
from videosieve.integrations.diffusers.targets import Target
from videosieve.planning.machine import describe_machine, describe_versions, weights_digest
from videosieve.recipe import Recipe, bundled_recipes
from videosieve.tuning.capture import only_target
from videosieve.tuning.search import Goal, families

JOURNAL, RECIPE, TABLE = "journal.jsonl", "recipe.toml", "tune.json"
PLOTS, PAGE = ("tune.svg", "tune.png"), "tune.html"
SEARCHED, CHECKED = 3, 4
"""Captions of the bundled model that a tune without prompts takes."""


@dataclass(frozen=True)
class Order:
    """What to tune for.

    Attributes:
        goal: Target.
        search: Videos that the search measures on.
        check: Videos that only the final check sees.
        model: What the results call the model.
        minutes: Budget of everything, earlier runs in the same folder included.
        methods: Methods to search, and "caching"; None for all.
        start: Recipes to measure before anything else.
        seed: Of the search's random candidates.

    Raises:
        PromptError: No prompt, an empty one, the same video twice, or one that is both searched and checked on.
        RecipeError: A method is unknown, or the budget is not positive.
    """

    goal: Goal
    search: tuple[Request, ...]
    check: tuple[Request, ...]
    model: str = ""
    minutes: Annotated[float, In("(0, inf)", "must be finite and above 0")] = 15.0
    methods: tuple[str, ...] | None = None
    start: tuple[Recipe, ...] = ()
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        both = (*self.search, *self.check)
        if not self.search or not self.check or not all(request.prompt.strip() for request in both):
            raise PromptError(
                f"tune needs prompts to search with and prompts to check with, none of them empty; got "
                f"{len(self.search)} and {len(self.check)}"
            )
        videos = [(request.prompt, request.seed) for request in both]
        if twice := sorted({video for video in videos if videos.count(video) > 1}):
            raise PromptError(
                f"every prompt and seed counts once, either to search with or to check with; twice: {twice[0]}"
            )
        if not families(self.methods, 1) and self.goal.quality == "recall":  # refuses unknown names too
            raise RecipeError(
                f"a recall target needs a method, because a returned output has no recall; got {self.methods}"
            )


def make_order(
    goal: Goal,
    prompts: Sequence[str],
    *,
    seeds: Sequence[int] = (0,),
    check_prompts: Sequence[str] = (),
    base: Request | None = None,
    **rest: Any,
) -> Order:
    """An order from prompts and seeds.

    Args:
        goal: Target.
        prompts: Searched with, with every seed.
        seeds: Seeds of the search.
        check_prompts: Checked with, with the first seed; none takes the prompts with seeds that the search has not.
        base: Everything but prompt and seed; None leaves it to the pipeline.
        **rest: Other fields of the order.

    Returns:
        The order.

    Raises:
        PromptError: As for the order.
    """
    if isinstance(prompts, str):
        raise PromptError(f"prompts must be a list of texts, got one text {prompts!r}; write [{prompts!r}]")
    base = base or Request("")
    search = tuple(replace(base, prompt=text, seed=seed) for seed in seeds for text in prompts)
    fresh = max(seeds, default=0) + 1
    held = [(text, seeds[0]) for text in check_prompts] or [
        (text, fresh + i // max(len(prompts), 1)) for i, text in enumerate([*prompts] * _rounds(len(prompts)))
    ]
    check = tuple(replace(base, prompt=text, seed=seed) for text, seed in held)
    return Order(goal, search, check, **rest)


def default_prompts(
    model: str, prompts: Sequence[str], check_prompts: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Captions that training never showed, for the bundled models; others need prompts.

    Args:
        model: As `load_pipeline` takes it.
        prompts: Given to search with.
        check_prompts: Given to check with.

    Returns:
        Prompts to search with and to check with; the latter may be empty where the former were given.

    Raises:
        PromptError: No prompt for a model that is not bundled.
    """
    if prompts:
        return list(prompts), list(check_prompts)
    if not is_shapes(model):
        raise PromptError(f"model {model!r} needs prompts to search with; give some with --prompt")
    from videosieve.judging.evaluate import unseen_captions

    return unseen_captions(SEARCHED, seed=1), list(check_prompts) or unseen_captions(CHECKED, seed=2)


def default_start() -> tuple[str, ...]:
    """The bundled recipes for no model in particular: what a tune finds is to be better than these."""
    return tuple(name for name in bundled_recipes() if "-" not in name)


def _rounds(prompts: int) -> int:
    """How often the prompts are repeated to be at least three videos."""
    return -(-3 // max(prompts, 1))


def check_start(order: Order, target: Target, steps: int) -> None:
    """Refuse recipes to start with that are for another model or another number of steps.

    Raises:
        RecipeError: A recipe does not fit.
    """
    own = target.row.family
    others = {row.family.lower(): row.family for row in MODELS.values() if row.family != own}
    for recipe in order.start:
        ending = recipe.name.rpartition("-")[2].lower()
        family = recipe.family or recipe.provenance.get("family") or others.get(ending, own)
        if family != own:
            raise RecipeError(
                f"recipe {recipe.name!r} is for {family}, and this model is a {own}; leave it out, "
                f"or take one for {own}"
            )
        recipe.schedule.require(Site(0, target.layers, 0, steps, "cond"))


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but an earlier tune; changes nothing.

    Raises:
        OutputError: It is a file, holds something else, or cannot be written.
    """
    require_folder(folder)
    if not is_empty(folder) and not is_file(folder / JOURNAL):
        raise OutputError(
            f"{str(folder)!r} holds other files; give an empty folder or one with an earlier tune"
        )


def settings_of(pipe: Any, order: Order) -> dict[str, Any]:
    """Everything that decides what the figures of a journal mean; a longer budget does not."""
    requests = {
        name: [{**asdict(request), "image": str(request.image or "")} for request in getattr(order, name)]
        for name in ("search", "check")
    }
    return {
        "goal": order.goal.words(),
        "model": order.model,
        "weights": weights_digest(only_target(pipe).transformer),
        "pipeline": type(pipe).__name__,
        "family": only_target(pipe).row.family,
        "steps": order.search[0].steps or default_steps(pipe),
        **requests,
        "dtype": str(pipe.dtype).removeprefix("torch."),
        "methods": None if order.methods is None else list(order.methods),
        "start": [recipe.to_toml() for recipe in order.start],
        "seed": order.seed,
        "machine": describe_machine(torch.device(pipe.device)),
        "versions": describe_versions(),
    }
