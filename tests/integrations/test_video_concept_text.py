"""Where a concept's own tokens stand: every video pipeline's own encode_prompt, with tiny text encoders."""

from typing import Any

import diffusers
import pytest
import torch
from transformers import LlamaConfig, LlamaModel, T5Config, T5EncoderModel

from videosieve.errors import IntegrationError, PromptError
from videosieve.integrations.diffusers import saliency
from videosieve.integrations.diffusers.concepts.text import encode_concepts
from videosieve.testing.models import CASES, easyanimate, framepack, helios, hunyuanvideo15, ltx, mochi, motif
from videosieve.testing.models.pipelines.usual import PassingChecker
from videosieve.testing.models.pipelines.usual import cosmos_25 as usual_cosmos_25
from videosieve.testing.pipelines import T5_SIZES, clip_text, tokenizer

CHAT = (
    "{% for one in messages %}{{ one.content if one.content is string else one.content[0].text }} {% endfor %}"
    "{% if add_generation_prompt %}over the{% endif %}"
)
LENGTH = {"max_sequence_length": 24}


def t5(channels=16):
    return T5EncoderModel(T5Config(**T5_SIZES | {"d_model": channels})).eval()


def llama(channels=16, layers=4):
    config = LlamaConfig(
        vocab_size=32, hidden_size=channels, intermediate_size=32, num_hidden_layers=layers, num_attention_heads=2,
        max_position_embeddings=1200, pad_token_id=0, eos_token_id=1, bos_token_id=3,
    )  # fmt: skip
    return LlamaModel(config).eval()


def chat_tokenizer(side="right"):
    made = tokenizer()
    made.chat_template, made.padding_side = CHAT, side
    return made


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
    original = pipe.tokenizer  # a processor, which takes pictures too

    class Processor:
        tokenizer = original

        def __call__(self, text, images=None, videos=None, **options):
            return original(text, **options)

        def __getattr__(self, name):
            return getattr(original, name)

    pipe.tokenizer = Processor()
    return pipe


def usual(cls, name, **parts):
    return lambda: build(cls, CASES[name].build().transformer.float(), **parts)


# how a pipeline is built, arguments, and whether a token has read only what stands before it
PIPELINES = {
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
