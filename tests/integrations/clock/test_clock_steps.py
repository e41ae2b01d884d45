"""Position and number of steps: read from what really advances."""

import pytest
import torch
from loops import BY_VALUE, FAMILIES, REPEATS, Pipe, advance, stamp, steps_of, watched

from videosieve.integrations.diffusers.clock.positions import Times


@pytest.mark.parametrize("family", FAMILIES)
def test_every_evaluation_of_every_scheduler_is_a_step_of_as_many_as_its_list_has(family):
    model, begins = watched()
    pipe = Pipe(FAMILIES[family](), model)
    for count in (6, 3, 6):
        model.said.clear()
        pipe(count)
        total = len(pipe.scheduler.timesteps)
        assert steps_of(model.said) == [(step, total) for step in range(total)]
    assert begins.count == 3


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - REPEATS))
def test_a_generation_that_begins_within_the_list_counts_from_where_it_begins(family):
    model, _ = watched()
    pipe = Pipe(FAMILIES[family](), model, guidance_scale=5.0)
    for start in (2, 0, 5):
        model.said.clear()
        pipe(6, start=start)
        left = len(pipe.scheduler.timesteps) - start
        assert steps_of(model.said, "cond") == [(step, left) for step in range(left)]


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - {"PNDM", "LCM", "TCD"}))
def test_neighbours_that_bfloat16_makes_equal_stay_two_steps(family):
    """Of 300 steps in 1000 neighbours are 3 apart; bfloat16 has a spacing of 4 above 512. LCM and TCD take 50 steps."""
    model, begins = watched()
    Pipe(FAMILIES[family](), model)(300, dtype=torch.bfloat16)
    assert steps_of(model.said) == [(step, len(model.said)) for step in range(len(model.said))]
    assert begins.count == 1


@pytest.mark.parametrize("family", ["UniPC", "DDIM", "flow Heun"])
def test_windows_are_passes_of_one_step(family):
    model, _ = watched()
    Pipe(FAMILIES[family](), model, guidance_scale=5.0)(3, windows=4)
    total = 5 if family == "flow Heun" else 3
    assert [(x.step, x.branch, x.pass_number) for x in model.said] == [
        (step, branch, window)
        for step in range(total)
        for window in range(4)
        for branch in ("cond", "uncond")
    ]


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_that_a_cache_skips_are_counted(family):
    model, begins = watched()
    pipe = Pipe(FAMILIES[family](), model)
    sample, times = torch.ones(1, 2, 2, 2), pipe.times(6)

    def run(self, sample):
        for number, time in enumerate(times):
            if number % 3 != 1:
                output = self.transformer(stamp(time))
            sample = advance(self.scheduler, output, time, sample)

    run(pipe, sample)
    wanted = [step for step in range(len(times)) if step % 3 != 1]
    if family in BY_VALUE & REPEATS:  # the second of two equal timesteps alone cannot be told from the first
        wanted = [0, 2 - 1, *wanted[2:]]
    assert [x.step for x in model.said] == wanted
    assert begins.count == 1


def test_rising_timesteps_are_steps_too():
    model, begins = watched()
    for _ in range(2):
        for time in (0.0, 0.1, 0.7):
            model(time)
    assert [x.step for x in model.said] == [0, 1, 2] * 2
    assert begins.count == 2


def test_a_loop_without_a_scheduler_counts_changes_and_the_steps_that_were_promised():
    model, begins = watched(("cond",), steps=3)

    def loop(times):
        for time in times:
            model(torch.tensor(time))

    loop([900, 500, 100])
    loop([900, 500, 100, 50])  # one more than promised: counted, not refused
    assert steps_of(model.said) == [(0, 3), (1, 3), (2, 3)] * 2 + [(3, 4)]
    assert {x.told_by for x in model.said} == {"changes"}
    assert begins.count == 2


def test_staggered_timesteps_per_frame_move_though_their_maximum_stands_still():
    """SkyReels-V2 with ar_step > 0 steps copies of its scheduler, one a frame."""
    model, begins = watched(("cond",))
    pipe = Pipe(FAMILIES["UniPC"](), model)
    times = pipe.times(4)
    rows = [[0, 0, 0], [1, 0, 0], [2, 1, 0], [3, 2, 1], [3, 3, 2], [3, 3, 3]]
    pipe._num_timesteps = len(rows)

    def run(self):
        for row in rows:
            self.transformer(times[torch.tensor(row)][None])

    run(pipe)
    assert [x.step for x in model.said] == list(range(6))
    assert {x.steps for x in model.said[1:]} == {6}  # at first the scheduler's list of four is believed
    assert begins.count == 1


def test_conditions_with_other_noise_in_a_further_pass_do_not_move_a_scheduler_that_runs():
    model, begins = watched()
    pipe = Pipe(FAMILIES["flow Euler"](), model, guidance_scale=5.0)

    def run(self):
        sample = torch.ones(1, 2, 2, 2)
        for time in self.times(4):
            self.transformer(torch.stack([time, time, time * 0]))
            output = self.transformer(torch.stack([time, time, time]))
            sample = advance(self.scheduler, output, time, sample)

    run(pipe)
    assert [(x.step, x.branch) for x in model.said] == [(s, b) for s in range(4) for b in ("cond", "uncond")]
    assert begins.count == 1


def test_a_scheduler_that_was_never_set_up_is_not_asked():
    """Its list is the whole range of training, where every whole number stands somewhere."""
    model, _ = watched(("cond",))
    pipe = Pipe(FAMILIES["DDIM"](), model)

    def run(self):
        for time in range(999, 0, -200):
            self.transformer(torch.tensor(time))

    run(pipe)
    assert [x.step for x in model.said] == [0, 1, 2, 3, 4]
    assert {x.told_by for x in model.said} == {"changes"}


def test_the_step_that_cache_context_gives_wins():
    model, _ = watched()
    pipe = Pipe(FAMILIES["DDIM"](), model)

    def run(self):
        for number, time in enumerate(self.times(3)):
            with self.transformer.cache_context("pred_cond", step_index=number):
                self.transformer(time * 0 + 7)  # no timestep of the list

    run(pipe)
    assert [(x.step, x.branch) for x in model.said] == [(0, "cond"), (1, "cond"), (2, "cond")]


def test_a_held_clock_says_what_it_was_told_and_begins_nothing():
    model, begins = watched()
    model.clock.held = (3, "uncond")
    model(torch.tensor(5))
    assert [(x.step, x.steps, x.branch) for x in model.said] == [(3, 4, "uncond")]
    assert begins.count == 0


def test_a_mean_over_another_batch_is_no_other_timestep():
    one, other = Times(1.0, 1.0, 1.0, 0.1 + 0.2), Times(1.0, 1.0, 1.0, 0.3)
    assert not one.has_moved(other)
    assert one.has_moved(Times(1.0, 1.0, 1.0, 0.31))
