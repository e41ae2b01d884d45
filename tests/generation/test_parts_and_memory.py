"""What a generation is measured by: the times of its parts and its memory."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from videosieve.generation.generate import generate
from videosieve.generation.memory import PeakMemory
from videosieve.generation.parts import DECODE, TEXT, PartClock
from videosieve.generation.request import Request
from videosieve.recipe import Recipe

PROMPT = "a red circle moves left"


class Watch:
    """A clock that goes on only when it is told, so that a loaded machine changes no figure."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


WATCH = Watch()


class Vae:
    def decode(self, latents: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        WATCH.sleep(0.02)
        return latents * scale


class Pipe:
    """The two parts that diffusers' pipelines have; they take their time by the watch."""

    device = torch.device("cpu")

    def __init__(self):
        self.vae = Vae()

    def encode_prompt(self, prompt: str) -> str:
        WATCH.sleep(0.05)
        if not prompt:
            raise ValueError("empty")
        return prompt.upper()


def test_parts_are_timed_and_their_results_pass_through(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("videosieve.generation.parts.time", WATCH)
    pipe = Pipe()
    latents = torch.arange(6.0).view(2, 3)
    with PartClock(pipe) as clock:
        assert pipe.encode_prompt("a") == "A"
        assert pipe.encode_prompt(prompt="b") == "B"
        torch.testing.assert_close(pipe.vae.decode(latents, scale=2.0), latents * 2)
        WATCH.sleep(0.2)  # belongs to neither
    assert clock.seconds == pytest.approx({TEXT: 0.1, DECODE: 0.02})
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
