"""Requests in threads: apart with a scheduler each, refused with one scheduler, never stuck."""

import copy
import threading
from types import SimpleNamespace

import pytest
import torch
from loops import FAMILIES, ORDER, Broken, Pipe, advance, as_the_library, names_of, stamp, watched

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.clock import Turn

PATIENCE = 20.0
"""Seconds after which a thread that should have come is given up; nothing waits that long unless it is stuck."""


class Stage:
    """Threads that take turns: a thread goes on when its name comes."""

    def __init__(self):
        self._condition = threading.Condition()
        self._turn = None
        self.errors = []

    def wait(self, name):
        with self._condition:
            assert self._condition.wait_for(lambda: self._turn == name, PATIENCE), f"{name} never came"
            self._turn = None

    def let(self, name):
        with self._condition:
            self._turn = name
            self._condition.notify_all()

    def start(self, work):
        def guarded():
            try:
                work()
            except Exception as error:  # noqa: BLE001 - handed to the test
                self.errors.append(error)

        thread = threading.Thread(target=guarded, daemon=True)
        thread.start()
        return thread


def alternate(first, second, steps):
    """Two generations in a thread each, a step of the one and then a step of the other."""
    stage = Stage()

    def work(pipe, mine, other):
        def give_way(_, number):
            stage.let(other)
            if number + 1 < steps:
                stage.wait(mine)

        stage.wait(mine)
        try:
            pipe(steps, contexts=True, each=give_way)
        finally:
            stage.let(other)

    threads = [
        stage.start(lambda: work(first, "first", "second")),
        stage.start(lambda: work(second, "second", "first")),
    ]
    stage.let("first")
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    return stage.errors


@pytest.mark.parametrize("family", ["UniPC", "DDIM", "flow Euler"])
def test_copies_with_a_scheduler_each_keep_apart(family):
    model, begins = watched()
    first = Pipe(FAMILIES[family](), model, guidance_scale=5.0)
    second = copy.copy(first)
    second.scheduler = FAMILIES[family]()
    assert not alternate(first, second, 4)
    assert names_of(model.said) == [
        (number, step, branch, 0) for step in range(4) for number in (0, 1) for branch in ORDER
    ]
    assert begins.kept == [set(), {0}]


@pytest.mark.parametrize("family", ["UniPC", "DDIM", "flow Euler"])
def test_two_generations_on_one_scheduler_are_refused_and_the_next_one_is_not(family):
    model, _ = watched()
    pipe = Pipe(FAMILIES[family](), model, guidance_scale=5.0)
    errors = alternate(pipe, copy.copy(pipe), 4)
    assert len(errors) == 2
    assert all(isinstance(error, IntegrationError) and "one scheduler" in str(error) for error in errors)
    model.said.clear()
    for _ in range(2):
        pipe(3)
    assert [(x.step, x.branch, x.pass_number) for x in model.said] == [
        (step, branch, 0) for _ in range(2) for step in range(3) for branch in ORDER
    ]
    assert len({x.generation for x in model.said}) == 2


def test_a_thread_that_was_refused_may_come_again():
    """Threads of a pool and their functions get the same numbers again and again."""
    model, _ = watched()
    pipe = Pipe(FAMILIES["flow Euler"](), model)
    stage, outcomes = Stage(), []

    def old():
        def wait(_, number):
            if number == 0:
                stage.let("new")
                stage.wait("old")

        for each in (wait, None, None):
            try:
                pipe(3, each=each)
            except IntegrationError as error:
                outcomes.append(str(error))
            else:
                outcomes.append("done")

    def new():
        stage.wait("new")
        with pytest.raises(IntegrationError, match="one scheduler"):
            pipe(3)
        stage.let("old")

    threads = [stage.start(new), stage.start(old)]
    for thread in threads:
        thread.join(PATIENCE)
    assert not stage.errors
    assert "one scheduler" in outcomes[0]
    assert outcomes[1:] == ["done", "done"]


