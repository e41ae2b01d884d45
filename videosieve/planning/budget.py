"""What a generation will cost, before anything is loaded: tokens, work, memory, and how much sparsity can gain."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from videosieve.errors import ModelError, RecipeError
from videosieve.fields import Extent, In, Steps, checked, nearest
from videosieve.files import is_file, read_table
from videosieve.forward import Site
from videosieve.integrations.diffusers.models import MODELS
from videosieve.layout import VideoLayout
from videosieve.metrics.amdahl import amdahl_bound
from videosieve.planning.blueprints import BLUEPRINTS, SHAPES, Blueprint
from videosieve.planning.flops import Work, count_work
from videosieve.recipe import Recipe
from videosieve.schedule import Action


@dataclass(frozen=True, slots=True)
class Budget:
    """What a generation costs.

    Attributes:
        blueprint: The model.
        size: Frames, height and width of the video, pixels.
        steps: Denoising steps.
        work: Of one forward.
        forwards: Forwards of the whole generation.
        density: Density of sparse calls that was assumed.
        run_density: Density over all calls, warm-up included.
    """

    blueprint: Blueprint
    size: tuple[int, int, int]
    steps: int
    work: Work
    forwards: int
    density: float
    run_density: float

    @property
    def attention_per_step(self) -> float:
        """Floating-point operations of dense self-attention in a step."""
        return self.work.attention * self.blueprint.branches

    @property
    def rest_per_step(self) -> float:
        """All other floating-point operations in a step."""
        return self.work.rest * self.blueprint.branches

    @property
    def total(self) -> float:
        """Floating-point operations of the whole generation, dense."""
        return self.steps * (self.attention_per_step + self.rest_per_step)

    @property
    def bound(self) -> float:
        """Amdahl's bound on the speed-up: 1 ÷ (1 − s + s · run density), s being attention's share of the work."""
        return amdahl_bound(self.work.share, self.run_density)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the transformer's weights in bfloat16."""
        return 2 * self.work.parameters

    @property
    def attention_bytes(self) -> int:
        """Bytes of q, k, v and the output of one attention in bfloat16."""
        return 8 * self.blueprint.batch * self.work.tokens * self.work.heads * self.work.head_dim


def make_budget(
    model: str,
    recipe: Recipe,
    frames: int | None = None,
    height: int | None = None,
    width: int | None = None,
    steps: int | None = None,
    density: float | None = None,
) -> Budget:
    """Count a generation.

    Args:
        model: A key of BLUEPRINTS, or a folder in diffusers' format.
        recipe: Method and schedule.
        frames: Video frames; None takes the model's usual ones, as for the rest.
        height: Pixels.
        width: Pixels.
        steps: Denoising steps.
        density: Density of sparse calls in (0, 1]; None takes the method's own, which some methods do not have.

    Returns:
        The budget.

    Raises:
        ModelError: Unknown model, or a size it cannot make.
        RecipeError: A density is needed.
    """
    blueprint = read_blueprint(model)
    usual = blueprint.size
    size = (
        _side("frames", frames, usual[0]),
        _side("height", height, usual[1]),
        _side("width", width, usual[2]),
    )
    count: int = blueprint.steps if steps is None else checked("steps", steps, Steps, ModelError)
    density = _density(recipe, density)
    work = count_work(
        blueprint.transformer, blueprint.config, blueprint.latents(*size), blueprint.text, blueprint.batch
    )
    sites = [Site(layer, work.layers, step, count) for step in range(count) for layer in range(work.layers)]
    costs = {Action.DENSE: 1.0, Action.SPARSE: density}
    run_density = sum(costs.get(recipe.schedule.action(site), 0.0) for site in sites) / len(sites)
    run_density = 1.0 if recipe.is_dense or work.tokens < recipe.min_tokens else run_density
    return Budget(blueprint, size, count, work, count * blueprint.branches, density, run_density)


def tokens_in_words(layout: VideoLayout) -> str:
    """Tokens of a sequence: "119,056 (33 × 45 × 80 video, 256 text)"."""
    grid = layout.grid
    parts = [f"{grid.frames} × {grid.height} × {grid.width} video"]
    for kind, word in (("text", "text"), ("extra", "other")):
        tokens = sum(part.tokens for part in layout.segments if part.kind == kind)
        parts += [f"{tokens:,} {word}"] if tokens else []
    return f"{layout.tokens:,} ({', '.join(parts)})"


def _side(name: str, asked: int | None, usual: int) -> int:
    return usual if asked is None else checked(name, asked, Extent, ModelError)


def _density(recipe: Recipe, density: float | None) -> float:
    density = (
        density
        if density is not None
        else getattr(recipe.method, "density", 1.0 if recipe.is_dense else None)
    )
    if density is None:
        raise RecipeError(f"method {recipe.method.name!r} has no density of its own; give the one to assume")
    return checked("density", density, Annotated[float, In("(0, 1]")], RecipeError)


def read_blueprint(model: str) -> Blueprint:
    """The blueprint of a known model or of a folder in diffusers' format.

    Args:
        model: A key of BLUEPRINTS, or a folder with model_index.json and transformer/config.json.

    Returns:
        The blueprint; a folder's sizes, strides, text and branches are those of its family.

    Raises:
        ModelError: There is no such model.
    """
    if model in BLUEPRINTS:
        return BLUEPRINTS[model]
    path = Path(model) / "transformer" / "config.json"
    if not is_file(path):
        raise ModelError(
            f"no model {model!r}{nearest(model, BLUEPRINTS)}: give one of {', '.join(BLUEPRINTS)}, or a folder with "
            f"transformer/config.json"
        )
    config = read_table(path, "a config", ModelError)
    name = str(config.get("_class_name", ""))
    row = MODELS.get(name)
    counted = dict.fromkeys(blueprint.transformer for blueprint in BLUEPRINTS.values())
    if name not in counted:
        why = f": {row.dense}" if row is not None and row.dense else ""
        raise ModelError(
            f"{path} is a {name or 'file without _class_name'}{why}; costs are known for {', '.join(counted)}"
        )
    shapes = config.get("in_channels") == SHAPES["in_channels"]
    alike = [one for one in BLUEPRINTS.values() if one.transformer == name]
    known = [one for one in alike if one.name.startswith("shapes") == shapes] or alike
    heads = config.get("attention_head_dim")
    family = next((b for b in known if b.config.get("attention_head_dim") == heads), known[0])
    return replace(family, name=Path(model).name, config=config)
