"""One walk along a scheduler's timesteps: where it is, who walks, which branches have run at this step."""

import weakref
from collections import Counter
from collections.abc import Callable
from math import inf
from types import CodeType
from typing import Any

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.clock.callers import Caller, is_set_up
from videosieve.integrations.diffusers.clock.positions import Ladder, Times, read_place
from videosieve.integrations.diffusers.clock.stacks import of_threads
from videosieve.integrations.diffusers.clock.texts import Sample, Texts
from videosieve.integrations.diffusers.clock.windows import Windows

MOST_PASSES = 64
"""Times that a branch may run in a step; whoever asks more often at one timestep has begun anew. The passes of another
function than the first, which the loop may not know of, are counted from the next multiple on."""

Part = tuple[str, CodeType | None]
"""A transformer, and the function that calls it."""


class Walk:
    """The running generation of one scheduler, or of one thread where no scheduler is in sight.

    Attributes:
        scheduler: Gives the scheduler, None once it is gone or where there is none.
        generation: Its number in the run.
        told_by: What the place was read from; see `Forward.told_by`.
        asked: Whether the caller had guidance on when the generation began.
        texts: What its forwards were about.
        caller: Who asked for the newest one.

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
        self._steps = 0
        self._ladder: Ladder | None = None
        self.caller = Caller()
        self._clash: tuple[int, object] | None = None
        self._trusted = scheduler is not None
        self._restart(0)

    def _restart(self, place: int) -> None:
        self._first = self._place = place
        self._times: Times | None = None
        self._start, self._direction = 0.0, 0
        self._sites: list[CodeType | None] = []
        self._calls: dict[Part, list[str]] = {}
        self._before: dict[Part, list[str]] = {}
        self._windows, self.texts = Windows(), Texts()
        self._open: tuple[Part, str] | None = None
        self._failed = False

    @property
    def step(self) -> int:
        """Denoising step, from 0."""
        return self._place - self._first

    @property
    def is_over(self) -> bool:
        """Whether nothing more of this generation is to be expected."""
        if (self.scheduler() is None) if self._trusted else (self.caller.thread not in of_threads()):
            return True
        if not self._is_last or not any(self._calls.values()):
            return False
        index = getattr(self.scheduler(), "_step_index", None) if self._trusted else None
        if index is not None:
            return index > self._place or not self.caller.is_alive()
        if self._open is not None:  # not through, or ended in an error and may be tried again
            return not self.caller.is_alive()
        missing = [Counter(names) - Counter(self.calls(part)) for part, names in self._before.items()]
        return not any(missing) if missing else not self.caller.is_alive()

    @property
    def _is_last(self) -> bool:
        """Whether this is known to be the last step."""
        return 0 < self._steps <= self.step + 1

    def calls(self, part: Part) -> list[str]:
        """Branches that have run at this step, in order."""
        return self._calls.get(part, [])

    def note(self, part: Part, branch: str, sample: Sample = (), text: Sample = ()) -> tuple[int, bool]:
        """Note that a branch runs; how often it has at this step before, and whether its window has moved."""
        site = part[1]
        if site not in self._sites:
            self._sites.append(site)
        calls = self._calls.setdefault(part, [])
        calls.append(branch)
        self._open = part, branch
        self.texts.note(part, text, branch)
        number = calls.count(branch) - 1
        moved = self._windows.has_moved((part, branch), number, sample)
        return number + MOST_PASSES * self._sites.index(site), moved

    def done(self) -> None:
        """The forward that was noted last is through."""
        self._open, self._failed = None, False

    def forget_failed(self) -> None:
        """A forward that ended in an error has not run: whoever tries again asks for the same."""
        if self._open is not None:
            part, branch = self._open
            self._calls[part].remove(branch)
            self._windows.forget_last((part, branch))
            self.texts.forget_last(part)
            self._open, self._failed = None, True

    def steps(self, caller: Caller, known: Any) -> int:
        """Steps of the generation, 0 where nobody says.

        Args:
            caller: Who runs it.
            known: The pipeline that was handed over; may be None.
        """
        listed = len(self._ladder) if self._ladder is not None and is_set_up(self.scheduler()) else 0
        if listed and self._trusted:
            self._steps = listed - self._first
        else:
            told = getattr(caller.holder, "_num_timesteps", None) or getattr(known, "_num_timesteps", None)
            self._steps = self._given_steps or told or listed
        return self._steps

    def goes_without_scheduler(self, caller: Caller) -> bool:
        """Whether this loop is known to step something else than the scheduler whose list it began with."""
        running = self.generation >= 0 and not self._trusted and not self.is_over
        return running and caller.loop is not None and self.caller.loop == caller.loop

    def distance(self, times: Times) -> float:
        """Places from here to that of a forward with this timestep, where the scheduler stands at it; infinite where
        it does not. A walk that would have to begin is far away."""
        scheduler = self.scheduler()
        ladder = self._current_ladder(scheduler)
        known = ladder is self._ladder
        place, _ = read_place(scheduler, ladder, times, self._place if known else 0, False)
        if place is None or not ladder.has(place, times):
            return inf
        ahead = place - self._place if known else len(ladder)
        return ahead if ahead >= 0 else 2 * len(ladder)

    def is_foreign(self, caller: Caller, times: Times) -> bool:
        """Whether a forward is none of this generation: another function than the loop's calls the transformer while
        the loop is running, and at another timestep than the loop's.

        Args:
            caller: Who calls.
            times: The timestep of the forward.
        """
        if self._times is None or not self._sites or caller.site is self._sites[0] or self.is_over:
            return False
        ladder = self._current_ladder(self.scheduler())
        if ladder is not self._ladder or not times.has_moved(self._times):
            return False
        if self._trusted:
            place, _ = read_place(self.scheduler(), ladder, times, self._place, False)
            counts = hasattr(self.scheduler(), "_step_index")
            if not ladder.has(self._place, self._times) or (
                counts and place is not None and ladder.has(place, times)
            ):
                return False
        return self.caller.is_alive()

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
            self._ladder, self._trusted = ladder, is_set_up(self.scheduler())
            self._restart(0)
        part = component, caller.site
        again = branch in self.calls(part)
        place = self._read(times, again, step, fresh)
        begins = fresh or place < self._place or self._is_rerun(caller, place, part, branch)
        if begins:
            if not fresh:
                self._check_alone(caller, times, ladder)
            self._restart(max(place, 0))
            self._first, self._start = self._place - (step or 0), times.mean
        elif place != self._place:
            self._before, self._calls = self._calls, {}
            self._windows.next_step()
            self.texts.next_step()
            self._place = place
        self._times, self.caller = times, caller
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
            if step is not None and place is not None:
                self.told_by = "cache_context"
                return place if fresh else self._first + step
            stands_still = told == "scheduler" and not fresh and moved and place == self._place
            if place is not None and not (stands_still and self._is_idle(place, times, again)):
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

    def _is_idle(self, place: int, times: Times, again: bool) -> bool:
        """Whether a scheduler that stands still while timesteps move is none that runs: it lists another timestep
        there, or has never made a step although a branch comes again. One that runs may well meet other noise in the
        conditions of a further branch or pass."""
        assert self._ladder is not None  # noqa: S101 - set before
        return not self._ladder.has(place, times) or (again and self.scheduler()._step_index is None)

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

    def _is_rerun(self, caller: Caller, place: int, part: Part, branch: str) -> bool:
        """Whether a forward at the same place is no further pass of this step, but the first of a walk begun anew."""
        calls = self.calls(part)
        if place != self._place or not (branch in calls or self._failed):
            return False
        if calls.count(branch) >= MOST_PASSES:
            return True
        if self._trusted:
            other = caller.loop is not None and self.caller.loop not in (None, caller.loop)
            known = any(one in self.caller.path for one in caller.path)
            broken = self._failed and bool(caller.path) and not known
            return place == self._first and (other or broken)
        return self._is_last and calls.count(branch) >= max(1, self._before.get(part, []).count(branch))

    def _check_alone(self, caller: Caller, times: Times, ladder: Ladder) -> None:
        """Raise where the generation that this scheduler was running goes on elsewhere."""
        old = self.caller
        if self.scheduler() is None or self.is_over or old.loop is None:
            return
        same = (old.thread, old.loop) == (caller.thread, caller.loop)
        midway = same and ladder.places(times)[:1] not in ([], [0]) and caller.has_twin()
        if midway or (not same and old.is_alive_elsewhere()):
            self._clash = (old.thread, old.loop)
            self._refuse_clash(None)

    def _refuse_clash(self, caller: Caller | None) -> None:
        """Raise for the generation that came and, at its next forward, once for the one that was there."""
        if self._clash is None:
            return
        if caller is not None:
            theirs = self._clash == (caller.thread, caller.loop)
            if theirs or not self.caller.is_alive_elsewhere():
                self._clash = None
            if not theirs and self._clash is None:
                return
        raise IntegrationError(
            "a run serves one generation of a pipeline at a time, and two are walking along one scheduler, which "
            "spoils both also without videosieve; give every request its own scheduler (copy.copy(pipe) and "
            "pipe.scheduler = Scheduler.from_config(...)), or run them one after the other"
        )
