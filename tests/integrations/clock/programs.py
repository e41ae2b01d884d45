"""Random programs of forwards, with what a clock should say of each: written down by the loop itself as it goes.

A program is some lanes, each a pipeline with a scheduler of its own, which run one request after another; the lanes
take turns between any two steps. What should be said follows from the loop alone: the number of its iteration, the
length of its list, the name of its branch, the number of its window.
"""

from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import count

import torch
from hypothesis import strategies as st
from loops import BY_VALUE, FAMILIES, ORDER, REPEATS, Broken, Pipe, advance, stamp

FLAT = torch.zeros(1, 2, 2, 2)
ALONE = ORDER[:1]
THREE = (*ORDER, "cond_skip")


@dataclass(frozen=True)
class Request:
    """One generation.

    Attributes:
        steps: Handed to set_timesteps.
        start: Where in the list it begins; video to video with a strength below 1.
        style: "method" of a pipeline, "function" that holds a scheduler, "helper" function called per forward.
        guidance: "off", "on", "midway" (on for the first half), or "three" branches, named.
        named: Whether cache_context says the branch.
        windows: Windows per branch and step.
        rounded: Whether timesteps reach the model in bfloat16.
        skipped: Iterations without any forward, as caches leave them out.
        broken: Forward that raises, counted from 0; None for none.
        retried: Whether the loop then tries it once more and goes on.
        strangers: Iterations after which somebody else's function calls the model.
    """

    steps: int
    start: int
    style: str
    guidance: str
    named: bool
    windows: int
    rounded: bool
    skipped: frozenset
    broken: int | None
    retried: bool
    strangers: frozenset

    def branches(self, number, total):
        """Branches of an iteration."""
        on = self.guidance == "on" or (self.guidance == "midway" and number < total / 2)
        return THREE if self.guidance == "three" else ORDER if on else ALONE

    def name(self, call, branch, window, branches):
        """Branch and pass of a forward, `call` of its step: without a name, a pipeline or a guider the order of the
        calls is all there is."""
        if self.named or (self.style == "method" and len(branches) == 1):
            return branch, window
        return ORDER[call % 2], call // 2


@dataclass
class Expected:
    """What should have been said: (request, step, steps, branch, pass) of every forward, None for a stranger's.

    Attributes:
        running: Requests between their first and their last forward.
        generations: The generation that the first forward of each request was said to be.
    """

    names: list = field(default_factory=list)
    running: set = field(default_factory=set)
    numbers: count = field(default_factory=count)
    generations: dict = field(default_factory=dict)


@st.composite
def requests(draw, family):
    steps = draw(st.integers(2, 5))
    guidance = draw(st.sampled_from(["off", "on", "midway", "three"]))
    # Where the list alone says the place, a repeated timestep and a repeated window look alike.
    unclear = family in BY_VALUE & REPEATS
    few = st.just(frozenset()) if unclear else st.frozensets(st.integers(1, steps), max_size=2)
    return Request(
        steps=steps,
        start=0 if family in REPEATS else draw(st.integers(0, steps - 1)),
        style=draw(st.sampled_from(["method", "function", "helper"])),
        guidance=guidance,
        named=guidance == "three" or unclear or draw(st.booleans()),
        windows=1 if unclear else draw(st.integers(1, 3)),
        rounded=not unclear and draw(st.booleans()),
        skipped=draw(few),
        broken=draw(st.none() | st.integers(0, 6)),
        retried=draw(st.booleans()),
        strangers=draw(few),
    )


@st.composite
def programs(draw):
    """Lanes as (family, requests), and whose turn it is."""
    families = draw(st.lists(st.sampled_from(sorted(FAMILIES)), min_size=1, max_size=3))
    lanes = [(family, draw(st.lists(requests(family), min_size=1, max_size=3))) for family in families]
    return lanes, draw(st.lists(st.integers(0, len(lanes) - 1), max_size=40))


def play(program, model, expected):
    """Run a program; lanes whose turn never came finish in the end."""
    lanes, turns = program
    runs = [_lane(_Lane(FAMILIES[family](), model), jobs, expected) for family, jobs in lanes]
    for number in turns:
        next(runs[number], None)
    for run in runs:
        for _ in run:
            pass


def _lane(pipe, jobs, expected):
    for job in jobs:
        loop = _Loop(job, pipe.transformer, expected)
        try:
            if job.style == "method":
                yield from pipe.run(loop)
            else:
                yield from _STYLES[job.style](loop, pipe.transformer, pipe.scheduler)
        except Broken:
            expected.running.discard(loop.number)
            yield
        expected.running.discard(loop.number)


class _Lane(Pipe):
    def run(self, loop):
        def forward(time, context):
            with context:
                self.transformer(time)

        def step(time, on):
            advance(self.scheduler, FLAT, time, FLAT)
            self.guidance_scale = 5.0 if on else 1.0

        self.guidance_scale = 1.0 if loop.job.guidance == "off" else 5.0
        yield from loop.iterate(self.times(loop.job.steps, loop.job.start), forward, step)


def _function(loop, model, scheduler):
    times = Pipe(scheduler, model).times(loop.job.steps, loop.job.start)

    def forward(time, context):
        with context:
            model(time)

    yield from loop.iterate(times, forward, lambda time, on: advance(scheduler, FLAT, time, FLAT))


def _helper(loop, model, scheduler):
    times = Pipe(scheduler, model).times(loop.job.steps, loop.job.start)

    def forward(time, context):
        with context:
            _predict(model, scheduler, time)

    yield from loop.iterate(times, forward, lambda time, on: advance(scheduler, FLAT, time, FLAT))


def _predict(model, scheduler, time):
    assert scheduler.timesteps is not None
    model(time)


_STYLES = {"function": _function, "helper": _helper}


def _look(model, time):
    """What somebody else does with the transformer."""
    model(time)


class _Loop:
    """The iterations of a request, and what should be said of them. It knows no scheduler."""

    def __init__(self, job, model, expected):
        self.job, self.model, self.expected = job, model, expected
        self.number = next(expected.numbers)
        self._forwards = count()

    def iterate(self, times, forward, step):
        total = len(times)
        last = max(number for number in range(total) if number not in self.job.skipped)
        for number, time in enumerate(times):
            branches = self.job.branches(number, total)
            calls = [(branch, window) for window in range(self.job.windows) for branch in branches]
            if number in self.job.skipped:
                calls = []
            for call, (branch, window) in enumerate(calls):
                name = self.job.name(call, branch, window, branches)
                self._forward(stamp(time, torch.bfloat16 if self.job.rounded else None), branch, forward)
                self.expected.names.append((self.number, number, total, *name))
                self.expected.running.add(self.number)
                self.expected.generations.setdefault(self.number, self.model.said[-1].generation)
                if call + 1 < len(calls) and number != last:
                    yield  # in the midst of a step
            step(time, self.job.branches(number + 1, total) is not ALONE)
            if number >= last:
                self.expected.running.discard(self.number)
            if number in self.job.strangers and number < last:
                strange = (time, time * 0 + 3, times[(number + 2) % total])[number % 3]
                _look(self.model, stamp(strange))
                self.expected.names.append(None)
            yield

    def _forward(self, time, branch, forward):
        def attempt():
            forward(time, self.model.cache_context(branch) if self.job.named else nullcontext())

        self.model.breaks = next(self._forwards) == self.job.broken
        try:
            attempt()
        except Broken:
            if not self.job.retried:
                raise
            attempt()
