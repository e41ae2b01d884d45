"""The quality of a clip and the noise floor of a comparison."""

import dataclasses
from typing import Any

import pytest
import torch

from videosieve.comparison import noise_floor as floor_module
from videosieve.comparison.noise_floor import choose_floor
from videosieve.comparison.quality import measure_quality
from videosieve.errors import BackendError, MetricError, ShapeError
from videosieve.generation.generate import Clip
from videosieve.generation.request import Request
from videosieve.metrics import METRICS, flip, ms_ssim, psnr, ssim_per_frame
from videosieve.records import Record
from videosieve.shapes.world.factors import sample_factors
from videosieve.shapes.world.render import render
from videosieve.trace import Trace

PROMPT = "a red circle moves left"


class Pipe:
    """Any pipeline but the bundled model's: no judge knows its captions, and generation is replaced."""


def clip_of(frames: torch.Tensor, latent: torch.Tensor | None = None, pairs: int = 100) -> Clip:
    record = Record(0, 0, "cond", "dense", "", "sdpa", pairs, 1.0)
    return Clip(frames, 1.0, 0.5, 2, Trace([record]), latent=latent)


def test_quality_is_what_the_metrics_say_and_chunks_change_nothing():
    generator = torch.Generator().manual_seed(0)
    dense = torch.rand(11, 3, 24, 32, generator=generator)
    video = (dense + 0.1 * torch.randn(dense.shape, generator=generator)).clamp(0, 1)
    latents = torch.tensor([3.0, 4.0]), torch.tensor([3.0, 9.0])
    quality = measure_quality(Pipe(), clip_of(video, latents[1]), PROMPT, clip_of(dense, latents[0]))  # type: ignore[arg-type]
    assert quality.psnr == psnr(video, dense)
    assert quality.ssim_frames == pytest.approx(ssim_per_frame(video, dense).tolist(), abs=1e-12)
    assert quality.scores["ms_ssim_2_scales"] == pytest.approx(ms_ssim(video, dense).mean, abs=1e-12)
    assert quality.scores["latent_relative_l2"] == 1.0
    assert quality.accuracy is None
    assert quality.unavailable == {}


def test_what_cannot_be_measured_is_named_and_the_rest_is_there():
    video = torch.rand(1, 3, 10, 40)
    quality = measure_quality(Pipe(), clip_of(video), PROMPT, clip_of(video))  # type: ignore[arg-type]
    assert quality.psnr is not None
    assert set(quality.unavailable) == {"flicker", "ssim", "ms_ssim", "latent_relative_l2"}
    assert "at least 11" in quality.unavailable["ssim"]
    assert quality.scores == {}
    with pytest.raises(ShapeError, match="1 frames of 40 × 10 pixels, got 1 of 20 × 10"):
        measure_quality(Pipe(), clip_of(video[..., :20]), PROMPT, clip_of(video))  # type: ignore[arg-type]


def test_further_metrics_are_measured_where_asked_for(monkeypatch: pytest.MonkeyPatch):
    generator = torch.Generator().manual_seed(0)
    dense, video = (torch.rand(9, 3, 16, 16, generator=generator) for _ in range(2))
    monkeypatch.setitem(METRICS, "lpips", dataclasses.replace(METRICS["lpips"], require=_refuse))
    quality = measure_quality(Pipe(), clip_of(video), PROMPT, clip_of(dense), ["flip", "lpips"])  # type: ignore[arg-type]
    assert quality.scores["flip"] == pytest.approx(flip(video, dense).mean().item(), abs=1e-9)
    assert "lpips" not in quality.scores
    assert quality.unavailable["lpips"] == "no weights"


def _refuse(files: object) -> None:
    raise MetricError("no weights")


def test_the_judge_sees_what_a_rendered_clip_shows(nano: Any):
    seeds = torch.arange(1)
    clip = render(sample_factors(seeds, 0.0), seeds)
    frames = (clip.video[0].transpose(0, 1) + 1) / 2
    thing = clip.factors.named(0).objects[0]
    right = measure_quality(nano, clip_of(frames), f"a {thing.colour} {thing.shape}", None).accuracy
    assert right is not None
    assert right["colour"] == right["all"] == 1.0
    wrong = "blue" if thing.colour != "blue" else "red"
    accuracy = measure_quality(nano, clip_of(frames), f"a {wrong} {thing.shape}", None).accuracy
    assert accuracy is not None
    assert (accuracy["colour"], accuracy["all"]) == (0.0, 0.0)
    quality = measure_quality(nano, clip_of(frames), "moves left", None)
    assert quality.accuracy is None
    assert "the judge cannot read the prompt" in quality.unavailable["accuracy"]


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """What each kernel makes; those that are not here cannot run."""
    made: dict[str, torch.Tensor] = {}

    def rehearse(pipe: Any, request: Request, recipe: Any) -> Clip:
        if recipe.method.kernel not in made:
            raise BackendError(f"{recipe.method.kernel} cannot run this dense_attention")
        return clip_of(made[recipe.method.kernel])

    monkeypatch.setattr(floor_module, "rehearse", rehearse)
    return made


def test_the_floor_is_the_first_other_kernel_that_differs(kernels: dict[str, torch.Tensor]):
    dense = clip_of(torch.zeros(1, 3, 2, 2))
    kernels |= {"native": torch.zeros(1, 3, 2, 2), "reference": torch.full((1, 3, 2, 2), 1e-7)}
    recipe = choose_floor(Pipe(), Request(PROMPT), dense)  # type: ignore[arg-type]
    assert recipe.name == "dense (reference kernel)"
    assert recipe.is_dense
    kernels["block-sparse"] = torch.full((1, 3, 2, 2), 1e-6)
    assert choose_floor(Pipe(), Request(PROMPT), dense).name == "dense (block-sparse kernel)"  # type: ignore[arg-type]


def test_without_a_second_kernel_every_reason_is_given(kernels: dict[str, torch.Tensor]):
    kernels |= {"native": torch.zeros(1, 3, 2, 2), "reference": torch.ones(1, 3, 2, 2)}
    with pytest.raises(BackendError) as caught:
        choose_floor(Pipe(), Request(PROMPT), clip_of(torch.zeros(1, 3, 2, 2), pairs=2**40))  # type: ignore[arg-type]
    for reason in ("native computes what", "flash cannot run", "1,099,511,627,776 scores at once"):
        assert reason in str(caught.value)
