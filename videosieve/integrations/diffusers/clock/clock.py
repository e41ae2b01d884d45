"""The clock: it names every transformer forward of a run, or says how little it knows.

A *generation* is one walk along a scheduler's list of timesteps: a new list, or a place further back, begins another.
The *step* is the place in that list. Forwards of one step are told apart by *branch* and, where a branch runs several
times (context windows, further guidance), by *pass*. docs/diffusers.md says which reader answers for which pipeline.
"""

from threading import RLock
from types import CodeType
from typing import Any
from weakref import ref

from videosieve.forward import Forward
from videosieve.integrations.diffusers.clock.callers import Caller, find_caller
from videosieve.integrations.diffusers.clock.contexts import Contexts, asks_for_guidance, guider_branch
from videosieve.integrations.diffusers.clock.positions import Times
from videosieve.integrations.diffusers.clock.walks import Part, Walk
from videosieve.run import Run

_Key = int | tuple[int, CodeType | None] | tuple[int, object]
"""Of a walk: its scheduler's id; without one its thread, with the function that calls where another walk runs there, or
with the execution of a generator or coroutine where another one of it has stopped midway."""


class Clock:
    """Names the forwards of one pipeline, for all its transformers.

    Attributes:
        forward: The identity of the newest forward.
        contexts: What `cache_context` says, by thread.
        held: Step and branch of forwards that are repeated outside a pipeline call; None lets the clock run.

    Args:
        run: Told when a generation begins.
        pipeline: Asked where the caller does not show on the stack; None for a bare transformer.
        steps: Number of steps where the caller of `sparsify` knows it; None reads it.
    """

    def __init__(self, run: Run, pipeline: Any, steps: int | None) -> None:
        self.forward = Forward()
        self.contexts = Contexts()
        self.held: tuple[int, str] | None = None
        self._run, self._pipeline, self._steps = run, pipeline, steps
        self._walks: dict[_Key, Walk] = {}
        self._running: dict[str, Walk] = {}
        self._begun = 0
        self._asked: bool | None = None
        self._lock = RLock()

    @property
    def step(self) -> int:
        """Denoising step of the newest forward, from 0."""
        return self.forward.step

    @property
    def branch(self) -> str:
        """Branch of the newest forward."""
        return self.forward.branch

    @property
    def guided(self) -> bool:
        """Whether the running generation was begun with classifier-free guidance."""
        return bool(self._asked)

    def tick(
        self,
        component: str,
        times: Times,
        branches: tuple[str, ...],
        sample: tuple[float, ...] = (),
        text: tuple[float, ...] = (),
    ) -> tuple[Forward, bool | None]:
        """Name the forward that is about to run.

        Args:
            component: The transformer's name; its forwards are counted apart.
            times: Its timestep.
            branches: Names of the calls within one step, in call order, where nobody else names them.
            sample: A few values of its latents, always from the same places; tells windows apart that move.
            text: A few numbers of its text; tells branches apart that nobody names.

        Returns:
            The forward, and whether its generation was begun with classifier-free guidance (None: nobody says).

        Raises:
            IntegrationError: Two generations at once walk along one scheduler.
        """
        with self._lock:
            if self.held is not None:
                step, branch = self.held
                steps = max(self._steps or self.forward.steps, step + 1)
                self.forward = Forward(max(self._begun - 1, 0), step, steps, branch)
                return self.forward, self._asked
            caller = find_caller(self._pipeline)
            walk = self._walk(caller, times)
            part = component, caller.site
            walk.forget_failed()
            branch = self._tentative(caller, walk, part, branches, text)
            context = self.contexts.now
            if walk.advance(caller, times, component, branch, None if context is None else context.step):
                self._begin(walk, caller)
            branch = self._tentative(caller, walk, part, branches, text)
            number, moved = walk.note(part, branch, sample, text)
            self._running[component] = walk
            known = walk.steps(caller, self._pipeline)
            steps = max(self._steps or known, walk.step + 1)
            self.forward = Forward(walk.generation, walk.step, steps, branch, number, walk.told_by, moved)
            self._asked = walk.asked
            return self.forward, walk.asked

    def done(self, component: str) -> None:
        """The forward that was named last has come to its end; one that ends in an error is not counted."""
        with self._lock:
            walk = self._running.pop(component, None)
            if walk is not None:
                walk.done()

    def _walk(self, caller: Caller, times: Times) -> Walk:
        """The walk along the scheduler that is running; a loop without one has a walk per thread, or of its own beside
        another that has stopped midway."""
        own = next(
            (one for _, known in caller.waiting if (one := self._walks.get((caller.thread, known)))), None
        )
        if own is not None:
            return own
        walks = [self._walk_of(id(one), one) for one in caller.schedulers]
        if not walks:
            walk = self._walk_of(caller.thread, None)
        elif going := next((one for one in walks if one.goes_without_scheduler(caller)), None):
            walk = going  # the loop steps copies of it, which come into sight one after the other
        else:
            walk = walks[0] if len(walks) == 1 else min(walks, key=lambda one: one.distance(times))
        beside = caller.stands_beside(walk.caller) if walk.told_by == "changes" else None
        if beside is not None:
            return self._walk_of((caller.thread, beside), None)
        return self._walk_of((caller.thread, caller.site), None) if walk.is_foreign(caller, times) else walk

    def _walk_of(self, key: _Key, scheduler: Any) -> Walk:
        walk = self._walks.get(key)
        if walk is None or walk.scheduler() is not scheduler:
            walk = self._walks[key] = Walk(scheduler, self._steps)
        return walk

    def _begin(self, walk: Walk, caller: Caller) -> None:
        """Number a new generation; the memory of those that are over goes."""
        self._walks = {
            key: one for key, one in self._walks.items() if one is walk or not (one.is_over or _is_gone(key))
        }
        walk.generation, walk.asked = self._begun, asks_for_guidance(caller.holder)
        self._begun += 1
        self._run.begin({one.generation for one in self._walks.values() if one is not walk})

    def _tentative(
        self, caller: Caller, walk: Walk, part: Part, branches: tuple[str, ...], text: tuple[float, ...]
    ) -> str:
        """The branch as the pipeline names it, or its guider, or its text and the order of the calls."""
        context = self.contexts.now
        if context is not None:
            return context.name
        if branches == ("cond_uncond",):
            return branches[0]
        told = guider_branch(caller.holder, walk.step)
        if told is not None:
            return told
        if asks_for_guidance(caller.holder) is False:
            return walk.texts.known(part, text) or branches[0]
        return walk.texts.branch(part, text, branches, len(walk.calls(part)))


def _is_gone(key: _Key) -> bool:
    """Whether a walk was that of one execution, and that is over."""
    return isinstance(key, tuple) and isinstance(key[1], ref) and key[1]() is None
