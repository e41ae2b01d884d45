"""Videos whose size changes between the steps of one generation, as scale-wise schedulers and loops do it."""

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch.nn.functional import interpolate

from videosieve import METHODS, sparsify
from videosieve.testing.pipelines import tiny_cogvideox, tiny_wan

REUSE = {"reuse_range": 2, "reuse_start": 0.0, "reuse_stop": 1.0, "reuse_mlp": 2}
WITH_DENSITY = [name for name, cls in METHODS.items() if "density" in cls.__dataclass_fields__]
STEPS = 6


@torch.no_grad()
def denoise(transformer, sizes, frames_first=False):
    """A loop whose latents have `sizes[step]` rows and columns."""
    scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    scheduler.set_timesteps(STEPS)
    channels = transformer.config.in_channels
    x = torch.randn(1, channels, 3, *sizes[0], generator=torch.Generator().manual_seed(0))
    text = torch.randn(1, 16, 32, generator=torch.Generator().manual_seed(1))
    for time, size in zip(scheduler.timesteps, sizes, strict=True):
        x = interpolate(x, size=(3, *size))
        given = x.transpose(1, 2) if frames_first else x
        flow = (
            transformer(given, text, time.expand(1))
            if frames_first
            else transformer(given, time.expand(1), text)
        )
        flow = flow.sample.transpose(1, 2) if frames_first else flow.sample
        x = scheduler.step(flow, time, x, return_dict=False)[0]
    return x


GROWING = [(4, 6)] * 3 + [(6, 8)] * 3
TURNED = [(4, 8)] * 3 + [(8, 4)] * 3
"""As many tokens as before, in another place: nothing but the layout tells."""


@pytest.mark.parametrize("sizes", [GROWING, TURNED])
@pytest.mark.parametrize("method", WITH_DENSITY)
def test_what_is_remembered_of_one_size_is_not_used_at_another(method, sizes):
    transformer = tiny_wan().transformer
    plain = denoise(transformer, sizes)
    with sparsify(transformer, method, density=1.0, min_tokens=0, dense_steps=1, steps=STEPS) as run:
        torch.testing.assert_close(denoise(transformer, sizes), plain, rtol=0, atol=1e-3)
    assert {r.step for r in run.trace.records if r.action == "sparse"} == set(range(1, STEPS))
    notes = {r.note for r in run.trace.records if r.step == 3 and r.note}
    if method == "adaspa":
        grids = ["3×{}×{}".format(*(side // 2 for side in size)) for size in (sizes[0], sizes[-1])]
        assert len(notes) == 1
        assert all(grid in note for note in notes for grid in grids)


def test_a_method_that_remembers_chooses_as_if_the_second_size_were_the_first():
    transformer = tiny_wan().transformer
    options = {"density": 0.4, "min_tokens": 0, "dense_steps": 0, "block": 4, "search_steps": (0, 3)}
    with sparsify(transformer, "adaspa", steps=STEPS, **options) as run:
        denoise(transformer, TURNED)
    kept = {r.step: r.density for r in run.trace.records if r.layer == 0}
    assert kept[0] == kept[3] == 1.0  # the searches are dense by themselves
    assert kept[4] < 1.0


@pytest.mark.parametrize("sizes", [GROWING, TURNED])
@pytest.mark.parametrize(("make", "first"), [(tiny_wan, False), (tiny_cogvideox, True)])
def test_an_output_of_another_size_is_not_returned(make, first, sizes):
    transformer = make().transformer

    def draw(start):
        with sparsify(
            transformer, "dense", min_tokens=0, dense_steps=0, steps=STEPS, **{**REUSE, "reuse_start": start}
        ) as run:
            drawn = denoise(transformer, sizes, first)
        return drawn, {r.step for r in run.trace.records if r.action == "reuse"}

    drawn, reused = draw(0.0)
    assert drawn.isfinite().all()
    assert reused == {1, 5}  # step 3 is the first of its size


@pytest.mark.parametrize("sizes", [GROWING, TURNED])
def test_residuals_of_another_size_are_not_added(sizes):
    transformer = tiny_wan().transformer
    options = {"window": 0.3, "block": 4, "min_tokens": 0, "dense_steps": 1, "steps": STEPS}
    with sparsify(transformer, "window_residual", **options):
        drawn = denoise(transformer, sizes)
    assert drawn.isfinite().all()
