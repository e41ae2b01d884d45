"""Branches that nobody names, where the order of the calls changes from step to step: their texts tell them apart."""

from contextlib import nullcontext

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from videosieve import sparsify
from videosieve.integrations.diffusers.clock.texts import Texts
from videosieve.testing.pipelines import tiny_wan

ORDER = ("cond", "uncond")
A, B, C = (1.0, 0.0), (0.0, 1.0), (1.0, 1.0)
REUSE = {"dense_steps": 0, "reuse_range": 2, "reuse_start": 0.0, "reuse_stop": 1.0}
MEMORIES = {
    "reuse": ("dense", REUSE),
    "adaspa": ("adaspa", {"dense_steps": 1}),
    "svg2": ("svg2", {"dense_steps": 1}),
    "sieve": ("sieve", {"dense_steps": 1}),
    "window residual": ("window_residual", {"dense_steps": 1, "block": 4, "window": 0.3}),
    "shared": ("adaspa", {"dense_steps": 1, "shared_selection": True}),
}
GUIDED = {
    "first half": lambda step: step < 3,
    "second half": lambda step: step >= 3,
    "every other": lambda step: step % 2 == 0,
    "every other but the first": lambda step: step % 2 == 1,
}


def named(steps):
    """Branches of steps, each a list of texts."""
    texts, found = Texts(), []
    for step in steps:
        names = []
        for text in step:
            names.append(texts.branch("part", text, ORDER, len(names)))
            texts.note("part", text, names[-1])
        found.append(names)
        texts.next_step()
    return found


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ([[A, B], [A, B]], [["cond", "uncond"], ["cond", "uncond"]]),
        ([[A, B], [A]], [["cond", "uncond"], ["cond"]]),
        ([[B, A], [A], [B, A]], [["cond", "uncond"], ["uncond"], ["cond", "uncond"]]),
        ([[A], [B, A]], [["cond"], ["uncond", "cond"]]),
        ([[A, B, A], [A, A]], [["cond", "uncond", "cond"], ["cond", "cond"]]),
        ([[A, A], [A, A]], [["cond", "uncond"], ["cond", "uncond"]]),  # two windows, or two equal texts
        ([[A, B], [C, B]], [["cond", "uncond"], ["cond", "uncond"]]),  # another prompt from here on
        ([[(), ()], [()]], [["cond", "uncond"], ["cond"]]),
    ],
)
def test_a_text_keeps_the_branch_that_it_had_first(steps, names):
    assert named(steps) == names


def test_a_text_that_is_encoded_anew_is_the_same_text():
    again = (1.0, 1e-6)
    assert named([[B, A], [again]]) == [["cond", "uncond"], ["uncond"]]


def test_a_forward_that_failed_has_not_been():
    texts = Texts()
    texts.note("part", A, "cond")
    texts.forget_last("part")
    assert texts.branch("part", A, ORDER, 0) == "cond"
    texts.note("part", A, "cond")
    assert texts.branch("part", A, ORDER, 1) == "uncond"


@torch.no_grad()
def denoise(transformer, order, guided, named):
    """A loop with guidance at some steps, of six."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(6)
    texts = {
        name: torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(9 + n))
        for n, name in enumerate(ORDER)
    }
    x = torch.randn(1, 16, 3, 6, 8, generator=torch.Generator().manual_seed(0))
    for step, time in enumerate(scheduler.timesteps):
        flow = {}
        for name in order:
            if name == "cond" or guided(step):
                with transformer.cache_context(name) if named else nullcontext():
                    flow[name] = transformer(x, time.expand(1), texts[name], return_dict=False)[0]
        velocity = flow["cond"] if len(flow) == 1 else flow["uncond"] + 5 * (flow["cond"] - flow["uncond"])
        x = scheduler.step(velocity, time, x, return_dict=False)[0]
    return x


@pytest.mark.parametrize("order", [ORDER, ORDER[::-1]])
@pytest.mark.parametrize("guided", GUIDED)
@pytest.mark.parametrize("memory", MEMORIES)
def test_guidance_at_some_steps_draws_without_names_what_it_draws_with_them(memory, guided, order):
    transformer = tiny_wan().transformer
    method, options = MEMORIES[memory]

    def draw(named):
        with sparsify(transformer, method, min_tokens=0, steps=6, **options):
            return denoise(transformer, order, GUIDED[guided], named)

    torch.testing.assert_close(draw(named=False), draw(named=True), rtol=0, atol=0)
