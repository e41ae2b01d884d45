"""What a screening found, and what it predicts of any candidate: how much it harms the video, and its seconds.

Harm is counted in squared relative velocity error, as the transformer's output has it. One replayed forward with a
single layer sparse (or reused) gives that layer's weight; the error of its attention output under another method or
density, relative to the one that was replayed, scales it. Layers and steps are taken as independent: sums, no products.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from videosieve.errors import RecipeError
from videosieve.schedule import KINDS
from videosieve.tuning.search.candidates import CACHING, Candidate

FLOOR = 1e-9  # harm of a candidate that changes nothing; keeps its logarithm finite


@dataclass(frozen=True, slots=True)
class Choice:
    """One method at one value of its knob, on dense attention calls.

    Attributes:
        family: Name of the family.
        knob: Value of its knob.
        error: Relative L1 of the attention output [looked, layers].
        recall: Softmax mass inside the kept blocks [looked, layers].
        cost: Seconds of a call, selection included, ÷ seconds of a dense call; median over calls.
        density: Computed ÷ all pairs, mean over calls.
    """

    family: str
    knob: float
    error: Tensor
    recall: Tensor
    cost: float
    density: float


@dataclass(frozen=True)
class Screen:
    """The tables of one model, size and number of steps. Tensors are float64.

    Attributes:
        looked: Steps that were looked at, ascending [looked].
        choices: What was screened.
        sparse_harm: Squared relative velocity error of one sparse layer ÷ squared error of its output [looked, layers].
        reuse_harm: The same of one reused layer ÷ squared drift over one step, by kind [looked, layers].
        drift: Relative L2 change of a module's output by kind, over 1, 2, … steps [gaps, steps, layers].
        share: Share of a dense generation by "core" (attention itself) and kind, of all steps [layers].
        pace: How far each step moves the latents, mean 1 [steps].
        seconds: Of a dense generation.
    """

    looked: tuple[int, ...]
    choices: tuple[Choice, ...]
    sparse_harm: Tensor
    reuse_harm: dict[str, Tensor]
    drift: dict[str, Tensor]
    share: dict[str, Tensor]
    pace: Tensor
    seconds: float

    @property
    def steps(self) -> int:
        return len(self.pace)

    @property
    def layers(self) -> int:
        return self.sparse_harm.shape[1]

    @cached_property
    def by_family(self) -> dict[str, list[Choice]]:
        """The choices of every family, by rising knob."""
        names = dict.fromkeys(choice.family for choice in self.choices)
        return {
            name: sorted((c for c in self.choices if c.family == name), key=lambda c: c.knob)
            for name in names
        }

    def over_steps(self, table: Tensor) -> Tensor:
        """A table of looked-at steps for every step, in between linearly [steps, layers]."""
        at = torch.tensor(self.looked, dtype=torch.float64)
        where = torch.arange(self.steps, dtype=torch.float64).clamp(at[0], at[-1])
        right = torch.searchsorted(at, where).clamp(max=len(at) - 1)
        left = torch.where(at[right] > where, right - 1, right)
        part = ((where - at[left]) / (at[right] - at[left]).clamp(min=1e-12))[:, None]
        return table[left] * (1 - part) + table[right] * part

    @cached_property
    def sparse_everywhere(self) -> Tensor:
        """`sparse_harm` of every step [steps, layers]."""
        return self.over_steps(self.sparse_harm)

    @cached_property
    def reuse_everywhere(self) -> dict[str, Tensor]:
        """`reuse_harm` of every step, by kind [steps, layers]."""
        return {kind: self.over_steps(table) for kind, table in self.reuse_harm.items()}

    @cached_property
    def is_joint(self) -> Tensor:
        """bool [layers]; where attention and feed-forward share their output projection."""
        return self.share.get("joint", torch.zeros(self.layers)) > 0

    def harm_of(self, family: str, knob: float) -> Tensor:
        """Harm of every step and layer, were it sparse [steps, layers]."""
        if (family, knob) not in self._harms:
            error = self.over_steps(self.look_up(family, knob).error)
            self._harms[family, knob] = self.sparse_everywhere * error.square()
        return self._harms[family, knob]

    @cached_property
    def _harms(self) -> dict[tuple[str, float], Tensor]:
        return {}

    def look_up(self, family: str, knob: float) -> Choice:
        """A family at any value of its knob: errors and costs between the screened values."""
        rows = self.by_family[family]
        if len(rows) == 1 or knob <= rows[0].knob:
            return rows[0]
        if knob >= rows[-1].knob:
            return rows[-1]
        high = next(i for i, row in enumerate(rows) if row.knob >= knob)
        a, b = rows[high - 1], rows[high]
        part = (knob - a.knob) / (b.knob - a.knob)

        def between(x: Any, y: Any) -> Any:
            return x * (1 - part) + y * part

        error = between(a.error.clamp(min=1e-9).log(), b.error.clamp(min=1e-9).log()).exp()
        rest = [between(getattr(a, name), getattr(b, name)) for name in ("recall", "cost", "density")]
        return Choice(family, knob, error, *rest)

    def weight(self, decay: float) -> Tensor:
        """How much the harm of a step counts: squared pace, and less the later [steps]; mean 1 at decay 0."""
        late = torch.arange(self.steps, dtype=torch.float64) / self.steps
        return self.pace.square() * torch.exp(-decay * late)

    def knows(self, candidate: Candidate) -> bool:
        """Whether the candidate's method was screened, or it has none."""
        return candidate.family == CACHING or candidate.family in self.by_family

    def sites(self, candidate: Candidate) -> "Sites":
        """Where a candidate is sparse and where it reuses."""
        if candidate.opaque:
            raise RecipeError(f"{candidate.label!r} is a recipe of its own; nothing can be predicted of it")
        steps, layers = self.steps, self.layers
        if candidate.plan:
            letters = [list(row) for row in candidate.plan]
            computed = torch.tensor([[letter != "A" for letter in row] for row in letters])
            sparse = torch.tensor([[letter == "W" for letter in row] for row in letters])
            fresh = torch.zeros(steps, layers, dtype=torch.int64)  # a plan reuses attention alone
            return Sites(sparse & computed, dict.fromkeys(KINDS, fresh) | {"attention": _gaps(computed)})
        step = torch.arange(steps)[:, None].expand(steps, layers)
        layer = torch.arange(layers).expand(steps, layers)
        warm = (step < candidate.dense_steps) | (layer < candidate.dense_layers)
        window = (step >= candidate.start) & (step < candidate.stop) & ~warm
        ranges = {"attention": candidate.reuse, "mlp": candidate.mlp, "cross": candidate.cross}
        reused = {kind: window & ((step - candidate.offset) % every != 0) for kind, every in ranges.items()}
        reused["joint"] = reused["attention"] & reused["mlp"]
        gaps = {kind: _gaps(~where) for kind, where in reused.items()}
        sparse = ~warm & (gaps["attention"] == 0) & (candidate.family != CACHING)
        return Sites(sparse, gaps)

    def as_json(self) -> dict[str, Any]:
        """Plain data; `from_json` reads it back."""
        values = {key: _plain(value) for key, value in vars(self).items() if key in self.__annotations__}
        names = ("family", "knob", "error", "recall", "cost", "density")
        values["choices"] = [{name: _plain(getattr(c, name)) for name in names} for c in self.choices]
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Screen":
        """What `as_json` wrote."""
        choices = tuple(
            Choice(**{**c, "error": _tensor(c["error"]), "recall": _tensor(c["recall"])})
            for c in values["choices"]
        )
        reuse, drift, share = (
            {name: _tensor(x) for name, x in values[key].items()} for key in ("reuse_harm", "drift", "share")
        )
        sparse, pace = (_tensor(values[key]) for key in ("sparse_harm", "pace"))
        return cls(tuple(values["looked"]), choices, sparse, reuse, drift, share, pace, values["seconds"])


