"""What a generation is measured by: the times of its parts, its memory, its quality, and the noise floor."""

import dataclasses
import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from videosieve.errors import BackendError, MetricError, ShapeError
from videosieve.generation import floor as floor_module
from videosieve.generation.floor import choose_floor
from videosieve.generation.generate import Clip, generate
from videosieve.generation.memory import PeakMemory
from videosieve.generation.parts import DECODE, TEXT, PartClock
from videosieve.generation.quality import measure_quality
from videosieve.generation.request import Request
from videosieve.metrics import METRICS, flip, ms_ssim, psnr, ssim_per_frame
from videosieve.recipe import Recipe
from videosieve.shapes.factors import sample_factors
from videosieve.shapes.render import render
from videosieve.trace import Record, Trace

PROMPT = "a red circle moves left"


class Vae:
    def decode(self, latents: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        time.sleep(0.02)
        return latents * scale


class Pipe:
    """The two parts that diffusers' pipelines have, slow enough to be seen."""

    device = torch.device("cpu")

    def __init__(self):
        self.vae = Vae()

    def encode_prompt(self, prompt: str) -> str:
        time.sleep(0.05)
        if not prompt:
            raise ValueError("empty")
        return prompt.upper()


def test_parts_are_timed_and_their_results_pass_through():
    pipe = Pipe()
    latents = torch.arange(6.0).view(2, 3)
    with PartClock(pipe) as clock:
        assert pipe.encode_prompt("a") == "A"
        assert pipe.encode_prompt(prompt="b") == "B"
        torch.testing.assert_close(pipe.vae.decode(latents, scale=2.0), latents * 2)
        time.sleep(0.2)  # belongs to neither
    assert 0.1 <= clock.seconds[TEXT] < 0.3
    assert 0.02 <= clock.seconds[DECODE] < 0.2
    assert clock.latent is not None
    assert clock.latent.tolist() == [0, 1, 2, 3, 4, 5]


def test_the_pipeline_is_as_before_even_after_an_error():
    pipe: Any = Pipe()
    wrapped = pipe.vae.decode = lambda latents: latents  # for example torch.compile's
    with pytest.raises(ValueError, match="empty"), PartClock(pipe):
        pipe.encode_prompt("")
    assert "encode_prompt" not in vars(pipe)
    assert pipe.vae.decode is wrapped


def test_a_pipeline_without_parts_has_no_times():
    with PartClock(SimpleNamespace(device="cpu")) as clock:
        pass
    assert clock.seconds == {}
    assert clock.latent is None


def test_a_generation_has_times_of_its_parts_and_the_latents_that_became_frames(nano: Any):
    clip = generate(nano, Request(PROMPT, steps=2), Recipe.of("dense"))
    assert clip.text_seconds is not None
    assert clip.decode_seconds is not None
    assert clip.text_seconds + clip.denoising_seconds + clip.decode_seconds <= clip.seconds
    assert clip.latent is not None
    assert clip.latent.shape == (clip.frames.numel(),)  # the codec is lossless and parameter-free
    assert "encode_prompt" not in vars(nano)
    assert "decode" not in vars(nano.vae)


def test_memory_is_the_peak_of_the_block_each_time_anew():
    megabytes = []
    for size in (64, 16, 64):
        with PeakMemory(torch.device("cpu")) as memory:
            torch.ones(size * 2**18).sum()
        if memory.bytes is None:
            pytest.skip("this system does not let a process set its peak back")
        megabytes.append(memory.bytes / 2**20)
    assert megabytes == pytest.approx([64, 16, 64], abs=8)


def test_memory_that_cannot_be_measured_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Any):
    monkeypatch.setattr("videosieve.generation.memory._RESET", tmp_path / "missing" / "clear_refs")
    with PeakMemory(torch.device("cpu")) as memory:
        torch.ones(2**18)
    assert memory.bytes is None


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
