"""Who runs the loop: several pipelines, schedulers, functions and strangers around one transformer."""

import copy

import pytest
import torch
from loops import FAMILIES, ORDER, Pipe, advance, names_of, stamp, steps_of, watched

KINDS = ["UniPC", "DDIM", "flow Euler"]
"""Multistep with a count, without a count, single step."""


def sample():
    return torch.ones(1, 2, 2, 2)


def forwards(pipe, steps, predict=None):
    """A generation that stops after every step, so that others can run in between."""

    def run(self):
        x = sample()
        for time in self.times(steps):
            for name in ORDER:
                with self.transformer.cache_context(name):
                    output = self.transformer(stamp(time)) if predict is None else predict(self, time)
            x = advance(self.scheduler, output, time, x)
            yield

    return run(pipe)


@pytest.mark.parametrize("family", KINDS)
def test_a_second_pipeline_has_its_own_number_of_steps(family):
    model, begins = watched()
    first = Pipe(FAMILIES[family](), model)
    second = Pipe(FAMILIES[family](), model)
    first(8), second(3), first(2)
    assert [one.steps for one in model.said] == [8] * 8 + [3] * 3 + [2] * 2
    assert begins.count == 3


@pytest.mark.parametrize("family", KINDS)
def test_copies_with_a_scheduler_each_keep_apart_step_by_step(family):
    model, begins = watched()
    first = Pipe(FAMILIES[family](), model)
    second = copy.copy(first)
    second.scheduler = FAMILIES[family]()
    runs = [forwards(first, 4), forwards(second, 3)]
    for number in (0, 1, 1, 0, 0, 1, 0):
        next(runs[number])
    assert names_of(model.said) == [
        (generation, step, branch, 0)
        for generation, step in ((0, 0), (1, 0), (1, 1), (0, 1), (0, 2), (1, 2), (0, 3))
        for branch in ORDER
    ]
    assert begins.kept == [set(), {0}]


@pytest.mark.parametrize("family", ["UniPC", "flow Euler"])
def test_two_schedulers_in_one_function_are_two_generations(family):
    model, _ = watched(("cond",))

    def run(a, b):
        x = [sample(), sample()]
        for times in zip(a.timesteps, b.timesteps, strict=True):
            for number, scheduler in enumerate((a, b)):
                output = model(stamp(times[number]))
                x[number] = advance(scheduler, output, times[number], x[number])

    a, b = FAMILIES[family](), FAMILIES[family]()
    a.set_timesteps(4), b.set_timesteps(4)
    run(a, b)
    assert names_of(model.said) == [(number, step, "cond", 0) for step in range(4) for number in (0, 1)]


@pytest.mark.parametrize("family", ["UniPC", "flow Euler"])
def test_two_pipelines_in_one_function_are_two_generations(family):
    model, _ = watched(("cond",))

    def serve(one, other):
        x = {id(one): sample(), id(other): sample()}
        for times in zip(one.times(4), other.times(4), strict=True):
            for pipe, time in zip((one, other), times, strict=True):
                x[id(pipe)] = advance(pipe.scheduler, pipe.transformer(stamp(time)), time, x[id(pipe)])

    class DiffusionPipeline(Pipe):
        """Known by the name of its base, as diffusers' are."""

    serve(*(DiffusionPipeline(FAMILIES[family](), model) for _ in range(2)))
    assert names_of(model.said) == [(number, step, "cond", 0) for step in range(4) for number in (0, 1)]


def test_two_schedulers_that_do_not_count_are_told_apart_by_the_places_that_they_have_reached():
    """In one function and at one timestep the second is a further pass, which is another name too."""
    model, _ = watched(("cond",))

    def run(a, b):
        for number in (0, 0, 1, 0, 1, 0, 1, 1):
            scheduler = (a, b)[number]
            model(stamp(scheduler.timesteps[reached[number]]))
            reached[number] += 1

    reached = [0, 0]
    a, b = FAMILIES["DDIM"](), FAMILIES["DDIM"]()
    a.set_timesteps(4), b.set_timesteps(4)
    run(a, b)
    assert [(x.generation, x.step) for x in model.said] == [
        (0, 0), (0, 1), (1, 0), (0, 2), (1, 1), (0, 3), (1, 2), (0, 3),
    ]  # fmt: skip
    assert len(set(names_of(model.said))) == len(model.said)


