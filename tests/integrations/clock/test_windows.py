"""Context windows that take turns from step to step: told apart by what they show, or refused."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from videosieve import IntegrationError, sparsify
from videosieve.integrations.diffusers.clock.windows import Windows
from videosieve.testing.pipelines import tiny_wan

REUSE = {"min_tokens": 0, "dense_steps": 0, "reuse_range": 2, "reuse_start": 0.0, "reuse_stop": 1.0}
TEXT = torch.randn(1, 4, 32, generator=torch.Generator().manual_seed(9))


def noise(seed):
    return torch.randn(1, 16, 3, 6, 8, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def denoise(transformer, seeds, turns, named=False, steps=8):
    """Three windows; with `turns` each step begins with the next one."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(steps)
    x = torch.cat([noise(seed) for seed in seeds])
    for step, time in enumerate(scheduler.timesteps):
        flows = torch.zeros_like(x)
        for place in range(len(seeds)):
            window = (place + step * turns) % len(seeds)
            name = f"window {window}" if named else "cond"
            with transformer.cache_context(name):
                flows[window] = transformer(x[window, None], time.expand(1), TEXT, return_dict=False)[0]
        x = scheduler.step(flows, time, x, return_dict=False)[0]
    return x


@pytest.mark.parametrize(
    ("method", "options"),
    [("dense", REUSE), ("adaspa", {"min_tokens": 0, "dense_steps": 1})],
    ids=["reuse", "adaspa"],
)
def test_windows_that_take_turns_are_refused_where_anything_is_remembered(method, options):
    transformer = tiny_wan().transformer
    refused = pytest.raises(
        IntegrationError, match="its windows have moved since the last step .* cache_context"
    )
    with sparsify(transformer, method, **options, steps=8), refused:
        denoise(transformer, range(3), turns=1)


@pytest.mark.parametrize(
    ("options", "turns", "named"),
    [(REUSE, 1, True), (REUSE, 0, False), ({"min_tokens": 0, "dense_steps": 0}, 1, False)],
    ids=["named", "in order", "nothing remembered"],
)  # fmt: skip
def test_windows_that_can_be_told_apart_equal_each_alone(options, turns, named):
    transformer = tiny_wan().transformer
    with sparsify(transformer, "svg", density=1.0, **options, steps=8):
        together = denoise(transformer, range(3), turns, named)
        alone = torch.cat([denoise(transformer, [seed], 0, named) for seed in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-4)


def test_a_pass_has_moved_where_it_is_near_another_pass_and_far_from_its_own():
    windows = Windows()
    assert not any(windows.has_moved("cond", i, sample) for i, sample in enumerate([(0.0, 0.0), (3.0, 4.0)]))
    windows.next_step()
    assert not windows.has_moved("cond", 0, (0.5, 0.5))
    assert windows.has_moved("cond", 1, (0.5, 0.5))
    assert not windows.has_moved("uncond", 0, (3.0, 4.0)), "another branch"
    windows.next_step()
    assert not windows.has_moved("cond", 0, ()), "nothing known of the latents"


def test_further_guidance_shows_the_same_latents_and_has_not_moved():
    windows = Windows()
    for sample in ((0.0, 0.0), (1.0, 1.0)):
        assert not any(windows.has_moved("cond", i, sample) for i in range(2))
        windows.next_step()
