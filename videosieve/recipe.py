"""A recipe: which method, with which parameters, at which steps and layers, and where the numbers come from.

name = "svg-wan"
min_tokens = 512                 # shorter sequences stay dense
family = "Wan"                   # a pipeline of another family is refused; any family where left out
shared_selection = true          # guidance branches compute the same blocks; false where left out
compensate = "centroids"         # blocks that are left out answer with their means ("tangents" where causal); or "none"
token_order = "4x4x4"            # in which a method that looks at q and k alone cuts blocks; "model" where left out
prefer = "bf16"                  # fp32 models attend in products of bf16 on a CPU that has them; "none" where left out

[method]
name = "svg"                     # the other keys are fields of the method's class
density = 0.3

[schedule]
dense_steps = 0.2                # float: fraction of all steps; int: a count
dense_layers = 1
reuse_range = 2                  # PAB; also reuse_start, _stop, _cross, _mlp, _mlp_layers, _offset
# plan = ["FF", "FA"]            # or a letter per layer and step, and nothing else

[provenance]                     # free text, kept as it is
source = "…"
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from videosieve.errors import RecipeError
from videosieve.fields import OneOf, Whole, check_fields, nearest, shown
from videosieve.files import parse_toml, read_text, toml_key, toml_value, write_text
from videosieve.method_rules import require_compensable, require_roundable, require_shareable
from videosieve.methods import METHODS, Dense, Method, make_method
from videosieve.methods.token_orders import Reordered, check_order
from videosieve.plugins import load_plugins
from videosieve.schedule import DenseFirst, Schedule
from videosieve.schedule.keys import SCHEDULE_KEYS, keys_of, override_schedule, schedule_of

_OWN_KEYS = ("min_tokens", "shared_selection", "compensate", "token_order", "prefer", "family")
ANSWERS: dict[str, dict[str, bool]] = {
    "none": {},
    "centroids": {"compensate": True},
    "tangents": {"tangents": True},
}
"""What may answer for what is left out, and what a `Selection` says of it."""
PRODUCTS = ("none", "bf16")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Method, schedule and provenance.

    Attributes:
        method: Which blocks of attention are computed.
        schedule: When.
        name: What people call it.
        min_tokens: Sequences shorter than this stay dense, tokens.
        provenance: Where the numbers come from; free text by topic.
        shared_selection: Whether the guidance branches of a step compute the same blocks: the first chooses, the others
            take its selection over. Costs one choice instead of two; does nothing without guidance.
        compensate: "centroids" lets every key block that is left out answer with its mean key, mean value and count;
            "tangents", where no query sees a later key, lets the first query of a block answer for the others by what
            it finds in all that is left out; "none" throws it away, as the papers do.
        token_order: The order whose stretches are blocks: "model" as the tokens lie, "token_major", "hilbert", a cube
            such as "4x4x4", or "head", which finds the best of all for every head at the first sparse call. For methods
            that choose by queries and keys alone.
        prefer: "bf16" has every attention call of fp32 tensors, dense ones too, round q, k and v to bf16 once, inside
            the native kernel, which sums in fp32: faster on CPUs with products of bf16, refused on others. bf16 models
            compute so by themselves. "none" computes in the model's dtype.
        family: The family of models that it was made for, which `sparsify` insists on; empty for any.
    """

    method: Method = field(default_factory=Dense)
    schedule: Schedule = field(default_factory=DenseFirst)
    name: str = ""
    min_tokens: Whole = 512
    provenance: Mapping[str, str] = field(default_factory=dict)
    shared_selection: bool = False
    compensate: Annotated[str, OneOf(tuple(ANSWERS))] = "none"
    token_order: str = "model"
    prefer: Annotated[str, OneOf(PRODUCTS)] = "none"
    family: str = ""

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        require_shareable(self.method, self.shared_selection)
        require_compensable(self.method, self.compensate)
        require_roundable(self.method, self.prefer)
        check_order(self.token_order, self.method)
        if not self.name:
            object.__setattr__(self, "name", self.method.name)

    def __repr__(self) -> str:
        """Name, method, and every value that is not the default: `Recipe('svg-wan': svg, density=0.3, …)`."""
        try:
            values = {**_changed(self.method), **keys_of(self.schedule)}
        except RecipeError:  # a schedule that no file can hold
            values = {**_changed(self.method), "schedule": self.schedule}
        values |= {key: getattr(self, key) for key in _OWN_KEYS if getattr(self, key) != _DEFAULTS[key]}
        parts = [f"{key}={value!r}" for key, value in values.items()]
        return f"Recipe({self.name!r}: {', '.join([self.method.name, *parts])})"

    @classmethod
    def of(cls, source: "str | Path | Method | Recipe", **overrides: Any) -> "Recipe":
        """Make a recipe from whatever a caller has.

        Args:
            source: The name of a bundled recipe or of a method, the path of a `.toml` file, a method or a recipe.
            **overrides: Fields of the method, keys of the schedule (`dense_steps`, `reuse_range`, …), `min_tokens`,
                `shared_selection`, `compensate`, `token_order`, `prefer` or `family`.

        Returns:
            The recipe.

        Raises:
            RecipeError: Unknown name, unknown key, value outside its range, unreadable file.
        """
        recipe = cls._resolve(source)
        return recipe.override(**overrides) if overrides else recipe

    @classmethod
    def _resolve(cls, source: "str | Path | Method | Recipe") -> "Recipe":
        if isinstance(source, Recipe):
            return source
        if isinstance(source, Method):
            return cls(source)
        if not isinstance(source, str | Path):
            raise RecipeError(
                f"a recipe is made from a name, the path of a .toml file, a method or a recipe, got {shown(source)}"
            )
        if isinstance(source, Path) or str(source).endswith(".toml"):
            return cls.load(source)
        if source in bundled_recipes():
            return cls.load(Path(str(resources.files("videosieve") / "recipes" / f"{source}.toml")))
        load_plugins()
        if source in METHODS:
            return cls(make_method(source))
        known = sorted({*METHODS, *bundled_recipes()})
        raise RecipeError(
            f"unknown method or recipe {source!r}{nearest(source, known)}; there are {', '.join(known)}, "
            f"or give the path of a .toml file"
        )

    def override(self, **values: Any) -> "Recipe":
        """The same recipe with some values changed; keys as in `Recipe.of`."""
        method_keys = [item.name for item in fields(self.method)] if is_dataclass(self.method) else []
        known = [*method_keys, *SCHEDULE_KEYS, *_OWN_KEYS]
        for key in values:
            if key not in known:
                raise RecipeError(
                    f"recipe {self.name!r} has no option {key!r}{nearest(key, known)}; it has {', '.join(known)}"
                )
        method = replace(self.method, **{key: values[key] for key in method_keys if key in values})  # type: ignore[type-var]
        timing = {key: values[key] for key in SCHEDULE_KEYS if key in values}
        schedule = override_schedule(self.schedule, timing) if timing else self.schedule
        own = {key: values[key] for key in _OWN_KEYS if key in values}
        return replace(self, method=method, schedule=schedule, **own)

    @classmethod
    def load(cls, path: str | Path) -> "Recipe":
        """Read a recipe file.

        Raises:
            RecipeError: The file is missing, not TOML, or has unknown keys.
        """
        text = read_text(path, "recipe", RecipeError)
        return cls._of_table(parse_toml(text, f"recipe {str(path)!r}", RecipeError), Path(path).stem)

    @classmethod
    def from_toml(cls, text: str, name: str = "") -> "Recipe":
        """Parse a recipe; `name` is used where the text gives none."""
        return cls._of_table(parse_toml(text, f"recipe {name!r}", RecipeError), name)

    @classmethod
    def _of_table(cls, table: dict[str, Any], name: str) -> "Recipe":
        _require_known(table, ("name", *_OWN_KEYS, "method", "schedule", "provenance"), "a recipe")
        method, schedule = (_section(table, key) for key in ("method", "schedule"))
        _require_known(schedule, SCHEDULE_KEYS, "[schedule]")
        if "name" not in method:
            raise RecipeError(f"[method] needs a name; there are {', '.join(METHODS)}")
        if isinstance(method["name"], str) and method["name"] not in METHODS:
            load_plugins()
        return cls(
            make_method(**method),
            schedule_of(schedule),
            table.get("name", name),
            table.get("min_tokens", 512),
            {key: str(value) for key, value in _section(table, "provenance").items()},
            table.get("shared_selection", False),
            table.get("compensate", "none"),
            table.get("token_order", "model"),
            table.get("prefer", "none"),
            table.get("family", ""),
        )

    def to_toml(self) -> str:
        """The recipe as TOML; `from_toml` reads it back to an equal recipe.

        Raises:
            RecipeError: The method or schedule has a value that TOML has not, or is none that a recipe can name.
        """
        method = {"name": self.method.name, **_parameters(self.method)}
        schedule = keys_of(self.schedule)
        lines = [f"name = {toml_value(self.name, RecipeError)}", f"min_tokens = {self.min_tokens}"]
        lines += ["shared_selection = true"] if self.shared_selection else []
        lines += (
            [f"compensate = {toml_value(self.compensate, RecipeError)}"] if self.compensate != "none" else []
        )
        lines += (
            [f"token_order = {toml_value(self.token_order, RecipeError)}"]
            if self.token_order != "model"
            else []
        )
        lines += [f"prefer = {toml_value(self.prefer, RecipeError)}"] if self.prefer != "none" else []
        lines += [f"family = {toml_value(self.family, RecipeError)}"] if self.family else []
        for section, values in (("method", method), ("schedule", schedule), ("provenance", self.provenance)):
            written = [f"{toml_key(key)} = {toml_value(value, RecipeError)}" for key, value in values.items()]
            lines += ["", f"[{section}]", *written] if written else []
        return "\n".join(lines) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the recipe as TOML, whole or not at all; an OutputError says why it could not."""
        write_text(Path(path), self.to_toml())

    @property
    def chooser(self) -> Method:
        """What is asked for selections: the method, or the method at work in another order of the tokens."""
        if self.token_order == "model":
            return self.method
        return Reordered(self.method, self.token_order, self.compensate == "centroids")

    @property
    def is_dense(self) -> bool:
        """True where nothing is ever sparse or reused: dense attention everywhere."""
        return isinstance(self.method, Dense) and not (
            self.schedule.reused_kinds or self.schedule.shares_branches
        )


_DEFAULTS = {item.name: item.default for item in fields(Recipe)}


def _changed(method: Method) -> dict[str, Any]:
    """Fields of a method that are not their defaults, and its density."""
    if not is_dataclass(method):
        return {}
    values = {item.name: (getattr(method, item.name), item.default) for item in fields(method)}
    return {key: own for key, (own, usual) in values.items() if own != usual or key == "density"}


def bundled_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("videosieve") / "recipes"
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def _section(table: dict[str, Any], key: str) -> dict[str, Any]:
    section = table.get(key, {})
    if not isinstance(section, dict):
        raise RecipeError(f"[{key}] must be a table, got {section!r}")
    return section


def _require_known(table: dict[str, Any], known: Any, where: str) -> None:
    for key in table:
        if key not in known:
            raise RecipeError(f"{where} has no key {key!r}{nearest(key, known)}; it has {', '.join(known)}")


def _parameters(method: Method) -> dict[str, Any]:
    """Fields of a method that are not None, which TOML has not and a field left out means."""
    if not is_dataclass(method):
        return {}
    values = {item.name: getattr(method, item.name) for item in fields(method)}
    for item in fields(method):
        if values[item.name] is None and item.default is not None:
            raise RecipeError(
                f"a recipe file cannot hold {item.name}=None of method {method.name!r}, whose default is another value"
            )
    return {key: value for key, value in values.items() if value is not None}