@dataclass(frozen=True, slots=True)
class Sites:
    """What happens where.

    Attributes:
        sparse: bool [steps, layers]; computed by the method.
        gaps: Steps since the output was computed, 0 where it is computed now, by kind [steps, layers].
    """

    sparse: Tensor
    gaps: dict[str, Tensor]

    def key(self, family: str) -> tuple[object, ...]:
        """Equal where a family does the same everywhere; a family that is sparse nowhere does not count."""
        name = family if self.sparse.any() else CACHING
        return (name, self.sparse.numpy().tobytes(), *(gaps.numpy().tobytes() for gaps in self.gaps.values()))


def harm_table(screen: Screen, candidate: Candidate) -> Tensor:
    """Harm of every step and layer, before steps are weighted [steps, layers]."""
    sites = screen.sites(candidate)
    total = torch.zeros(screen.steps, screen.layers, dtype=torch.float64)
    if sites.sparse.any():
        sparse = screen.harm_of(candidate.family, candidate.knob) * sites.sparse
        source = torch.arange(screen.steps)[:, None] - sites.gaps["attention"]
        total += sparse.gather(0, source)  # an output that is returned again brings its error along
    joint = (sites.gaps["joint"] > 0) & screen.is_joint
    for kind, gaps in sites.gaps.items():
        # attention's own output has no reader where the joint one is reused
        seen = gaps * ~joint if kind == "attention" else gaps
        if kind in screen.drift and seen.any():
            total += screen.reuse_everywhere[kind] * drift_of(screen, kind, seen).square()
    return total


def drift_of(screen: Screen, kind: str, gaps: Tensor) -> Tensor:
    """Drift of outputs that are so many steps old; beyond the longest that was seen it grows in proportion."""
    table = screen.drift[kind]
    at = gaps.clamp(1, len(table)) - 1
    seen = table.gather(0, at[None])[0]
    return seen * (gaps / (at + 1)) * (gaps > 0)


def saved_share(screen: Screen, candidate: Candidate) -> float:
    """Share of the dense seconds that a candidate saves, as the screening sees it; below 1, negative where it loses."""
    sites = screen.sites(candidate)
    saved = torch.zeros((), dtype=torch.float64)
    for kind, gaps in sites.gaps.items():
        if kind in screen.share:
            saved = saved + ((gaps > 0) * screen.share[kind]).sum()
    if sites.sparse.any():
        cost = screen.look_up(candidate.family, candidate.knob).cost
        saved = saved + (sites.sparse * screen.share["core"]).sum() * (1 - cost)
    return float(saved / screen.steps)


def predicted_recall(screen: Screen, candidate: Candidate) -> float:
    """Mean recall over the sparse calls; 1 without any."""
    sparse = screen.sites(candidate).sparse
    if not sparse.any():
        return 1.0
    recall = screen.over_steps(screen.look_up(candidate.family, candidate.knob).recall)
    return float(recall[sparse].mean())


def _gaps(computed: Tensor) -> Tensor:
    """Steps since the last computed one [steps, layers]; step 0 counts as computed."""
    steps = torch.arange(computed.shape[0])[:, None].expand(computed.shape)
    last = torch.where(computed, steps, 0).cummax(0).values
    return steps - last


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.tolist()
    return {key: _plain(x) for key, x in value.items()} if isinstance(value, dict) else value


def _tensor(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
