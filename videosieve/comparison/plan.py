"""What to compare: prompts, seeds and methods, checked before a model is loaded; and the folder for results."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from videosieve.comparison.noise_floor import floor_recipe
from videosieve.errors import MetricError, OutputError, RecipeError
from videosieve.fields import In, check_fields
from videosieve.files import is_empty, read_json, reason_of, require_folder
from videosieve.frame_rate import FRAME_RATE, check_fps
from videosieve.generation.load import is_shapes
from videosieve.generation.request import Request
from videosieve.integrations.caches import Cache
from videosieve.kernels.preference import ROUNDED
from videosieve.recipe import Recipe
from videosieve.report.results import RESULTS

DENSE = "dense"  # the name of the baseline
FURTHER_METRICS = (
    "ssim_uniform",
    "flip",
    "st_lpips",
    "lpips",
    "vmaf",
)  # they take long, need weights, or are for others' figures
DEFAULT_PROMPT = "a large red circle moves left and a small blue square moves up over a striped background"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compare.

    Attributes:
        requests: One video per request and method; requests differ in prompt or seed.
        recipes: The methods by name; see `name_recipes`.
        repeats: Timed runs per video, at least 1.
        fps: Frames per second of the written videos.
        model: What the results call the model.
        floor: Whether dense attention runs again with another kernel: the noise floor.
        command: The command line, for the record; empty from Python.
        metrics: Of `FURTHER_METRICS`.
        caches: The caches of other programs that methods run with, by the names of the recipes; see `with_caches`.

    Raises:
        RecipeError: Nothing to compare, a scene twice, requests of different size, or fewer than one repeat.
        MetricError: An unknown metric.
    """

    requests: tuple[Request, ...]
    recipes: dict[str, Recipe]
    repeats: Annotated[int, In("[1, 10000]", "must be at least 1 and at most 10,000")] = 1
    fps: float = FRAME_RATE
    model: str = ""
    floor: bool = True
    command: str = ""
    metrics: tuple[str, ...] = ()
    caches: dict[str, Cache] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        _check_requests(self.requests)
        if unknown := [name for name in self.metrics if name not in FURTHER_METRICS]:
            raise MetricError(
                f"further metrics are {', '.join(FURTHER_METRICS)}; got {', '.join(unknown)}. "
                f"PSNR, SSIM, MS-SSIM and flicker are always measured"
            )
        check_fps(self.fps)
        if next(iter(self.recipes), None) != DENSE:
            raise RecipeError(f"the first method must be {DENSE!r}; make the recipes with name_recipes")
        if wrong := [name for name in self.caches if name == DENSE or name not in self.recipes]:
            raise RecipeError(
                f"a cache belongs to a recipe other than {DENSE!r}, got {', '.join(wrong)}; make them with with_caches"
            )


def _check_requests(requests: tuple[Request, ...]) -> None:
    if not requests:
        raise RecipeError("a comparison needs at least one prompt and seed")
    scenes = Counter((request.prompt, request.seed) for request in requests)
    if twice := [scene for scene, count in scenes.items() if count > 1]:
        prompt, seed = twice[0]
        raise RecipeError(
            f"a comparison takes every prompt and seed once, got {prompt!r} with seed {seed} "
            f"{scenes[twice[0]]} times; leave the others out or give them another seed"
        )
    for name in ("steps", "height", "width", "frames", "guidance"):
        values = sorted({str(getattr(request, name)) for request in requests})
        if len(values) > 1:
            raise RecipeError(
                f"all videos of a comparison must have the same {name}, got {', '.join(values)}; "
                f"make one comparison for each"
            )


def name_recipes(recipes: Iterable[Recipe], floor: bool = True) -> dict[str, Recipe]:
    """Recipes by name, with the dense baseline first whether it was asked for or not.

    Args:
        recipes: Any recipes; dense ones that name a kernel are further rows, others are the baseline once more. One
            that prefers bf16 brings a further noise floor: dense attention, rounded likewise.
        floor: Whether it does.

    Returns:
        At least two recipes.

    Raises:
        RecipeError: Two recipes share a name, or there is nothing but dense.
    """
    recipes = list(recipes)
    named = {DENSE: Recipe.of("dense")}
    rounded = floor_recipe(ROUNDED)
    prefers = any(recipe.prefer != "none" for recipe in recipes)
    if floor and prefers and all(recipe.name != rounded.name for recipe in recipes):
        named[rounded.name] = rounded  # what rounding alone costs and brings, with nothing left out
    for recipe in recipes:
        if recipe.is_dense and getattr(recipe.method, "kernel", None) is None:
            continue
        if recipe.name in named:
            raise RecipeError(
                f"two methods are called {recipe.name!r}; give one of them another name in its recipe"
            )
        named[recipe.name] = recipe
    if len(named) == 1:
        raise RecipeError("a comparison needs at least one method besides dense, for example svg")
    return named


