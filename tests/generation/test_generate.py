"""One generation: frames, seconds, progress; and requests that a pipeline cannot honour."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from videosieve.errors import ModelError, PromptError
from videosieve.generation import generate as module
from videosieve.generation.generate import Progress, generate
from videosieve.generation.request import Request, choose_prompt, default_steps, pipeline_arguments
from videosieve.recipe import Recipe

PROMPT = "a red circle moves left"
SVG = Recipe.of("svg", min_tokens=0, dense_steps=1)


def test_frames_are_the_pipelines_own(nano: Any):
    clip = generate(nano, Request(PROMPT, steps=2, seed=3), Recipe.of("dense"))
    expected = nano(
        PROMPT, num_inference_steps=2, generator=torch.Generator().manual_seed(3), output_type="pt"
    ).frames[0]
    assert clip.frames.shape == (16, 3, 16, 16)
    assert clip.frames.dtype == torch.float32
    torch.testing.assert_close(clip.frames, expected, rtol=0, atol=1e-5)
    assert 0 < clip.denoising_seconds <= clip.seconds


def test_progress_counts_steps_and_density(nano: Any):
    seen: list[Progress] = []
    clip = generate(nano, Request(PROMPT, steps=3), SVG, progress=seen.append)
    assert [(progress.step, progress.steps) for progress in seen] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert seen.pop(0).seconds_left is None
    assert seen[0].density == 1  # the dense warm-up
    assert seen[0].density > seen[1].density > seen[2].density
    assert seen[2].density == pytest.approx(clip.trace.summary().run_density)
    assert seen[0].seconds_left > 0
    assert seen[2].seconds_left == 0
    assert clip.steps == 3


def test_a_warm_up_leaves_no_trace_and_changes_no_frame(nano: Any):
    cold = generate(nano, Request(PROMPT, steps=3), SVG)
    warm = generate(nano, Request(PROMPT, steps=3), SVG, warm_up=True)
    torch.testing.assert_close(cold.frames, warm.frames, rtol=0, atol=0)
    assert len(cold.trace) == len(warm.trace)


def test_the_pipeline_is_as_before_even_after_an_error(nano: Any):
    processors = [type(module.processor) for module in attentions(nano)]
    hooks = len(nano.transformer._forward_hooks)

    def fail(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(nano, Request(PROMPT, steps=2), SVG, progress=fail)
    assert [type(module.processor) for module in attentions(nano)] == processors
    assert len(nano.transformer._forward_hooks) == hooks


def attentions(pipe: Any) -> list[Any]:
    return [module for module in pipe.transformer.modules() if hasattr(module, "processor")]


def test_what_the_pipeline_refuses_is_one_model_error():
    class Strict:
        def __call__(
            self, prompt: str, num_inference_steps: int = 5, generator: Any = None, output_type: str = "pt"
        ):
            raise ValueError("height has to be\ndivisible by 16")

    with pytest.raises(ModelError, match="Strict refuses this request: height has to be divisible by 16"):
        module.call_pipeline(Strict(), pipeline_arguments(Strict(), Request(PROMPT)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"steps": 0}, "steps must be at least 1 and at most 10,000, got steps=0"),
        ({"height": -16}, "height must be at least 1"),
        ({"width": 0}, "width"),
        ({"frames": 0}, "frames"),
        ({"seed": -1}, "seed must be a whole number >= 0"),
        ({"guidance": float("nan")}, "guidance"),
        ({"image": Path("missing.png")}, "image 'missing.png' does not exist"),
    ],
)
def test_requests_outside_their_range_are_refused(values: dict[str, Any], message: str):
    with pytest.raises(ModelError, match=message):
        Request(PROMPT, **values)


def test_words_outside_the_vocabulary_are_refused_by_the_pipeline(nano: Any):
    with pytest.raises(PromptError, match="elephant"):
        generate(nano, Request("a red elephant", steps=1), Recipe.of("dense"))


def fake(**defaults: Any) -> Any:
    """A pipeline that takes these arguments and no others."""
    names = ", ".join(f"{name}={value!r}" for name, value in defaults.items())
    scope: dict[str, Any] = {}
    exec(f"def call(self, prompt, generator=None, output_type='pt', {names}): pass", scope)
    kind = type("FakePipeline", (), {"__call__": scope["call"]})
    pipe: Any = kind()
    pipe.transformer = SimpleNamespace(config={"guidance_embeds": True})
    return pipe


def test_options_that_a_pipeline_lacks_are_refused():
    with pytest.raises(ModelError, match="FakePipeline takes no negative_prompt and no height"):
        pipeline_arguments(fake(width=1), Request(PROMPT, negative_prompt="blur", height=8, width=8))


def test_an_image_goes_to_pipelines_that_take_one(tmp_path: Path):
    path = tmp_path / "first.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path)
    assert pipeline_arguments(fake(image=None), Request(PROMPT, image=path))["image"].size == (8, 8)
    with pytest.raises(ModelError, match="takes no image"):
        pipeline_arguments(fake(width=1), Request(PROMPT, image=path))
    with pytest.raises(ModelError, match="give one \\(--image\\)"):
        pipeline_arguments(fake(image=None), Request(PROMPT))


def test_images_that_cannot_be_read_are_refused(tmp_path: Path):
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ModelError, match="not an image"):
        pipeline_arguments(fake(image=None), Request(PROMPT, image=tmp_path / "text.png"))


def test_guidance_goes_where_it_has_an_effect():
    plain, double = (
        fake(guidance_scale=5.0, negative_prompt=None),
        fake(guidance_scale=6.0, true_cfg_scale=1.0, negative_prompt=None),
    )
    assert pipeline_arguments(plain, Request(PROMPT, guidance=3))["guidance_scale"] == 3
    assert pipeline_arguments(double, Request(PROMPT, guidance=3))["guidance_scale"] == 3
    negative = Request(PROMPT, negative_prompt="blur", guidance=3)
    assert pipeline_arguments(double, negative)["true_cfg_scale"] == 3
    with pytest.raises(ModelError, match="give --guidance"):
        pipeline_arguments(double, Request(PROMPT, negative_prompt="blur"))
    double.transformer.config = {"guidance_embeds": False}
    assert pipeline_arguments(double, Request(PROMPT, guidance=3))["true_cfg_scale"] == 3


def test_arguments_of_the_parent_class_are_known(nano: Any):
    arguments = pipeline_arguments(
        nano, Request(PROMPT, negative_prompt="a blue square", guidance=2, height=8)
    )
    assert arguments["true_cfg_scale"] == 2
    assert default_steps(nano) == 20


@pytest.mark.parametrize("texts", [(None, None), ("a", "b"), (" ", None)])
def test_exactly_one_prompt_is_needed(texts: tuple[str | None, ...]):
    with pytest.raises(PromptError, match="give one prompt"):
        choose_prompt(*texts)
    assert choose_prompt(None, PROMPT) == PROMPT
