"""A run: the only mutable thing. Method states and the trace of one sparsified pipeline."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType

import torch
from torch import Tensor

from videosieve.call import AttentionCall, AttentionResult, Site
from videosieve.kernels import dense_attention
from videosieve.kernels.dense_attention import runner as dense_runner
from videosieve.layout import VideoLayout
from videosieve.methods import Selection, attend_selected
from videosieve.methods.base import State
from videosieve.recipe import Recipe
from videosieve.schedule import Action
from videosieve.trace import Outcome, Summary, Trace


@dataclass(frozen=True, slots=True)
class Observation:
    """One self-attention of a running pipeline, as an observer sees it: read, never written.

    Attributes:
        owner: Component name of the transformer in its pipeline.
        site: Layer, step and branch.
        layout: Which token is which; where prompts differ in length, that of the first. The video lies in the same
            place for all of them.
        q: Queries [batch, heads, tokens, head_dim] after QK-norm and RoPE, in canonical order, text padding included.
        k: Keys, likewise.
        v: Values, likewise.
        output: Outputs, likewise, before the output projection; dense or sparse, as the recipe had it.
        scale: Factor on every q·k.
    """

    owner: str
    site: Site
    layout: VideoLayout
    q: Tensor
    k: Tensor
    v: Tensor
    output: Tensor
    scale: float


class Run:
    """Applies a recipe to attention calls and remembers what happened.

    Attributes:
        recipe: Method and schedule.
        trace: One record per attention call.
        observers: Called with every self-attention that was computed in full view of its layout.

    Args:
        recipe: Method and schedule.
        check_finite: Check q, k and v of every call for NaN and infinity, and say where they are. Costs a pass each.
        recall_rows: Query rows per sparse call from which recall is measured where the method does not know it;
            0 turns the measurement off.
        backend: Implementation of block-sparse attention; None takes the fastest that can run a call.
    """

    def __init__(
        self, recipe: Recipe, *, check_finite: bool = False, recall_rows: int = 16, backend: str | None = None
    ) -> None:
        self.recipe = recipe
        self.trace = Trace()
        self.observers: list[Callable[[Observation], None]] = []
        self._check_finite = check_finite
        self._recall_rows = recall_rows
        self._backend = backend
        self._states: dict[tuple[str, int, str], State] = {}
        self._cleanup = ExitStack()

    def attend(self, call: AttentionCall, owner: str = "") -> Tensor:
        """Compute one attention call as the recipe says.

        Args:
            call: The attention call.
            owner: Which transformer it belongs to, where a pipeline has several; method states are kept apart by it.

        Returns:
            Output [batch, heads, tokens, head_dim], contiguous.
        """
        if self._check_finite:
            call.check_finite()
        timer = start_timer(call.q.device)
        reason = self._dense_reason(call)
        selection = None if reason else self._select(call, owner)
        if selection is None:
            return self.attend_dense(call, reason or "the method asked for it", timer)
        result = attend_selected(call, selection, self._backend)
        self._observe(call, result, owner)
        milliseconds = timer()
        self.trace.add(
            call.site,
            Outcome(
                "sparse",
                result.kernel,
                _pairs(call),
                selection.mask.density,
                recall=self._recall(call, selection, result),
                patterns=selection.patterns,
                pattern=selection.pattern,
            ),
            milliseconds,
        )
        return result.output.contiguous()

    def attend_dense(
        self, call: AttentionCall, reason: str, timer: "Callable[[], Callable[[], float]] | None" = None
    ) -> Tensor:
        """Compute a call in full and note why."""
        timer = timer or start_timer(call.q.device)
        causal = self.recipe.method.is_causal
        kernel = dense_runner(call.q, call.k, call.v, causal=causal)
        output = dense_attention(call.q, call.k, call.v, scale=call.scale, causal=causal, backend=kernel)
        self.trace.add(call.site, Outcome("dense", kernel, _pairs(call), 1.0, reason), timer())
        return output.contiguous()

    def begin(self) -> None:
        """Forget the method states: a new generation starts. The trace goes on."""
        self._states.clear()

    def states(self) -> dict[tuple[str, int, str], State]:
        """What the method remembers of this generation, by (owner, layer, branch)."""
        return dict(self._states)

    def summary(self) -> Summary:
        """Totals over everything traced so far."""
        return self.trace.summary()

    def on_remove(self, undo: Callable[[], object]) -> None:
        """Have `undo` called by `remove`, last registered first."""
        self._cleanup.callback(undo)

    def remove(self) -> None:
        """Put the pipeline back as it was. The trace stays readable; calling it twice is harmless."""
        self._cleanup.close()

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.remove()

    def _dense_reason(self, call: AttentionCall) -> str:
        if self.recipe.is_dense:
            return "the method is dense"
        if call.tokens < self.recipe.min_tokens:
            return f"fewer than {self.recipe.min_tokens} tokens"
        return "warm-up" if self.recipe.schedule.action(call.site) is Action.DENSE else ""

    def _select(self, call: AttentionCall, owner: str) -> Selection | None:
        key = (owner, call.site.layer, call.site.branch)
        selection, self._states[key] = self.recipe.method.select(call, self._states.get(key))
        return selection

    def _observe(self, call: AttentionCall, result: AttentionResult, owner: str) -> None:
        key = (owner, call.site.layer, call.site.branch)
        self._states[key] = self.recipe.method.observe(call, result, self._states[key])

    def _recall(self, call: AttentionCall, selection: Selection, result: AttentionResult) -> Tensor | None:
        if selection.recall is not None or not self._recall_rows:
            return selection.recall
        rows = torch.linspace(0, call.tokens - 1, self._recall_rows, device=call.q.device).long()
        scores = call.q[:, :, rows].float() @ call.k.float().mT * call.scale
        if selection.causal:
            scores.masked_fill_(
                torch.arange(call.tokens, device=rows.device) > rows.unsqueeze(-1), -torch.inf
            )
        return (result.lse[..., rows] - scores.logsumexp(-1)).exp().mean(-1)


def _pairs(call: AttentionCall) -> int:
    return call.batch * call.heads * call.tokens**2


def start_timer(device: torch.device) -> Callable[[], Callable[[], float]]:
    """Start timing; the result stops the clock and hands back a reader of the milliseconds."""
    if device.type != "cuda":
        start = time.perf_counter()

        def stop() -> Callable[[], float]:
            elapsed = (time.perf_counter() - start) * 1e3
            return lambda: elapsed

        return stop
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    first.record()

    def stop_cuda() -> Callable[[], float]:
        last.record()

        def read() -> float:
            last.synchronize()
            return first.elapsed_time(last)

        return read

    return stop_cuda
