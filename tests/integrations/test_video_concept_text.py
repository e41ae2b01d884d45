"""Where a concept's own tokens stand: every video pipeline's own encode_prompt, with tiny text encoders."""

import sys
from typing import Any

import diffusers
import pytest
import torch

from videosieve.errors import IntegrationError, PromptError
from videosieve.integrations.diffusers import saliency
from videosieve.integrations.diffusers.concepts.families import CONCEPT_FAMILIES
from videosieve.integrations.diffusers.concepts.text import encode_concepts
from videosieve.testing.models import CASES, easyanimate, framepack, helios, hunyuanvideo15, ltx, mochi, motif
from videosieve.testing.models.pipelines.prompted import (
    PROMPTED,
    Processor,
    chat_tokenizer,
    chronoedit,
    llama,
    t5,
)
from videosieve.testing.models.pipelines.usual import PassingChecker
from videosieve.testing.models.pipelines.usual import cosmos_25 as usual_cosmos_25
from videosieve.testing.pipelines import clip_text, tokenizer

LENGTH = {"max_sequence_length": 24}


def build(cls, transformer, **parts):
    """A pipeline without what encoding a prompt never asks for."""
    flow = diffusers.FlowMatchEulerDiscreteScheduler()
    given: dict[str, Any] = {
        "transformer": transformer,
        "vae": None,
        "scheduler": flow,
        "tokenizer": tokenizer(),
    }
    given |= {"text_encoder": t5()} | parts
    return getattr(diffusers, cls)(**given)


def hunyuanvideo_15():
    pipe = hunyuanvideo15.tiny_pipeline()
    pipe.register_modules(
        text_encoder=llama(), tokenizer=chat_tokenizer(), text_encoder_2=t5(12), tokenizer_2=tokenizer()
    )
    pipe.system_message, pipe.prompt_template_encode_start_idx, pipe.tokenizer_max_length = (
        "the sun sleeps",
        3,
        16,
    )
    return pipe


def framepack_pipeline():
    return build(
        "HunyuanVideoFramepackPipeline", framepack.build().transformer, text_encoder=llama(),
        text_encoder_2=clip_text(), tokenizer_2=tokenizer(), image_encoder=None, feature_extractor=None,
    )  # fmt: skip


def easyanimate_pipeline():
    pipe = build(
        "EasyAnimatePipeline",
        easyanimate.build().transformer,
        text_encoder=llama(),
        tokenizer=chat_tokenizer("left"),
    )
    pipe.enable_text_attention_mask = True
    return pipe


def ltx2(registers=4):
    from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors

    one = {
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "num_layers": 1,
        "num_learnable_registers": registers,
    }
    sizes = {f"{kind}_connector_{name}": value for kind in ("video", "audio") for name, value in one.items()}
    connectors = LTX2TextConnectors(
        caption_channels=16, text_proj_in_factor=5, connector_rope_base_seq_len=32, **sizes
    )
    return build(
        "LTX2Pipeline", ltx.ltx2().model, text_encoder=llama(), audio_vae=None, connectors=connectors.eval(),
        vocoder=None,
    )  # fmt: skip


def cosmos_25():
    pipe, _ = usual_cosmos_25()
    pipe.register_modules(text_encoder=llama(), tokenizer=chat_tokenizer("left"))
    return pipe


def kandinsky_5():
    pipe = build(
        "Kandinsky5T2VPipeline", CASES["kandinsky 5"].build().transformer.float(), text_encoder=llama(),
        text_encoder_2=clip_text(), tokenizer_2=tokenizer(),
    )  # fmt: skip
    pipe.prompt_template, pipe.prompt_template_encode_start_idx = "the sun {} sleeps", 2
    pipe.tokenizer = Processor()
    return pipe


def usual(cls, name, **parts):
    return lambda: build(cls, CASES[name].build().transformer.float(), **parts)


