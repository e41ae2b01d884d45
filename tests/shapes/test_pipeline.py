"""The pipeline: diffusers' habits, the shapes world's words."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from videosieve.errors import ModelError, PromptError, ShapeError
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.shapes.weights import load_shapes

SMALL = {"num_frames": 3, "num_inference_steps": 2, "output_type": "pt"}
PROMPTS = [
    "a red circle moves left",
    "a small blue star stays still and a big white cross rises on a noisy background",
]


@pytest.fixture(scope="module")
def pipe() -> ShapesPipeline:
    pipe = ShapesPipeline.from_networks(build_networks("shapes-nano", seed=3))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def _noise(rows: int) -> torch.Tensor:
    return torch.randn(rows, 12, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_default_size_is_the_trained_one(pipe: ShapesPipeline):
    assert pipe(PROMPTS[0], **SMALL).frames.shape == (1, 3, 3, 16, 16)
    assert pipe(PROMPTS[0], height=8, width=24, **SMALL).frames.shape == (1, 3, 3, 8, 24)


def test_a_batch_equals_its_prompts_alone(pipe: ShapesPipeline):
    together = pipe(PROMPTS, latents=_noise(2), **SMALL).frames
    for row, prompt in enumerate(PROMPTS):
        alone = pipe(prompt, latents=_noise(2)[row : row + 1], **SMALL).frames
        torch.testing.assert_close(together[row : row + 1], alone, atol=2e-5, rtol=0)
    assert (together[0] - together[1]).abs().max() > 0.01


def test_the_prompt_reaches_the_video(pipe: ShapesPipeline):
    first, second = (pipe(prompt, latents=_noise(1), **SMALL).frames for prompt in PROMPTS)
    assert (first - second).abs().max() > 1e-4


def test_every_output_type_shows_the_same_pixels(pipe: ShapesPipeline):
    call = {**SMALL, "latents": _noise(1)}
    tensor = pipe(PROMPTS[0], **call).frames
    array = pipe(PROMPTS[0], **{**call, "output_type": "np"}).frames
    images = pipe(PROMPTS[0], **{**call, "output_type": "pil"}).frames
    latents = pipe(PROMPTS[0], **{**call, "output_type": "latent"}, return_dict=False)[0]
    np.testing.assert_allclose(array, tensor.permute(0, 1, 3, 4, 2).numpy())
    assert np.abs(np.asarray(images[0][2]) / 255 - array[0, 2]).max() < 0.01
    decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor).sample
    torch.testing.assert_close((decoded / 2 + 0.5).clamp(0, 1).transpose(1, 2), tensor)


def test_guidance_computes_a_second_branch_against_the_empty_caption(pipe: ShapesPipeline):
    call = {**SMALL, "latents": _noise(1)}
    plain, guided = (pipe(PROMPTS[0], true_cfg_scale=scale, **call).frames for scale in (1.0, 3.0))
    assert not torch.equal(plain, guided)
    torch.testing.assert_close(guided, pipe(PROMPTS[0], "", true_cfg_scale=3.0, **call).frames)
    itself = pipe(PROMPTS[0], PROMPTS[0], true_cfg_scale=3.0, **call).frames
    torch.testing.assert_close(itself, plain, atol=1e-5, rtol=0)


def test_embeddings_may_replace_the_prompt(pipe: ShapesPipeline):
    embeds, pooled, mask = pipe.encode_prompt(PROMPTS[:1])
    given = {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled, "prompt_attention_mask": mask}
    call = {**SMALL, "latents": _noise(1)}
    torch.testing.assert_close(pipe(**given, **call).frames, pipe(PROMPTS[0], **call).frames)
    many = {key: value.repeat_interleave(2, 0) for key, value in given.items()}
    assert len(pipe(**many, **SMALL).frames) == 2
    with pytest.raises(PromptError, match="pass all three"):
        pipe(prompt_embeds=embeds, **call)


def test_several_videos_per_prompt_keep_prompts_together(pipe: ShapesPipeline):
    embeds, pooled, mask = pipe.encode_prompt(PROMPTS, num_videos_per_prompt=2)
    once = pipe.encode_prompt(PROMPTS)
    assert torch.equal(embeds[1], once[0][0])
    assert torch.equal(embeds[2], once[0][1])
    assert pooled.shape[0] == mask.shape[0] == 4


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"prompt": "a purple dog"}, PromptError, "'purple' .near: .*'dog'"),
        ({"prompt": [PROMPTS[0], "a red cat"]}, PromptError, "'cat'"),
        ({"prompt": []}, PromptError, "non-empty"),
        ({"prompt": PROMPTS[0], "negative_prompt": "ugly", "true_cfg_scale": 2.0}, PromptError, "'ugly'"),
        (
            {"prompt": PROMPTS[0], "negative_prompt": ["", ""], "true_cfg_scale": 2.0},
            PromptError,
            "one per prompt",
        ),
        ({"prompt": PROMPTS[0], "prompt_2": "a"}, PromptError, "one text encoder"),
        ({"prompt": PROMPTS[0], "height": 30}, ShapeError, "height=30"),
        ({"prompt": PROMPTS[0], "width": 33}, ShapeError, "width=33"),
        ({"prompt": PROMPTS[0], "num_frames": 0}, ShapeError, "num_frames=0"),
        ({"prompt": PROMPTS[0], "num_inference_steps": 0}, ShapeError, "num_inference_steps=0"),
    ],
)
def test_bad_calls_are_refused_before_the_transformer_runs(
    pipe: ShapesPipeline, monkeypatch: pytest.MonkeyPatch, arguments: dict, error: type, message: str
):
    monkeypatch.setattr(pipe.transformer, "forward", lambda **_: pytest.fail("the transformer ran"))
    with pytest.raises(error, match=message):
        pipe(**arguments)


def test_saved_and_loaded_pipelines_make_the_same_video(pipe: ShapesPipeline, tmp_path: Path):
    pipe.save_pretrained(tmp_path)
    index = json.loads((tmp_path / "model_index.json").read_text())
    assert index["vae"] == ["videosieve.shapes.codec", "ShapesCodec"]
    assert index["text_encoder"] == ["videosieve.shapes.text", "ShapesTextEncoder"]
    for loaded in (load_shapes(tmp_path), ShapesPipeline.from_pretrained(tmp_path)):
        loaded.set_progress_bar_config(disable=True)
        call = {**SMALL, "latents": _noise(1)}
        made, wanted = (each(PROMPTS[0], **call).frames for each in (loaded, pipe))
        torch.testing.assert_close(made, wanted, atol=1e-5, rtol=0)
        for name in ("transformer", "text_encoder"):
            original = getattr(pipe, name).state_dict()
            for key, value in getattr(loaded, name).state_dict().items():
                assert torch.equal(value, original[key]), key


def test_load_shapes_names_what_is_missing(pipe: ShapesPipeline, tmp_path: Path):
    with pytest.raises(ModelError, match="no shapes model 'shapes-xxl'"):
        load_shapes("shapes-xxl")
    pipe.save_pretrained(tmp_path)
    weights = tmp_path / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ModelError, match="not a complete shapes model"):
        load_shapes(tmp_path)
    index = tmp_path / "model_index.json"
    right = index.read_text()
    index.write_text(right.replace("ShapesPipeline", "WanPipeline"))
    with pytest.raises(ModelError, match="holds a WanPipeline"):
        load_shapes(tmp_path)
    index.write_text(right[:50])
    with pytest.raises(ModelError, match="not a complete shapes model"):
        load_shapes(tmp_path)
    index.write_text(right)
    weights.unlink()
    with pytest.raises(ModelError, match="not a complete shapes model"):
        load_shapes(tmp_path)
