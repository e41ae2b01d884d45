"""Branches: as cache_context, the guider or the order of calls says; guidance that is switched off midway."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import AdaptiveProjectedGuidance, ClassifierFreeGuidance
from loops import FAMILIES, Pipe, advance, stamp, watched


def test_the_name_in_cache_context_wins_over_call_order_and_ends_with_it():
    model, _ = watched()
    with model.cache_context("uncond"):
        model(torch.tensor(9.0))
        with model.cache_context("pred_cond"):
            model(torch.tensor(9.0))
        model(torch.tensor(9.0))
    model(torch.tensor(5.0))
    assert [x.branch for x in model.said] == ["uncond", "cond", "uncond", "cond"]


def test_an_error_inside_cache_context_leaves_no_name_behind():
    model, _ = watched(steps=2)
    with pytest.raises(ZeroDivisionError), model.cache_context("uncond"):
        raise ZeroDivisionError
    model(torch.tensor(9.0))
    assert [x.branch for x in model.said] == ["cond"]


def test_three_names_are_three_branches_and_a_name_that_comes_again_is_a_pass():
    model, _ = watched()
    pipe = Pipe(FAMILIES["flow Euler"](), model)

    def run(self):
        x = torch.ones(1, 2, 2, 2)
        for time in self.times(3):
            for name in ("pred_cond", "pred_uncond", "pred_cond_skip", "pred_cond"):
                with self.transformer.cache_context(name):
                    output = self.transformer(stamp(time))
            x = advance(self.scheduler, output, time, x)

    run(pipe)
    names = [("cond", 0), ("uncond", 0), ("cond_skip", 0), ("cond", 1)]
    assert [(x.step, x.branch, x.pass_number) for x in model.said] == [
        (s, *n) for s in range(3) for n in names
    ]


def test_a_third_forward_without_a_name_is_a_second_pass_at_every_step():
    model, begins = watched()
    pipe = Pipe(FAMILIES["UniPC"](), model, guidance_scale=5.0)

    def run(self):
        x = torch.ones(1, 2, 2, 2)
        for time in self.times(3):
            for _ in range(3):
                output = self.transformer(stamp(time))
            x = advance(self.scheduler, output, time, x)

    run(pipe)
    names = [("cond", 0), ("uncond", 0), ("cond", 1)]
    assert [(x.step, x.branch, x.pass_number) for x in model.said] == [
        (s, *n) for s in range(3) for n in names
    ]
    assert begins.count == 1


@pytest.mark.parametrize("guider", [ClassifierFreeGuidance, AdaptiveProjectedGuidance])
def test_a_guider_names_the_branch_whatever_its_order(guider):
    model, _ = watched()
    pipe = Pipe(FAMILIES["flow Euler"](), model)
    pipe.guider = guider(guidance_scale=5.0)

    def run(self):
        x = torch.ones(1, 2, 2, 2)
        for number, time in enumerate(self.times(2)):
            self.guider.set_state(step=number, num_inference_steps=2, timestep=time)
            batches = self.guider.prepare_inputs({"latents": (x, x)})
            for place in reversed(range(len(batches))):
                self.guider._count_prepared = 1 + place
                output = self.transformer(stamp(time))
            x = advance(self.scheduler, output, time, x)

    run(pipe)
    assert [x.branch for x in model.said] == ["uncond", "cond"] * 2


def test_guidance_that_is_switched_off_midway_leaves_the_conditional_branch():
    model, begins = watched()

    def switch(self, number):
        if number == 1:
            self.guidance_scale = 1.0

    Pipe(FAMILIES["DDIM"](), model, guidance_scale=5.0)(4, each=switch)
    assert [(x.step, x.branch) for x in model.said] == [
        (0, "cond"), (0, "uncond"), (1, "cond"), (1, "uncond"), (2, "cond"), (3, "cond"),
    ]  # fmt: skip
    assert begins.count == 1


def test_a_model_whose_guidance_comes_in_one_batch_has_one_branch():
    model, _ = watched(("cond_uncond",))
    Pipe(FAMILIES["CogVideoX DDIM"](), model)(3)
    assert [x.branch for x in model.said] == ["cond_uncond"] * 3


def test_two_transformers_of_one_pipeline_share_the_steps():
    model, begins = watched()
    pipe = Pipe(FAMILIES["flow Euler"](), model, guidance_scale=5.0)
    names = []

    def swap(self, number):
        names.append(self.transformer.component)
        self.transformer.component = "transformer_2" if number >= 1 else "transformer"

    pipe(4, each=swap)
    assert [x.step for x in model.said] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert names == ["transformer"] * 2 + ["transformer_2"] * 2
    assert begins.count == 1


def test_the_pipeline_that_was_handed_over_stands_in_where_none_is_on_the_stack():
    scheduler = FAMILIES["flow Euler"]()
    scheduler.set_timesteps(3)
    known = SimpleNamespace(scheduler=scheduler, guidance_scale=1.0)
    model, _ = watched(pipeline=known)
    times = scheduler.timesteps
    del scheduler
    for time in times:
        output = model(stamp(time))
        known.scheduler.step(output, time, torch.ones(1, 2, 2, 2))
    assert [(x.step, x.steps, x.branch, x.told_by) for x in model.said] == [
        (step, 3, "cond", "scheduler") for step in range(3)
    ]