def test_a_scheduler_of_the_function_s_own_is_believed_before_the_pipeline_s():
    """Servers copy it for every request; without a count the old one still lists the same timesteps."""
    model, begins = watched(("cond",))
    pipe = Pipe(FAMILIES["DDIM"](), model)
    pipe(3)

    def serve(pipe):
        scheduler, x = copy.deepcopy(pipe.scheduler), sample()
        for time in scheduler.timesteps:
            x = advance(scheduler, pipe.transformer(stamp(time)), time, x)
            yield

    runs = [serve(pipe), serve(pipe)]
    for number in (0, 1, 1, 0, 0, 1):
        next(runs[number])
    assert [(x.generation, x.step) for x in model.said[3:]] == [
        (1, 0),
        (2, 0),
        (2, 1),
        (1, 1),
        (1, 2),
        (2, 2),
    ]
    assert begins.count == 3


@pytest.mark.parametrize("family", KINDS)
def test_a_function_that_is_called_per_window_does_not_begin_anew(family):
    """It got the scheduler as an argument, so it is not what runs the loop."""
    model, begins = watched(("cond",))

    def predict(scheduler, time):
        assert scheduler.timesteps is not None
        return model(stamp(time))

    def run():
        scheduler, x = FAMILIES[family](), sample()
        scheduler.set_timesteps(3)
        for time in scheduler.timesteps:
            outputs = [predict(scheduler, time) for _ in range(4)]
            x = advance(scheduler, outputs[0], time, x)

    run()
    assert names_of(model.said) == [(0, step, "cond", window) for step in range(3) for window in range(4)]
    assert begins.count == 1


@pytest.mark.parametrize("contexts", [False, True])
@pytest.mark.parametrize("family", KINDS)
@pytest.mark.parametrize("moment", ["same time", "another time", "a time of the list"])
def test_a_stranger_s_forward_in_a_callback_leaves_the_names_of_the_loop_alone(family, contexts, moment):
    """Whoever looks at the running video with its transformer must not be taken for a branch."""
    model, _ = watched()
    strangers = []

    def look(pipe, number):
        times = pipe.scheduler.timesteps
        time = {
            "same time": times[number],
            "another time": times[0] * 0 + 3,
            "a time of the list": times[min(number + 2, len(times) - 1)],
        }[moment]
        model(stamp(time))
        strangers.append(model.said.pop())

    Pipe(FAMILIES[family](), model, guidance_scale=5.0)(5, contexts=contexts, each=look)
    assert [(x.step, x.branch, x.pass_number) for x in model.said] == [
        (s, b, 0) for s in range(5) for b in ORDER
    ]
    assert len({x.generation for x in model.said}) == 1
    assert {x.steps for x in model.said} == {5}
    assert not {one[:4] for one in names_of(strangers)} & set(names_of(model.said))


def test_a_stranger_leaves_a_loop_without_a_scheduler_alone():
    model, _ = watched(("cond",), steps=4)
    strangers = []

    def look():
        model(torch.tensor(20.0))
        strangers.append(model.said.pop())

    for time in (900.0, 600.0, 300.0, 100.0):
        model(torch.tensor(time))
        look()
    assert steps_of(model.said) == [(step, 4) for step in range(4)]
    assert not {one[:4] for one in names_of(strangers)} & set(names_of(model.said))


def test_a_loop_by_hand_is_not_held_to_the_last_call_of_its_pipeline():
    model, _ = watched(("cond",))
    pipe = Pipe(FAMILIES["flow Euler"](), model)
    pipe(6)

    def by_hand(pipe):
        pipe.scheduler.set_timesteps(2)
        for time in pipe.scheduler.timesteps:
            advance(pipe.scheduler, pipe.transformer(stamp(time)), time, torch.ones(1, 2, 2, 2))

    by_hand(pipe)
    assert steps_of(model.said[6:]) == [(0, 2), (1, 2)]
