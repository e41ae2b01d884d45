"""One walk along a scheduler's timesteps: where it is, who walks, which branches have run at this step."""

import weakref
from collections.abc import Callable
from typing import Any

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.clock.callers import Caller
from videosieve.integrations.diffusers.clock.positions import Ladder, Times, read_place
from videosieve.integrations.diffusers.clock.stacks import of_threads

_MOST_PASSES = 64
"""Times that a branch may run in a step; whoever asks more often at one timestep has begun anew."""


class Walk:
    """The running generation of one scheduler, or of one thread where no scheduler is in sight.

    Attributes:
        scheduler: Gives the scheduler, None once it is gone or where there is none.
        generation: Its number in the run.
        told_by: What the place was read from; see `Forward.told_by`.
        asked: Whether the caller had guidance on when the generation began.

    Args:
        scheduler: The scheduler; may be None.
        steps: Number of steps where the caller of `sparsify` said it.
    """

    def __init__(self, scheduler: Any, steps: int | None) -> None:
        self.scheduler: Callable[[], Any] = (lambda: None) if scheduler is None else weakref.ref(scheduler)
        self.generation = -1  # none has begun
        self.told_by = "changes"
        self.asked: bool | None = None
        self._given_steps = steps
        self._steps = 1
        self._ladder: Ladder | None = None
        self._caller = Caller()
        self._clash: tuple[int, int] | None = None
        self._trusted = scheduler is not None
        self._restart(0)

    def _restart(self, place: int) -> None:
        self._first = self._place = place
        self._times: Times | None = None
        self._start = 0.0
        self._direction = 0
        self._calls: dict[str, list[str]] = {}
        self._before: dict[str, list[str]] = {}

    @property
    def step(self) -> int:
        """Denoising step, from 0."""
        return self._place - self._first

    @property
    def is_over(self) -> bool:
        """Whether nothing more of this generation is to be expected."""
        if self._caller.thread not in of_threads() and not self._trusted:
            return True
        if self._trusted and self.scheduler() is None:
            return True
        full = all(set(names) <= set(self._calls.get(part, ())) for part, names in self._before.items())
        return self.step + 1 >= self._steps and full and bool(self._calls)

    def calls(self, component: str) -> list[str]:
        """Branches that have run at this step, in order."""
        return self._calls.get(component, [])

    def note(self, component: str, branch: str) -> int:
        """Note that a branch runs; how often it has at this step before."""
        calls = self._calls.setdefault(component, [])
        calls.append(branch)
        return calls.count(branch) - 1

    def steps(self, caller: Caller, known: Any) -> int:
        """Steps of the generation, as far as anybody says.

        Args:
            caller: Who runs it.
            known: The pipeline that was handed over; may be None.
        """
        if self._ladder is not None and len(self._ladder) and self._trusted:
            self._steps = len(self._ladder) - self._first
        else:
            told = getattr(caller.holder, "_num_timesteps", None) or getattr(known, "_num_timesteps", None)
            self._steps = self._given_steps or told or len(self._ladder or ()) or 1
        return self._steps

    def stands_at(self, times: Times) -> bool:
        """Whether the scheduler's own place is that of a forward with this timestep."""
        scheduler = self.scheduler()
        ladder = self._current_ladder(scheduler)
        place, _ = read_place(scheduler, ladder, times, self._place if ladder is self._ladder else 0, False)
        return place is not None and place in ladder.places(times)

    def advance(self, caller: Caller, times: Times, component: str, branch: str, step: int | None) -> bool:
        """Move to the place of the forward that is about to run.

        Args:
            caller: Who runs it.
            times: Its timestep.
            component: The transformer.
            branch: What it is called if it is another call of this step.
            step: The step as the pipeline itself says it; None where it does not.

        Returns:
            Whether a new generation begins with it.

        Raises:
            IntegrationError: Two generations walk along this scheduler at once.
        """
        self._refuse_clash(caller)
        ladder = self._current_ladder(self.scheduler())
        fresh = ladder is not self._ladder
        if fresh:
            self._check_alone(caller, times, ladder)
            self._ladder, self._trusted = ladder, self.scheduler() is not None
            self._restart(0)
        again = branch in self.calls(component)
        place = self._read(times, again, step, fresh)
        begins = fresh or place < self._place or self._is_rerun(caller, place, component, branch)
        if begins:
            if not fresh:
                self._check_alone(caller, times, ladder)
            self._restart(max(place, 0))
            self._first, self._start = self._place - (step or 0), times.mean
        elif place != self._place:
            self._before, self._calls = self._calls, {}
            self._place = place
        self._times, self._caller = times, caller
        return begins

    def _current_ladder(self, scheduler: Any) -> Ladder:
        source = getattr(scheduler, "timesteps", None)
        if self._ladder is not None and self._ladder.source is source:
            return self._ladder
        return Ladder(source)

    def _read(self, times: Times, again: bool, step: int | None, fresh: bool) -> int:
        """The place in the list; by the changes of the timestep where nobody knows better."""
        moved = self._times is not None and times.has_moved(self._times)
        if self._trusted:
            assert self._ladder is not None  # noqa: S101 - set before
            place, told = read_place(self.scheduler(), self._ladder, times, self._place, again)
            stands_still = told == "scheduler" and not fresh and moved and place == self._place
            if step is not None and place is not None:
                self.told_by = "cache_context"
                return place if fresh else self._first + step
            if place is not None and not stands_still:
                self.told_by = told
                return place
            self._trusted = False  # another scheduler is running, or the pipeline rewrites what it says
        self.told_by = "changes"
        if self._times is None or fresh:
            return 0
        if step is not None:
            return self._first + step
        if not moved:
            return self._place
        return self._place + 1 if self._goes_on(times) else -1

    def _goes_on(self, times: Times) -> bool:
        """Whether a changed timestep lies in the direction of the walk; the first change gives the direction."""
        assert self._times is not None  # noqa: S101 - asked only after a first forward
        rises = times.mean > self._times.mean
        if not self._direction:
            scale = 1000.0 if max(times.highest, self._times.highest) > 1.5 else 1.0
            if rises and self._start >= scale / 2:  # began at noise: no inversion, but a start after a stop
                return False
            self._direction = 1 if rises else -1
        return rises == (self._direction > 0)

    def _is_rerun(self, caller: Caller, place: int, component: str, branch: str) -> bool:
        """Whether a forward at the same place is no further pass of this step, but the first of a walk begun anew."""
        calls = self.calls(component)
        if place != self._place or branch not in calls:
            return False
        if calls.count(branch) >= _MOST_PASSES:
            return True
        if self._trusted:
            other = bool(caller.frame and self._caller.frame) and caller.frame != self._caller.frame
            return place == self._first and other
        most = max(1, self._before.get(component, []).count(branch))
        return self.step + 1 >= self._steps and calls.count(branch) >= most

    def _check_alone(self, caller: Caller, times: Times, ladder: Ladder) -> None:
        """Raise where the generation that this scheduler was running goes on elsewhere."""
        old = self._caller
        if self.scheduler() is None or self.is_over or not old.frame:
            return
        same = (old.thread, old.frame) == (caller.thread, caller.frame)
        midway = same and ladder.places(times)[:1] not in ([], [0]) and caller.has_twin()
        if midway or (not same and old.is_alive_elsewhere()):
            self._clash = (old.thread, old.frame)
            self._refuse_clash(None)

    def _refuse_clash(self, caller: Caller | None) -> None:
        if self._clash is None:
            return
        if caller is not None and self._clash != (caller.thread, caller.frame):
            self._clash = None if not self._caller.is_alive_elsewhere() else self._clash
            if self._clash is None:
                return
        raise IntegrationError(
            "a run serves one generation of a pipeline at a time, and two are walking along one scheduler, which "
            "spoils both also without videosieve; give every request its own scheduler (copy.copy(pipe) and "
            "pipe.scheduler = Scheduler.from_config(...)), or run them one after the other"
        )