# how a pipeline is built, arguments, and whether a token has read only what stands before it
PIPELINES = {
    **{
        name: (case.cls, lambda case=case: case.build()[0], LENGTH, name == "kandinsky 6")
        for name, case in PROMPTED.items()
    },
    "hunyuanvideo 1.5": ("HunyuanVideo15Pipeline", hunyuanvideo_15, {}, True),
    "framepack": (
        "HunyuanVideoFramepackPipeline",
        framepack_pipeline,
        {"prompt_template": {"template": "the sun {} sleeps", "crop_start": 2}, "max_sequence_length": 16},
        True,
    ),
    "motif": (
        "MotifVideoPipeline",
        lambda: build(
            "MotifVideoPipeline",
            motif.build().transformer,
            tokenizer=chat_tokenizer("left"),
            feature_extractor=None,
            guider=diffusers.ClassifierFreeGuidance(),
        ),
        LENGTH,
        False,
    ),
    "mochi": ("MochiPipeline", lambda: build("MochiPipeline", mochi.tiny_transformer()), LENGTH, False),
    "easyanimate": ("EasyAnimatePipeline", easyanimate_pipeline, LENGTH, True),
    "ltx": ("LTXPipeline", lambda: build("LTXPipeline", ltx.ltx().model), LENGTH, False),
    "ltx 2": ("LTX2Pipeline", ltx2, LENGTH, False),
    "ltx 2 without registers": ("LTX2Pipeline", lambda: ltx2(None), LENGTH, False),
    "cosmos": (
        "CosmosTextToWorldPipeline",
        usual("CosmosTextToWorldPipeline", "cosmos", safety_checker=PassingChecker()),
        LENGTH,
        False,
    ),
    "cosmos 2.5": ("Cosmos2_5_PredictBasePipeline", cosmos_25, LENGTH, True),
    "kandinsky 5": ("Kandinsky5T2VPipeline", kandinsky_5, LENGTH, True),
    "allegro": ("AllegroPipeline", usual("AllegroPipeline", "allegro"), LENGTH, False),
    "skyreels": ("SkyReelsV2Pipeline", usual("SkyReelsV2Pipeline", "skyreels"), LENGTH, False),
    "wan vace": ("WanVACEPipeline", usual("WanVACEPipeline", "wan vace"), LENGTH, False),
    "helios": ("HeliosPipeline", lambda: build("HeliosPipeline", helios.build().transformer), LENGTH, False),
}


@pytest.fixture(autouse=True)
def short_template(monkeypatch):
    """Kandinsky 6 has its template in its module, with a crop that counts Qwen's tokens."""
    if hasattr(diffusers, "Kandinsky6TI2VAPipeline"):
        module = sys.modules[diffusers.Kandinsky6TI2VAPipeline.__module__]
        monkeypatch.setattr(module, "_PROMPT_TEMPLATE", "the sun {} sleeps")
        monkeypatch.setattr(module, "_QWEN_CROP_START", 2)


pytestmark = pytest.mark.filterwarnings("ignore:__array")  # Helios hands tensors to numpy