def test_a_generation_that_was_given_up_in_one_thread_is_begun_in_another():
    model, begins = watched()
    pipe = Pipe(FAMILIES["flow Euler"](), model)
    stage = Stage()

    def give_up(_, number):
        if number == 1:
            raise Broken

    def old():
        with pytest.raises(Broken):
            pipe(4, each=give_up)
        stage.let("new")
        stage.wait("old")  # the thread lives on

    thread = stage.start(old)
    stage.wait("new")
    pipe(2)
    stage.let("old")
    thread.join(PATIENCE)
    assert not stage.errors
    assert names_of(model.said)[2:] == [(1, 0, "cond", 0), (1, 1, "cond", 0)]
    assert begins.kept == [set(), set()]


def test_a_name_in_cache_context_holds_for_its_thread():
    model, _ = watched(("cond",))
    stage = Stage()
    with model.cache_context("uncond"):
        thread = stage.start(lambda: model(torch.tensor(9.0)))
        thread.join(PATIENCE)
        model(torch.tensor(9.0))
    assert [x.branch for x in model.said] == ["cond", "uncond"]


def _hold(turn, inside):
    turn.take()
    inside()
    turn.leave()


hold = as_the_library(_hold)


def test_a_forward_waits_for_that_of_another_thread():
    turn, stage, order = Turn(), Stage(), []

    def other():
        stage.let("main")
        hold(turn, lambda: order.append("other"))

    def inside():
        threads.append(stage.start(other))
        stage.wait("main")
        threads[0].join(0.5)  # it would be through long before
        order.append("main")

    threads = []
    hold(turn, inside)
    threads[0].join(PATIENCE)
    assert order == ["main", "other"]
    assert not stage.errors


def test_a_forward_that_failed_holds_nobody_up_though_its_loop_goes_on():
    """A worker that catches the error of one job waits for the next one in the same function."""
    turn, stage, got = Turn(), Stage(), []

    def fail():
        raise Broken

    def worker():
        for job in ("first", "second"):
            stage.wait(job)
            try:
                hold(turn, fail)
            except Broken:
                stage.let("main")

    thread = stage.start(worker)
    stage.let("first")
    stage.wait("main")
    other = stage.start(lambda: hold(turn, lambda: got.append(True)))
    other.join(PATIENCE)
    assert got == [True]
    stage.let("second")
    stage.wait("main")
    thread.join(PATIENCE)
    assert not stage.errors


def test_a_request_of_a_thread_that_is_gone_leaves_no_walk_behind():
    model, begins = watched(("cond",))
    stage = Stage()
    for _ in range(3):
        stage.start(lambda: model(torch.tensor(900.0))).join(PATIENCE)
    Pipe(FAMILIES["DDIM"](), model)(2)
    assert not stage.errors
    assert begins.kept[-1] == set()


def test_the_step_of_a_scheduler_that_another_thread_runs_is_no_other_thread_s():
    """A stranger in a thread of its own, without any scheduler, while the pipeline that was handed over is at work."""
    known = SimpleNamespace(scheduler=FAMILIES["flow Euler"](), guidance_scale=1.0)
    model, _ = watched(("cond",), pipeline=known)
    pipe = Pipe(known.scheduler, model)
    strangers = []

    def look(_, number):
        def stranger():
            model(torch.tensor(20.0))
            strangers.append(model.said.pop())

        thread = threading.Thread(target=stranger)
        thread.start()
        thread.join(PATIENCE)

    def run(self):
        x = torch.ones(1, 2, 2, 2)
        for number, time in enumerate(self.times(4)):
            output = self.transformer(stamp(time))
            x = advance(self.scheduler, output, time, x)
            if number < 3:
                look(self, number)

    run(pipe)
    assert names_of(model.said) == [(0, step, "cond", 0) for step in range(4)]
    assert not set(names_of(strangers)) & set(names_of(model.said))
