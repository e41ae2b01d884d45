"""A recipe: which method, with which parameters, at which steps and layers, and where the numbers come from.

name = "svg-wan"
min_tokens = 512                 # shorter sequences stay dense
family = "Wan"                   # a pipeline of another family is refused; any family where left out
shared_selection = true          # guidance branches compute the same blocks; false where left out

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

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any

from videosieve.errors import OutputError, RecipeError
from videosieve.methods import METHODS, Dense, Method, make_method
from videosieve.methods.registry import nearest
from videosieve.plugins import load_plugins
from videosieve.schedule import DenseFirst, Schedule
from videosieve.schedule.keys import SCHEDULE_KEYS, keys_of, override_schedule, schedule_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

_OWN_KEYS = ("min_tokens", "shared_selection", "family")


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
        family: The family of models that it was made for, which `sparsify` insists on; empty for any.
    """

    method: Method = field(default_factory=Dense)
    schedule: Schedule = field(default_factory=DenseFirst)
    name: str = ""
    min_tokens: int = 512
    provenance: Mapping[str, str] = field(default_factory=dict)
    shared_selection: bool = False
    family: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.min_tokens, bool) or not isinstance(self.min_tokens, int) or self.min_tokens < 0:
            raise RecipeError(f"min_tokens must be an int >= 0, got {self.min_tokens!r}")
        _require_shareable(self.method, self.shared_selection)
        if not isinstance(self.family, str):
            raise RecipeError(f"family must be a name, or left out for any, got {self.family!r}")
        if not self.name:
            object.__setattr__(self, "name", self.method.name)

    @classmethod
    def of(cls, source: "str | Path | Method | Recipe", **overrides: Any) -> "Recipe":
        """Make a recipe from whatever a caller has.

        Args:
            source: The name of a bundled recipe or of a method, the path of a `.toml` file, a method or a recipe.
            **overrides: Fields of the method, keys of the schedule (`dense_steps`, `reuse_range`, …), `min_tokens`,
                `shared_selection` or `family`.

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
        method_keys = [item.name for item in fields(self.method)]  # type: ignore[arg-type]
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
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError as error:
            raise RecipeError(f"cannot read recipe {str(path)!r}: {error.strerror or error}") from None
        return cls.from_toml(text, name=Path(path).stem)

    @classmethod
    def from_toml(cls, text: str, name: str = "") -> "Recipe":
        """Parse a recipe; `name` is used where the text gives none."""
        load_plugins()
        try:
            table = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"recipe {name!r} is not valid TOML: {error}") from None
        _require_known(table, ("name", *_OWN_KEYS, "method", "schedule", "provenance"), "a recipe")
        method, schedule = (_section(table, key) for key in ("method", "schedule"))
        _require_known(schedule, SCHEDULE_KEYS, "[schedule]")
        if "name" not in method:
            raise RecipeError(f"[method] needs a name; there are {', '.join(METHODS)}")
        return cls(
            make_method(**method),
            schedule_of(schedule),
            table.get("name", name),
            table.get("min_tokens", 512),
            {key: str(value) for key, value in _section(table, "provenance").items()},
            table.get("shared_selection", False),
            table.get("family", ""),
        )

    def to_toml(self) -> str:
        """The recipe as TOML; `from_toml` reads it back to an equal recipe."""
        method = {"name": self.method.name, **asdict(self.method)}  # type: ignore[call-overload]
        schedule = keys_of(self.schedule)
        lines = [f"name = {_literal(self.name)}", f"min_tokens = {self.min_tokens}"]
        lines += ["shared_selection = true"] if self.shared_selection else []
        lines += [f"family = {_literal(self.family)}"] if self.family else []
        for section, values in (("method", method), ("schedule", schedule), ("provenance", self.provenance)):
            written = [f"{key} = {_literal(value)}" for key, value in values.items() if value is not None]
            lines += ["", f"[{section}]", *written] if written else []
        return "\n".join(lines) + "\n"

    def save(self, path: str | Path) -> None:
        """Write the recipe as TOML; an OutputError says why it could not."""
        try:
            Path(path).write_text(self.to_toml(), encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write recipe {str(path)!r}: {error.strerror or error}") from None

    @property
    def is_dense(self) -> bool:
        """True where nothing is ever sparse or reused: dense attention everywhere."""
        return isinstance(self.method, Dense) and not (
            self.schedule.reused_kinds or self.schedule.shares_branches
        )


def bundled_recipes() -> list[str]:
    """Names of the recipes that come with the package."""
    folder = resources.files("videosieve") / "recipes"
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def _require_shareable(method: Method, shared: bool) -> None:
    if not isinstance(shared, bool):
        raise RecipeError(f"shared_selection must be true or false, got {shared!r}")
    if shared and (isinstance(method, Dense) or type(method).correct is not Method.correct):
        raise RecipeError(
            f"shared_selection needs a method that chooses blocks and whose output is their attention alone; "
            f"{method.name!r} is none. Leave shared_selection out"
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


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple | list) and any(isinstance(item, str) for item in value):
        return "[\n" + "".join(f"    {_literal(item)},\n" for item in value) + "]"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_literal, value))}]"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