@pytest.mark.parametrize("name", PIPELINES)
def test_a_concepts_own_tokens_are_found(name):
    """Whatever template and padding: the place holds the token's own embedding, and another word changes it."""
    cls, make, options, causal = PIPELINES[name]
    if not hasattr(diffusers, cls):
        pytest.skip(f"diffusers {diffusers.__version__} has no {cls}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe = make()
    cat, dog, both = (encode_concepts(pipe, (word,), "mean", options) for word in ("cat", "dog", "red cat"))
    assert torch.equal(cat.weights, dog.weights)
    assert cat.embeds.shape[:2] == cat.mask.shape == cat.weights.shape
    place = int(cat.weights[0].argmax())
    changed = (cat.embeds - dog.embeds).abs().amax(-1)[0] > 1e-6
    assert changed[place]
    assert cat.mask[0, place]
    if causal:  # nothing before it has read it
        assert not changed[:place].any()
    two = both.weights[0].nonzero().flatten()
    assert len(two) == 2
    assert two[1] == two[0] + 1
    with pytest.raises(PromptError, match="has no token in the model's vocabulary"):
        encode_concepts(pipe, ("cat", "qqq"), "mean", options)


@pytest.mark.filterwarnings("ignore:In CPU autocast")  # Mochi asks for it in fp32
def test_items_that_are_attended_one_by_one_are_told_apart():
    """Mochi under guidance: at step 0 the conditional item is all that an unguided run computes."""
    pipe = mochi.tiny_pipeline()
    pipe.register_modules(text_encoder=t5(), tokenizer=tokenizer())
    call = {
        "height": 80,
        "width": 64,
        "num_frames": 13,
        "num_inference_steps": 3,
        "output_type": "latent",
        **LENGTH,
    }
    maps, videos = {}, {}
    for scale in (3.0, 1.0):
        given = call | {"guidance_scale": scale, "generator": torch.Generator().manual_seed(0)}
        found = saliency(pipe, "a red cat", ["cat", "red dog", "sea"], steps=[0], **given)
        assert found.steps == (0,)
        maps[scale] = found.maps
        given["generator"].manual_seed(0)
        videos[scale] = pipe(prompt="a red cat", **given).frames
    torch.testing.assert_close(maps[3.0], maps[1.0], rtol=1e-4, atol=1e-5)
    assert not torch.equal(videos[3.0], videos[1.0])


def framepack_run(**changes):
    pipe = framepack.tiny_pipeline()
    pipe.register_modules(
        text_encoder=llama(12), tokenizer=tokenizer(), text_encoder_2=clip_text(), tokenizer_2=tokenizer()
    )
    call = framepack.pipeline_call() | {"output_type": "pt", "max_sequence_length": 16, **changes}
    call |= {"prompt_template": {"template": "{}", "crop_start": 0}}
    call = {key: value for key, value in call.items() if "embeds" not in key and "attention_mask" not in key}
    return saliency(pipe, "a red cat", ["cat", "sea"], **call)


def test_a_video_that_is_made_piece_by_piece_is_refused():
    with pytest.raises(IntegrationError, match="piece by piece.*ask for fewer frames"):
        framepack_run()


def test_framepacks_own_picture_has_no_tokens():
    found = framepack_run(num_frames=9)
    assert found.maps.shape[1] == 3
    assert found.frame_of == (0, *[0] * 4, *[1] * 4, *[2] * 4)[: len(found.video)]
    assert found.upsample().shape[1] == len(found.video)


@pytest.mark.parametrize("name", PROMPTED)
def test_a_prompt_goes_all_the_way_to_maps(name):
    """The pipeline's own text, templates and pictures, generation and decoding: the same bits as without."""
    case = PROMPTED[name]
    if not case.is_there:
        pytest.skip(f"diffusers {diffusers.__version__} has no {case.cls}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe, call = case.build()
    noises = []
    pipe.transformer.register_forward_hook(lambda module, args, output: noises.append(output[0].clone()))
    pipe(prompt="a red cat", **call)
    untouched, noises[:] = list(noises), []
    call["generator"].manual_seed(0)
    method = "concept" if type(pipe.transformer).__name__ in CONCEPT_FAMILIES else "cross_attention"
    found = saliency(pipe, "a red cat", ["cat", "red dog", "sea"], method=method, steps=[1], **call)
    assert all(torch.equal(one, other) for one, other in zip(noises, untouched, strict=True))
    if found.video is not None:
        assert len(found.frame_of) == len(found.video)
        assert max(found.frame_of) == found.maps.shape[1] - 1
    assert found.maps.shape[2:] == (4, 6)
    torch.testing.assert_close(found.maps.sum(0), torch.ones_like(found.maps[0]))
    assert found.maps.flatten(1).std(1).min() > 1e-6
    if name == "wan animate":  # the first token frame is the reference
        assert (found.maps.shape[1], min(found.frame_of)) == (4, 1)
    if name == "kandinsky 6":
        call["generator"].manual_seed(0)
        other = saliency(pipe, "a red cat", ["dog", "red dog", "sea"], method=method, steps=[1], **call)
        assert not torch.allclose(other.maps[0], found.maps[0], atol=1e-7)
    if method == "cross_attention":
        with pytest.raises(IntegrationError, match="Use method='cross_attention'"):
            saliency(pipe, "a red cat", ["cat", "sea"], **call)


def test_maps_of_a_pipeline_that_drops_frames_are_those_of_the_frames_that_stay():
    """ChronoEdit: three frames of tokens in the two steps of reasoning, two afterwards."""
    if not PROMPTED["chronoedit"].is_there:
        pytest.skip(f"diffusers {diffusers.__version__} has no ChronoEditPipeline")
    pipe, call = chronoedit(reasoning=2)
    look = {"prompt": "a red cat", "concepts": ["cat", "sea"], "method": "cross_attention", **call}
    found = saliency(pipe, steps=[2, 3], **look)
    assert found.maps.shape[1] == 2
    assert (found.frame_of, len(found.video)) == ((0, 1, 1, 1, 1), 5)
    with pytest.raises(IntegrationError, match=r"goes on with 2×4×6 tokens instead of 3×4×6 at step 2"):
        saliency(pipe, steps=[1, 2], **look)
    with pytest.raises(IntegrationError, match=r"ends with 2×4×6 tokens.*3×4×6.*choose later steps"):
        saliency(pipe, steps=[1], **look)


REFUSED = {
    "consisid": "continues an image",
    "wan animate": "continues an image",
    "chronoedit": "continues an image",
    "allegro": "has no VAE that encodes videos",
    "cosmos 1": "has no VAE that encodes videos",
    "helios": "HeliosScheduler does not; HeliosPipeline can only generate",
}


@pytest.mark.parametrize("name", PROMPTED)
def test_a_given_video_lies_where_the_pipeline_has_its_latents(name):
    """Whatever the axes, and with conditions behind its channels: one forward, unguided; or it says why not."""
    case = PROMPTED[name]
    if not case.is_there:
        pytest.skip(f"diffusers {diffusers.__version__} has no {case.cls}")
    pipe, call = case.build()
    inputs = []
    pipe.transformer.register_forward_hook(lambda *seen: inputs.append(seen))
    left = ("height", "width", "num_frames", "output_type", "num_inference_steps")
    call = {key: value for key, value in call.items() if key not in left}
    method = "concept" if type(pipe.transformer).__name__ in CONCEPT_FAMILIES else "cross_attention"
    look = {
        "method": method,
        "video": torch.rand(9, 3, 64, 96),
        "num_inference_steps": 4,
        "steps": [1],
        **call,
    }
    if name in REFUSED:
        with pytest.raises(IntegrationError, match=REFUSED[name]):
            saliency(pipe, "a red cat", ["cat", "sea"], **look)
        return
    found = saliency(pipe, "a red cat", ["cat", "sea"], **look)
    assert found.maps.shape == (2, 3, 4, 6)
    assert found.frame_of == (0, 1, 1, 1, 1, 2, 2, 2, 2)
    assert torch.equal(found.video, look["video"])
    assert len(inputs) == 1


def test_pipelines_name_what_their_vae_packs_each_in_its_way():
    """Mochi packs six frames, LTX eight; what covers a video frame follows from that."""
    from videosieve.integrations.diffusers.clips import frame_of
    from videosieve.layout import Grid
    from videosieve.testing.models.pipelines.ltx import tiny_ltx

    assert frame_of(mochi.tiny_pipeline(), 13, Grid(3, 5, 4)) == (0, *[1] * 6, *[2] * 6)
    assert frame_of(tiny_ltx(), 17, Grid(3, 2, 3)) == (0, *[1] * 8, *[2] * 8)