def with_caches(
    recipes: dict[str, Recipe], caches: Iterable[Cache]
) -> tuple[dict[str, Recipe], dict[str, Cache]]:
    """Caching alone, sparsity alone and both: further rows for every cache.

    Args:
        recipes: As `name_recipes` makes them, the baseline first.
        caches: Caches of other programs.

    Returns:
        The recipes with a row "name+cache" for each that is not dense and a row of the cache's name for dense attention
        with it, and the caches of those rows.

    Raises:
        RecipeError: A cache is given twice, or a recipe has the name of such a row.
    """
    rows, on = dict(recipes), {}
    for cache in caches:
        for name, recipe in recipes.items():
            if recipe.is_dense and name != DENSE:
                continue  # a noise floor says what kernels cost, with nothing left out
            row = cache.label if name == DENSE else f"{name}+{cache.label}"
            if row in rows:
                raise RecipeError(f"two rows of the comparison are called {row!r}; give every cache once")
            provenance = {**recipe.provenance, "cache": cache.label, "cache_of": cache.origin}
            rows[row], on[row] = replace(recipe, name=row, provenance=provenance), cache
    return rows, on


def cross_requests(
    base: Request, prompts: Iterable[str], seeds: Iterable[int], model: str
) -> tuple[Request, ...]:
    """Every prompt with every seed.

    Args:
        base: Everything but prompt and seed.
        prompts: What the videos show; none takes a fitting one for the bundled models.
        seeds: Seeds of the initial noise.
        model: As `load_pipeline` takes it.

    Returns:
        At least one request.

    Raises:
        RecipeError: No prompt for a model that is not bundled.
    """
    prompts = list(prompts) or ([DEFAULT_PROMPT] if is_shapes(model) else [])
    if not prompts:
        raise RecipeError(f"model {model!r} needs a prompt; give one with --prompt")
    return tuple(replace(base, prompt=prompt, seed=seed) for prompt in prompts for seed in seeds)


def check_folder(folder: Path) -> bool:
    """Refuse a results folder before anything expensive happens; changes nothing.

    Args:
        folder: Where results are to go.

    Returns:
        True where it holds earlier results, which `clear_folder` will replace.

    Raises:
        OutputError: It is a file, holds something else or a damaged results.json, or cannot be written.
    """
    require_folder(folder)
    if is_empty(folder):
        return False
    if not (folder / RESULTS).is_file():
        raise OutputError(
            f"{str(folder)!r} holds other files; give an empty folder or one with earlier results"
        )
    _files_of(folder)
    return True


def clear_folder(folder: Path) -> None:
    """Make a results folder, or take the files of earlier results out of it; what they do not name stays.

    The earlier results.json stays too, until the new one replaces it: whoever is killed in between can begin again.

    Args:
        folder: A folder that passed `check_folder`.

    Raises:
        OutputError: It cannot be made, or its results.json is damaged.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot make the folder {str(folder)!r}: {reason_of(error)}") from None
    if not check_folder(folder):
        return
    for name in _files_of(folder):
        if Path(name).name:  # names of earlier versions have no folder, and "" is none
            (folder / Path(name).name).unlink(missing_ok=True)


def _files_of(folder: Path) -> list[str]:
    """Files that the results in a folder name; those of earlier versions too, which can be replaced but not read."""
    path = folder / RESULTS
    try:
        clips = read_json(path, "results", OutputError)["clips"]
        return [str(name) for clip in clips for name in clip["files"].values()]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise OutputError(
            f"{str(path)!r} is damaged, so it is unknown which files are results: {error}; give another folder or "
            f"empty this one"
        ) from None
