"""What can be tried: a method with its knob, a warm-up, dense layers, caching; or a plan for every layer and step."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from videosieve.errors import RecipeError
from videosieve.fields import nearest
from videosieve.methods import METHODS, Method, make_method
from videosieve.methods.sieve import SHORT_SEQUENCE
from videosieve.recipe import Recipe
from videosieve.schedule import Broadcast, DenseFirst, FirstMatch, Schedule, Table

DENSITIES = (0.1, 0.2, 0.35, 0.5, 0.7)
KNOBS: dict[str, tuple[str, tuple[float, ...]]] = {
    "sieve": ("density", DENSITIES),
    "svg": ("density", DENSITIES),
    "spatial_only": ("density", DENSITIES),
    "temporal_only": ("density", DENSITIES),
    "adaspa": ("density", DENSITIES),
    "xattention": ("threshold", (0.5, 0.7, 0.8, 0.9, 0.95)),
    "minference": ("density", DENSITIES),
    "svg2": ("density", DENSITIES),
    "svg_ear": ("density", DENSITIES),
    "radial": ("density", DENSITIES),
    "sliding_tile": ("density", DENSITIES),
    "sparge": ("density", DENSITIES),
    "draft": ("density", DENSITIES),
    "vsa_coarse": ("density", DENSITIES),
    "nabla": ("threshold", (0.3, 0.5, 0.6, 0.7, 0.9)),
    "lvsa": ("density", DENSITIES),
    "window_residual": ("window", (0.05, 0.125, 0.25, 0.4)),
}
"""What sizes each method, and the values that are screened."""

FIXED: dict[str, dict[str, Any]] = {
    "svg2": {"min_share": 0.0},
    "svg_ear": {"min_share": 0.0},
    "nabla": {"window": None},
}
"""Options without which the knob would not rule alone."""

CENTROIDS, SHARED = "centroids", "shared"
"""What may follow a method's name after a plus: `compensate`, `shared_selection`; all else is a token order."""

SEARCHED = (*KNOBS, f"svg+{CENTROIDS}+{SHARED}")
"""What is screened where nobody says otherwise."""

ALWAYS_SHARED = ("sieve",)
"""Methods whose own recipe lets both branches of guidance compute the same blocks."""

CACHING = "caching"
"""Family of the candidates without a method: dense attention and earlier outputs."""

SHORT = 16384
"""Video tokens below which blocks of 32 are tried beside the method's own."""

OWN_SHORT = {"sieve": SHORT_SEQUENCE}
"""Tokens below which a method's own blocks have 32 tokens already."""


@dataclass(frozen=True, slots=True)
class Family:
    """A method with everything fixed but its knob.

    Attributes:
        name: Label, "svg" or "svg-32"; CACHING for none.
        method: Name of the method.
        options: Its other options, (key, value) pairs.
        knob: The field that sizes it; empty where nothing is left to turn.
        values: Values of the knob that are screened, ascending.
        compensate: As in a recipe.
        token_order: As in a recipe.
        shared: A recipe's `shared_selection`.
        prefer: As in a recipe.
    """

    name: str
    method: str
    options: tuple[tuple[str, Any], ...] = ()
    knob: str = "density"
    values: tuple[float, ...] = DENSITIES
    compensate: str = "none"
    token_order: str = "model"
    shared: bool = False
    prefer: str = "none"

    def make(self, value: float) -> Method:
        """The method with its knob at a value."""
        turned = {self.knob: value} if self.knob else {}
        return make_method(self.method, **dict(self.options), **turned)

    def recipe(self, value: float, schedule: Schedule, min_tokens: int = 0) -> Recipe:
        """A recipe with the knob at a value.

        Raises:
            RecipeError: The method takes no such order, compensation or sharing.
        """
        own = {
            "compensate": self.compensate,
            "token_order": self.token_order,
            "shared_selection": self.shared,
            "prefer": self.prefer,
        }
        return Recipe(self.make(value), schedule, "tuned", min_tokens).override(**own)

    def as_json(self) -> dict[str, Any]:
        """Plain data; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Family":
        """What `as_json` wrote."""
        return cls(**{**values, "options": _frozen(values["options"]), "values": tuple(values["values"])})


def _knob(name: str) -> tuple[str, tuple[float, ...]]:
    """What sizes a method, and the values to screen; a method of somebody's own is sized by its density."""
    if name in KNOBS:
        return KNOBS[name]
    method = METHODS.get(name)
    if method is not None and not method.__module__.startswith("videosieve."):
        if "density" in {item.name for item in fields(method)}:  # type: ignore[arg-type]
            return "density", DENSITIES
        raise RecipeError(f"tune turns the density of {name!r}, which has no such parameter; add one")
    raise RecipeError(
        f"tune has no method {name!r}{nearest(name, [*KNOBS, CACHING])}; it searches {', '.join(KNOBS)} and "
        f"{CACHING}, methods with +{CENTROIDS}, +{SHARED} or a token order such as +head behind them"
    )


