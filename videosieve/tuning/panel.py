"""The onlookers of a screening: every contender computes the calls of a dense replay as it would, and is judged."""

from dataclasses import dataclass, field, replace
from statistics import fmean, median
from typing import ClassVar

from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.errors import VideosieveError
from videosieve.kernels.dense_attention import dense_attention, fastest
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.methods import Method, Selection, ask, attend_selected
from videosieve.methods.base import State
from videosieve.metrics import recall, relative_l1
from videosieve.timing import milliseconds_of, start_timer
from videosieve.tuning.parts import Parts
from videosieve.tuning.search.candidates import Family


@dataclass
class Contender:
    """A choice under observation.

    Attributes:
        family: Its family.
        knob: Value of the knob.
        method: What chooses: the method, in the family's token order.
        error: Relative L1 by (step, layer).
        recall: Recall by (step, layer).
        cost: Seconds ÷ dense seconds, call by call.
        density: Computed ÷ all pairs, call by call.
        states: Method states by layer.
        learns: Whether it has a state; such a one is not judged at its first call.
        judged: Calls that were judged before the step at work.
    """

    family: Family
    knob: float
    method: Method
    error: dict[tuple[int, int], float] = field(default_factory=dict)
    recall: dict[tuple[int, int], float] = field(default_factory=dict)
    cost: list[float] = field(default_factory=list)
    density: list[float] = field(default_factory=list)
    states: dict[int, State] = field(default_factory=dict)
    learns: bool = False
    judged: int = 0

    def look(self, call: AttentionCall, dense: "_Dense") -> None:
        """Compute the call as this choice would, and note what was lost."""
        layer = call.site.layer
        known = self.states.get(layer)
        timer = start_timer(call.q.device)
        selection, state = ask(self.method, call, known)
        if selection is None:
            return
        if self.family.compensate != "none":
            selection = replace(selection, compensate=True)
        result = attend_selected(call, selection)
        state = self.method.observe(call, result, state)
        output = self.method.correct(call, result.output, state)
        reading = timer()
        self.states[layer] = state
        self.learns = state is not None
        if self.learns and known is None:
            return  # it has just seen this very call in full, or adapted to it
        place = (call.site.step, layer)
        self.error[place] = relative_l1(output, dense.output)
        self.recall[place] = recall(result.lse, dense.lse)
        self.cost.append(milliseconds_of(reading) / dense.milliseconds)
        self.density.append(float(selection.mask.density))

    @property
    def standing(self) -> tuple[float, float]:
        """Mean error and median cost so far; nothing known is infinitely good, so that nobody beats it."""
        return (fmean(self.error.values()), median(self.cost)) if self.cost else (0.0, 0.0)


@dataclass(frozen=True, slots=True)
class _Dense:
    output: Tensor
    lse: Tensor
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Panel(Method):
    """Not a method to generate with: every call stays dense, and every contender has a look at it."""

    name: ClassVar[str] = "panel"

    contenders: list[Contender]
    layers: tuple[int, ...]
    parts: Parts

    def select(self, call: AttentionCall, state: State) -> tuple[None, State]:
        """Look, and stay dense."""
        if call.site.layer in self.layers:
            dense = _attend_densely(call)
            for contender in list(self.contenders):
                self.parts.require_time()
                try:
                    contender.look(call, dense)
                except VideosieveError:  # a tile or a cluster count that this video has no tokens for
                    self.contenders.remove(contender)
        return None, state


def _attend_densely(call: AttentionCall) -> _Dense:
    """Output and time of the best dense kernel; the LSE from our own, which is not timed."""
    everything = BlockMask.dense(call.tokens, BlockSize(64, 64), device=call.q.device)
    lse = attend_selected(call, Selection(everything)).lse
    timer = start_timer(call.q.device)
    tensors = (call.q, call.k, call.v)
    output = dense_attention(*tensors, scale=call.scale, backend=fastest(*tensors))
    return _Dense(output, lse, milliseconds_of(timer()))
