"""One dense generation, looked at closely: the transformer's calls at a few steps, and how module outputs drift.

What a reused output would have lost is the change of a module's output over 1, 2, … steps; a few token rows of every
module and step tell it. The calls can be replayed afterwards without the pipeline.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module

from videosieve.errors import IntegrationError, ModelError
from videosieve.generation.generate import call_pipeline
from videosieve.generation.request import Request, default_steps, pipeline_arguments
from videosieve.integrations.diffusers.attach import attach
from videosieve.integrations.diffusers.clock import Clock
from videosieve.integrations.diffusers.targets import Target, describe
from videosieve.observation import Observation
from videosieve.recipe import Recipe
from videosieve.run import Run
from videosieve.schedule import KINDS
from videosieve.tuning.search.plans import OLDEST

LOOKS = 5
"""Steps that are looked at."""

ROWS = 32
"""Token rows per module and step from which drift is measured."""

Call = tuple[tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Capture:
    """What one dense generation showed.

    Attributes:
        target: The transformer.
        branch: The branch of the calls: the first of every step.
        looked: Steps to look at, ascending, none of them 0.
        calls: Arguments of the transformer at those steps and the ones before them.
        outputs: What it returned.
        drift: Relative L2 change over 1, 2, … steps by kind [gaps, steps, layers], fp64.
        share: Share of the generation's seconds by "core" and kind, over all steps and branches [layers], fp64.
        pace: How far each step moves the latents, mean 1 [steps], fp64.
        seconds: Of the whole call, measuring included.
        tokens: Tokens of the video.
    """

    target: Target
    branch: str
    looked: tuple[int, ...]
    calls: dict[int, Call]
    outputs: dict[int, Tensor]
    drift: dict[str, Tensor]
    share: dict[str, Tensor]
    pace: Tensor
    seconds: float
    tokens: int


def only_target(pipe: Any) -> Target:
    """The transformer to tune.

    Raises:
        IntegrationError: There are two.
    """
    targets = describe(pipe)
    if len(targets) != 1 or isinstance(pipe, Module):
        raise IntegrationError(
            f"tune works on a pipeline with one transformer, got {len(targets)} in {type(pipe).__name__}; write its "
            f"recipe by hand and compare"
        )
    return targets[0]


def steps_to_look_at(steps: int) -> tuple[int, ...]:
    """LOOKS steps, evenly spread, without step 0."""
    if steps < 2:
        raise ModelError(f"tune needs at least 2 denoising steps, got {steps}")
    return tuple(sorted({max(1, int((i + 0.5) / LOOKS * steps)) for i in range(LOOKS)}))


def capture(pipe: Any, request: Request, progress: Callable[[int, int], None] | None = None) -> Capture:
    """Generate densely and look.

    Args:
        pipe: A diffusers video pipeline with one transformer.
        request: What to generate.
        progress: Called with (step, steps) as each step begins.

    Returns:
        The capture.

    Raises:
        IntegrationError: Unsupported model, or two transformers.
        ModelError: Fewer than two steps, or the pipeline refuses the request.
    """
    target = only_target(pipe)
    steps = request.steps or default_steps(pipe)
    watcher = _Watcher(target, steps, steps_to_look_at(steps), progress)
    with Run(Recipe.of("dense"), recall_rows=0) as run, ExitStack() as undo:
        clock = Clock(run, pipe, None)
        attach([target], run, clock)
        run.observers.append(watcher.note_layout)
        watcher.hook(clock, undo)
        start = time.perf_counter()
        call_pipeline(pipe, {**pipeline_arguments(pipe, request), "output_type": "latent"})
        seconds = time.perf_counter() - start
        core = torch.zeros(target.layers, dtype=torch.float64)
        for record in run.trace.records:
            core[record.layer] += record.milliseconds / 1e3
    if not watcher.calls or not watcher.tokens:
        raise ModelError(
            f"{type(pipe).__name__} made no self-attention over a whole video at the steps {watcher.looked}"
        )
    share = {"core": core / seconds, **{kind: x / seconds for kind, x in watcher.seconds.items()}}
    seen = (watcher.branch, watcher.looked, watcher.calls, watcher.outputs, watcher.drift)
    return Capture(target, *seen, share, _pace(pipe, steps), seconds, watcher.tokens)


@dataclass
class _Watcher:
    target: Target
    steps: int
    looked: tuple[int, ...]
    progress: Callable[[int, int], None] | None
    branch: str = ""
    calls: dict[int, Call] = field(default_factory=dict)
    outputs: dict[int, Tensor] = field(default_factory=dict)
    drift: dict[str, Tensor] = field(default_factory=dict)
    seconds: dict[str, Tensor] = field(default_factory=dict)
    tokens: int = 0

    def note_layout(self, seen: Observation) -> None:
        self.tokens = seen.layout.grid.tokens

    def hook(self, clock: Clock, undo: ExitStack) -> None:
        transformer = self.target.transformer
        wanted = {near for step in self.looked for near in (step - 1, step)}

        def before(module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            del module
            self.branch = self.branch or clock.branch
            if clock.branch == self.branch:
                if self.progress is not None:
                    self.progress(clock.step, self.steps)
                if clock.step in wanted:
                    self.calls[clock.step] = (args, kwargs)

        def after(module: Module, args: tuple[Any, ...], output: Any) -> None:
            del module, args
            if clock.branch == self.branch and clock.step in wanted:
                self.outputs[clock.step] = output[0].detach()

        undo.callback(transformer.register_forward_pre_hook(before, with_kwargs=True).remove)
        undo.callback(transformer.register_forward_hook(after).remove)
        places = {name.rpartition(".")[0]: index for index, name in enumerate(self.target.attentions)}
        for kind in KINDS:
            modules = self.target.row.reusable(transformer, kind)
            if modules:
                self._hook_kind(
                    kind, {modules[name]: places[name.rpartition(".")[0]] for name in modules}, clock, undo
                )
        for name, module in self.target.row.idle(transformer).items():  # idle where a joint output is reused
            self._time(module, "joint", places[name.rpartition(".")[0]], undo)

    def _hook_kind(self, kind: str, modules: dict[Module, int], clock: Clock, undo: ExitStack) -> None:
        layers = self.target.layers
        self.drift[kind] = torch.zeros(OLDEST, self.steps, layers, dtype=torch.float64)
        self.seconds[kind] = torch.zeros(layers, dtype=torch.float64)
        together = [list(modules.values()).count(layer) for layer in range(layers)]
        for module, layer in modules.items():
            memory: deque[Tensor] = deque(maxlen=OLDEST)

            def note(output: Tensor, layer: int = layer, memory: deque[Tensor] = memory) -> None:
                if clock.branch == self.branch:
                    self._note(kind, (clock.step, layer), _rows(output), memory, together[layer])

            self._time(module, kind, layer, undo, note)

    def _time(
        self,
        module: Module,
        kind: str,
        layer: int,
        undo: ExitStack,
        then: Callable[[Tensor], None] = lambda _: None,
    ) -> None:
        """Add the seconds of a module to those of its kind and layer, then show its output."""
        started: list[float] = []

        def before(module: Module, args: tuple[Any, ...]) -> None:
            del module
            _wait(args)
            started.append(time.perf_counter())

        def after(module: Module, args: tuple[Any, ...], output: Any) -> None:
            del module, args
            first = output if isinstance(output, Tensor) else output[0]
            _wait((first,))
            self.seconds[kind][layer] += time.perf_counter() - started.pop()
            then(first)

        undo.callback(module.register_forward_pre_hook(before).remove)
        undo.callback(module.register_forward_hook(after).remove)

    def _note(
        self, kind: str, place: tuple[int, int], rows: Tensor, memory: "deque[Tensor]", parts: int
    ) -> None:
        """Drift to every output that is still remembered, mean over the modules of a layer."""
        step, layer = place
        for gap, earlier in enumerate(reversed(memory)):
            change = (rows - earlier).norm() / rows.norm().clamp(min=1e-12)
            self.drift[kind][gap, step, layer] += float(change) / parts
        memory.append(rows)


def _rows(output: Tensor) -> Tensor:
    """Some token rows [batch, rows, channels], fp32 on the CPU."""
    pick = torch.linspace(0, output.shape[1] - 1, min(ROWS, output.shape[1])).long()
    return output.detach()[:, pick.to(output.device)].float().cpu()


def _wait(values: tuple[Any, ...]) -> None:
    first = next((value for value in values if isinstance(value, Tensor)), None)
    if first is not None and first.is_cuda:
        torch.cuda.synchronize(first.device)


def _pace(pipe: Any, steps: int) -> Tensor:
    """Differences of the scheduler's timesteps, the last one down to 0; all 1 where there are others than steps."""
    times = torch.as_tensor(getattr(pipe.scheduler, "timesteps", ())).double().flatten().cpu()
    if len(times) != steps:
        return torch.ones(steps, dtype=torch.float64)
    pace = times - torch.cat([times[1:], times.new_zeros(1)])
    return pace / pace.mean() if pace.mean() > 0 else torch.ones(steps, dtype=torch.float64)