def _family(words: str) -> Family:
    """A method, and what follows its name after a plus."""
    name, *rest = words.split("+")
    knob, values = _knob(name)
    orders = [word for word in rest if word not in (CENTROIDS, SHARED)]
    if len(orders) > 1:
        raise RecipeError(f"{words!r} names several token orders, {' and '.join(orders)}; give one")
    family = Family(
        words,
        name,
        tuple(FIXED.get(name, {}).items()),
        knob,
        values,
        CENTROIDS if CENTROIDS in rest else "none",
        *(orders or ["model"]),
        shared=SHARED in rest or name in ALWAYS_SHARED,
    )
    family.recipe(values[0], DenseFirst())  # refuses what does not go together
    return family


def families(methods: Iterable[str] | None, tokens: int) -> list[Family]:
    """What to screen.

    Args:
        methods: Names of methods, such as "svg" or "svg+centroids+shared", or CACHING; None takes SEARCHED.
        tokens: Video tokens.

    Returns:
        One family a method, and a second with blocks of 32 where the video is short.

    Raises:
        RecipeError: A method is unknown, has no knob to turn or takes no such addition.
    """
    found = []
    for words in SEARCHED if methods is None else dict.fromkeys(methods):
        if words == CACHING:
            continue
        family = _family(words)
        found.append(family)
        has_blocks = "block" in {item.name for item in fields(METHODS[family.method])}  # type: ignore[arg-type]
        if OWN_SHORT.get(family.method, 0) <= tokens < SHORT and has_blocks:
            found.append(replace(family, name=f"{words}-32", options=(*family.options, ("block", 32))))
    return found


@dataclass(frozen=True, slots=True)
class Candidate:
    """One recipe of the search space. Steps and layers are counts.

    Attributes:
        family: Name of a family, or CACHING.
        knob: Value of its knob.
        dense_steps: First denoising steps without sparsity and reuse.
        dense_layers: First layers without sparsity and reuse.
        reuse: Attention is computed at every so many steps of the window; 1 computes all.
        start: First step of the window.
        stop: First step after the window.
        mlp: The same as `reuse` for feed-forward modules.
        cross: The same for cross-attention.
        offset: First computed step of every range; below the longest range.
        plan: One string of letters per step, as in `Table`, in place of warm-up and window; empty for none.
        given: A recipe as TOML that is run as it is; empty for none. What stands above describes it where it can.
        label: What a given recipe is called.
    """

    family: str = CACHING
    knob: float = 1.0
    dense_steps: int = 0
    dense_layers: int = 0
    reuse: int = 1
    start: int = 0
    stop: int = 0
    mlp: int = 1
    cross: int = 1
    offset: int = 0
    plan: tuple[str, ...] = ()
    given: str = ""
    label: str = ""

    @property
    def reuses(self) -> bool:
        """Whether any output is returned again."""
        return max(self.reuse, self.mlp, self.cross) > 1 or any("A" in row for row in self.plan)

    @property
    def opaque(self) -> bool:
        """Whether it is a given recipe that nothing describes: neither method nor reuse is known."""
        return bool(self.given) and self.family == CACHING and not self.reuses

    @property
    def plain(self) -> "Candidate":
        """The same by its description alone."""
        return replace(self, given="", label="")

    def schedule(self, steps: int) -> Schedule:
        """When it is dense, sparse or reuses, for a number of denoising steps."""
        if self.plan:
            return Table(self.plan)
        warm = DenseFirst(self.dense_steps, self.dense_layers)
        if not self.reuses:
            return warm
        window = Broadcast(
            self.reuse, self.start / steps, self.stop / steps, self.cross, self.mlp, offset=self.offset
        )
        return FirstMatch((warm, window))

    def recipe(self, known: dict[str, Family], steps: int, min_tokens: int) -> Recipe:
        """The candidate as a recipe.

        Args:
            known: Families by name.
            steps: Denoising steps.
            min_tokens: As in a recipe.

        Returns:
            The recipe.
        """
        if self.given:
            return Recipe.from_toml(self.given, self.label)
        family = known.get(self.family)
        if family is None and self.family != CACHING:
            raise RecipeError(
                f"{self.words()!r} needs the family {self.family!r}; there are {', '.join(known)}"
            )
        if family is None:
            return Recipe(make_method("dense"), self.schedule(steps), "tuned", min_tokens)
        return family.recipe(self.knob, self.schedule(steps), min_tokens)

    def words(self) -> str:
        """The candidate in a few words."""
        if self.given:
            return self.label
        parts = [self.family if self.family == CACHING else f"{self.family} {self.knob:.2g}"]
        if self.plan:
            letters = "".join(self.plan)
            shares = [(name, letters.count(letter) / len(letters)) for letter, name in _LETTERS.items()]
            return " ".join([*parts, "plan", *(f"{share:.0%} {name}" for name, share in shares if share)])
        if self.dense_steps or self.dense_layers:
            parts.append(f"dense {self.dense_steps} steps {self.dense_layers} layers")
        if self.reuses:
            shifted = f" from {self.offset}" if self.offset else ""
            parts.append(f"reuse {self.reuse}{shifted} in {self.start}–{self.stop}")
            parts += [
                f"{kind} {every}" for kind, every in (("mlp", self.mlp), ("cross", self.cross)) if every > 1
            ]
        return ", ".join(parts)

    def as_json(self) -> dict[str, Any]:
        """Plain data; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Candidate":
        """What `as_json` wrote."""
        return cls(**{**values, "plan": tuple(values["plan"])})


_LETTERS = {"F": "dense", "W": "sparse", "A": "reused"}


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
