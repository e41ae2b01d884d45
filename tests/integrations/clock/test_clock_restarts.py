"""Interrupted, failed and repeated generations: what is over must leave nothing that a new one finds."""

import pytest
import torch
from loops import FAMILIES, ORDER, Broken, Pipe, advance, names_of, stamp, watched

KINDS = ["UniPC", "DDIM", "flow Euler"]
"""Multistep with a count, without a count, single step."""


def sample():
    return torch.ones(1, 2, 2, 2)


@pytest.mark.parametrize("family", KINDS)
def test_a_generation_that_broke_is_followed_by_a_new_one(family):
    model, begins = watched()
    pipe = Pipe(FAMILIES[family](), model, guidance_scale=5.0)

    def stop(self, number):
        if number == 1:
            raise Broken

    with pytest.raises(Broken):
        pipe(4, each=stop)
    pipe(3)
    assert names_of(model.said[4:]) == [(1, step, branch, 0) for step in range(3) for branch in ORDER]
    assert begins.kept == [set(), set()]


def loop_again(scheduler, model, count):
    """A loop by hand that does not call set_timesteps."""
    x = sample()
    for time in scheduler.timesteps[:count]:
        x = advance(scheduler, model(stamp(time)), time, x)


def test_a_list_that_is_walked_once_more_is_a_new_generation():
    model, begins = watched(("cond",))

    def main():
        scheduler = FAMILIES["DDIM"]()
        scheduler.set_timesteps(3)
        for _ in range(3):
            loop_again(scheduler, model, 3)

    main()
    assert names_of(model.said) == [
        (generation, step, "cond", 0) for generation in range(3) for step in range(3)
    ]
    assert begins.count == 3


@pytest.mark.parametrize("family", KINDS)
def test_a_forward_that_failed_is_tried_again_under_its_own_name(family):
    model, begins = watched()

    class Patient(Pipe):
        def __call__(self, steps):
            x = sample()
            for number, time in enumerate(self.times(steps)):
                for name in ORDER:
                    with self.transformer.cache_context(name):
                        self.transformer.breaks = number == 1
                        try:
                            output = self.transformer(stamp(time))
                        except Broken:
                            output = self.transformer(stamp(time))
                x = advance(self.scheduler, output, time, x)

    Patient(FAMILIES[family](), model)(3)
    assert names_of(model.said) == [(0, step, branch, 0) for step in range(3) for branch in ORDER]
    assert begins.count == 1


def test_a_walk_that_failed_in_its_first_forward_begins_anew_in_another_call():
    """What the layers before the error have remembered is about a video that will never be."""
    model, begins = watched(("cond",))
    scheduler = FAMILIES["DDIM"]()
    scheduler.set_timesteps(3)
    pipe = Pipe(scheduler, model)

    class Loop(Pipe):
        def __call__(self):
            loop_again(self.scheduler, self.transformer, 3)

    pipe = Loop(scheduler, model)
    model.breaks = True
    with pytest.raises(Broken):
        pipe()
    pipe()
    assert names_of(model.said) == [(1, step, "cond", 0) for step in range(3)]
    assert begins.count == 2


@pytest.mark.parametrize("family", KINDS)
def test_the_last_forward_that_failed_keeps_its_generation_while_another_one_begins(family):
    """A loop that waits before it tries again is not over: what its method remembers is still asked for."""
    model, begins = watched()
    other = Pipe(FAMILIES[family](), model)

    class Patient(Pipe):
        def __call__(self, steps):
            for number, time in enumerate(self.times(steps)):
                for name in ORDER:
                    with self.transformer.cache_context(name):
                        self.transformer.breaks = (number, name) == (steps - 1, ORDER[-1])
                        try:
                            output = self.transformer(stamp(time))
                        except Broken:
                            other(1)
                            output = self.transformer(stamp(time))
                advance(self.scheduler, output, time, sample())

    Patient(FAMILIES[family](), model)(2)
    mine = [name for name in names_of(model.said) if name[0] == 0]
    assert mine == [(0, step, branch, 0) for step in range(2) for branch in ORDER]
    assert begins.kept == [set(), {0}]


def test_memory_of_generations_that_are_over_goes():
    model, begins = watched()
    for _ in range(4):
        Pipe(FAMILIES["flow Euler"](), model, guidance_scale=5.0)(3)
    assert begins.kept == [set()] * 4


@pytest.mark.parametrize("promised", [3, None])
def test_windows_of_a_loop_without_a_scheduler_keep_their_names(promised):
    """Whether the number of steps is known or not: a window must not find what another one has left."""
    model, begins = watched(("cond",), steps=promised)
    for _ in range(2):
        for time in (900.0, 500.0, 100.0):
            for _ in range(4):
                model(torch.tensor(time))
    assert names_of(model.said) == [
        (generation, step, "cond", window)
        for generation in (0, 1)
        for step in range(3)
        for window in range(4)
    ]
    assert begins.count == 2


def test_a_loop_of_one_step_begins_anew_each_time_where_that_is_known():
    model, begins = watched(("cond",), steps=1)
    for _ in range(3):
        model(torch.tensor(5.0))
    assert names_of(model.said) == [(generation, 0, "cond", 0) for generation in range(3)]
    assert begins.kept == [set()] * 3
