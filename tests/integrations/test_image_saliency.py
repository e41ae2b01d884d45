"""saliency on every image family: the image keeps its bits, and the maps are what the model's own blocks give."""

import inspect

import diffusers
import pytest
import torch
import torch.nn.functional as F

import videosieve
from videosieve import SaliencyMethod
from videosieve.errors import IntegrationError, OutputError, PromptError, ShapeError
from videosieve.integrations.diffusers import describe, saliency
from videosieve.integrations.diffusers.concepts import memory
from videosieve.integrations.diffusers.concepts.recorder import ConceptRecorder
from videosieve.integrations.diffusers.concepts.saliency import make_question
from videosieve.integrations.diffusers.concepts.text import encode_concepts
from videosieve.integrations.diffusers.models import IMAGES
from videosieve.integrations.diffusers.watch import watch
from videosieve.testing.models.pipelines.images import GRID, HEIGHT, IMAGE_CASES, WIDTH

WORDS = ["cat", "red dog", "sea"]
TOKENS = GRID[0] * GRID[1]


def case_of(name):
    found = IMAGE_CASES[name]
    if not found.is_there:
        pytest.skip(f"diffusers {diffusers.__version__} has no {found.cls}")
    return found


@pytest.fixture(params=IMAGE_CASES)
def case(request):
    return case_of(request.param)


def look(case, pipe, concepts=WORDS, prompt="a red cat runs", call=None, **options):
    arguments = case.arguments(**(call or {}))
    arguments.pop("prompt")
    return saliency(pipe, prompt, concepts, **options, **arguments)


def hooks_of(pipe):
    modules = list(pipe.transformer.modules())
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


def test_every_row_has_a_pipeline_here():
    classes = {type(case.make().transformer).__name__ for case in IMAGE_CASES.values() if case.is_there}
    assert classes == {name for name in IMAGES if hasattr(diffusers, name)}


def test_the_image_keeps_its_bits_and_nothing_stays_behind(case, tmp_path):
    pipe = case.make()
    untouched = pipe(**case.arguments()).images
    (target,) = describe(pipe, images=True)
    before, hooks = [module.processor for module in target.attentions.values()], hooks_of(pipe)
    found = look(case, pipe)
    assert torch.equal(found.image, untouched[0])
    assert [module.processor for module in target.attentions.values()] == before
    assert hooks_of(pipe) == hooks
    assert found.maps.shape == (3, *GRID)
    torch.testing.assert_close(found.maps.sum(0), torch.ones(GRID))
    assert found.maps.flatten(1).std(1).min() > 1e-4  # no flat map
    assert found.upsample().shape == (3, HEIGHT, WIDTH)
    assert found.masks("mean").shape == found.masks().shape == (3, *GRID)
    assert torch.equal(found.masks().sum(0), torch.ones(GRID, dtype=torch.long))
    assert found.overlay(concept="sea").shape == (1, 3, HEIGHT, WIDTH)
    found.save(tmp_path / "maps.png")
    back = videosieve.SaliencyMaps.load(found.save(tmp_path / "maps.safetensors"))
    assert torch.equal(back.maps, found.maps)
    assert torch.equal(back.image, found.image)
    with pytest.raises(OutputError, match="an image is written as .safetensors or .png"):
        found.save(tmp_path / "maps.mp4")


def bound(module, args, kwargs):
    return inspect.signature(type(module).forward).bind(module, *args, **kwargs).arguments


def record_blocks(pipe, call, monkeypatch):
    """Of a one-step generation: the arguments of every block, and the output of its first attention [heads, S, D]."""
    (target,) = describe(pipe, images=True)
    blocks = [target.transformer.get_submodule(name.rpartition(".")[0]) for name in target.attentions]
    seen = []
    handles = [
        block.register_forward_pre_hook(
            lambda module, args, kwargs: seen.append((module, dict(bound(module, args, kwargs)), [])),
            with_kwargs=True,
        )
        for block in blocks
    ]
    with recording(monkeypatch, lambda output: seen and seen[-1][2].append(output)):
        pipe(**call)
    for handle in handles:
        handle.remove()
    return [(module, arguments, outputs[0]) for module, arguments, outputs in seen]


class recording:
    """Every result of torch's attention is handed to `note`."""

    def __init__(self, monkeypatch, note):
        self.patch, self.note = monkeypatch, note

    def __enter__(self):
        original = F.scaled_dot_product_attention

        def noted(*args, **kwargs):
            output = original(*args, **kwargs)
            self.note(output[0].clone())
            return output

        self.context = self.patch.context()
        self.context.__enter__().setattr(F, "scaled_dot_product_attention", noted)

    def __exit__(self, *error):
        self.context.__exit__(*error)


def identity_before(turns, count):
    """Flux: cosines and sines of concepts at place 0, before those of the image."""
    return tuple(
        torch.cat([torch.full_like(one[:count], fill), one[-TOKENS:]])
        for one, fill in zip(turns, (1.0, 0.0), strict=True)
    )


def second_call(name, module, arguments, concepts, monkeypatch):
    """The block once more with concepts in the text slot; returns them after it, and what they attended to."""
    given = {key: value for key, value in arguments.items() if key != "self"}
    count = concepts.shape[1]
    if name in ("flux", "flux2", "chroma"):
        given["image_rotary_emb"] = identity_before(given["image_rotary_emb"], count)
        given["attention_mask"] = None
    if name == "qwen":
        image, text = given["image_rotary_emb"]
        given["image_rotary_emb"] = image, text[:1].expand(count, -1)
        given["encoder_hidden_states_mask"] = None
    if name == "hunyuanimage":
        given["attention_mask"] = None
    text_first = name in ("flux", "flux2", "chroma", "qwen")
    joined = name == "z-image" or given.get("encoder_hidden_states") is None
    if joined:
        key = "x" if name == "z-image" else "hidden_states"
        image = given[key][:, :TOKENS] if name == "z-image" else given[key][:, -TOKENS:]
        given[key] = torch.cat([concepts, image] if text_first else [image, concepts], 1)
        if name == "z-image":
            turns = given["freqs_cis"]
            first = turns[:, TOKENS + -TOKENS % 32][:, None]  # of a caption
            given |= {
                "freqs_cis": torch.cat([turns[:, :TOKENS], first.expand(-1, count, -1)], 1),
                "attn_mask": None,
            }
    else:
        given["encoder_hidden_states"] = concepts
    given = {
        key: value
        for key, value in given.items()
        if key in inspect.signature(type(module).forward).parameters
    }
    outputs = []
    with torch.no_grad(), recording(monkeypatch, outputs.append):
        after = module(**given)
    attended = outputs[0][:, :count] if text_first else outputs[0][:, TOKENS:]
    if joined:
        after = after[:, :count] if text_first else after[:, TOKENS:]
    else:
        after = next((one for one in after if one is not None and one.shape[1] == count), None)
    return after, attended


@pytest.mark.parametrize("name", IMAGE_CASES)
def test_maps_equal_a_second_call_of_every_block_with_concepts_in_the_text_slot(name, monkeypatch):
    case = case_of(name)
    pipe = case.make()
    if name == "hunyuanimage":
        pipe.guider = None
    if name in ("flux", "sd3"):  # without a pooled prompt both calls of a block are modulated alike
        embed = pipe.transformer.time_text_embed
        embed.text_embedder.register_forward_pre_hook(lambda module, args: (torch.zeros_like(args[0]),))
    call = case.arguments(num_inference_steps=1, **case.plain)
    question = make_question(WORDS, SaliencyMethod(keep="layers"), None, [0])
    blocks = record_blocks(pipe, call, monkeypatch)
    call = case.arguments(num_inference_steps=1, **case.plain)
    with watch(pipe, images=True) as run, ConceptRecorder(pipe, run, question, call) as recorder:
        pipe(**call)
        probe = recorder._probes["transformer"]
        with torch.no_grad():
            concepts = probe._family.embed(
                probe._transformer, probe._text, probe._take_one(probe._arguments, 0)
            )
    found = recorder.result()
    assert len(found.parts) == len(blocks) == len(describe(pipe, images=True)[0].attentions)
    for layer, (module, arguments, output) in enumerate(blocks):
        image = output[:, -TOKENS:] if name in ("flux", "flux2", "chroma", "qwen") else output[:, :TOKENS]
        concepts, attended = second_call(name, module, arguments, concepts, monkeypatch)
        expected = torch.einsum("hnd,hrd->rn", image, attended).softmax(0)
        torch.testing.assert_close(found.parts[(layer,)].flatten(1), expected, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", IMAGE_CASES)
def test_concepts_enter_as_the_tokens_of_their_own_prompt(name, monkeypatch):
    """The text stream of a generation whose prompt is the concept, pooled over the concept's own tokens."""
    case = case_of(name)
    pipe = case.make()
    if name == "hunyuanimage":
        pipe.guider = None
    options = {
        key: value for key, value in case.call.items() if key == "max_sequence_length" or "layers" in key
    }
    question = make_question(WORDS, steps=[0])
    call = case.arguments(num_inference_steps=1, **case.plain)
    with watch(pipe, images=True) as run, ConceptRecorder(pipe, run, question, call) as recorder:
        pipe(**call)
        probe = recorder._probes["transformer"]
        with torch.no_grad():
            own = probe._family.embed(probe._transformer, probe._text, probe._take_one(probe._arguments, 0))[
                0
            ]
    for number, word in enumerate(WORDS):
        alone = case.arguments(num_inference_steps=1, **case.plain) | {"prompt": word}
        (_, first, _), *_ = record_blocks(pipe, alone, monkeypatch)
        text = encode_concepts(pipe, (word,), "auto", options)
        stream = (
            first["x"][:, TOKENS + -TOKENS % 32 :] if name == "z-image" else first["encoder_hidden_states"]
        )
        places = text.weights[0].nonzero().flatten()
        expected = (stream[0, places] * text.weights[0, places, None]).sum(0)
        torch.testing.assert_close(own[number], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", IMAGE_CASES)
def test_a_concepts_own_tokens_are_found_in_every_template(name):
    """Whatever the template and the side of the padding: another word changes the embedding at the place of it."""
    case = case_of(name)
    pipe = case.make()
    options = {
        key: value for key, value in case.call.items() if key == "max_sequence_length" or "layers" in key
    }
    text, other = (encode_concepts(pipe, (word,), "first", options) for word in ("cat", "dog"))
    assert torch.equal(text.weights, other.weights)
    changed = (text.embeds - other.embeds).abs().amax(-1)[0] > 1e-6
    first = int(text.weights[0].argmax())
    assert changed[first]
    if type(pipe.text_encoder).__name__.startswith("Llama"):  # causal: nothing before it has read it
        assert not changed[:first].any()


@pytest.mark.parametrize("name", [name for name in IMAGE_CASES if name not in ("flux2", "hunyuanimage")])
def test_guidance_is_looked_at_in_its_conditional_branch(name):
    # At step 0 nothing has been guided yet, so the conditional branch is all that an unguided run computes.
    case = case_of(name)
    pipe = case.make()
    guided, plain = look(case, pipe, steps=[0]), look(case, pipe, steps=[0], call=case.plain)
    torch.testing.assert_close(guided.maps, plain.maps, rtol=1e-4, atol=1e-5)
    assert not torch.equal(guided.image, plain.image)


def test_a_guider_is_looked_at_in_its_conditional_branch():
    case = case_of("hunyuanimage")
    pipe = case.make()
    guided = look(case, pipe, steps=[0])
    pipe.guider = None
    plain = look(case, pipe, steps=[0])
    torch.testing.assert_close(guided.maps, plain.maps, rtol=1e-4, atol=1e-5)
    assert not torch.equal(guided.image, plain.image)


def test_a_given_image_is_seen_at_the_noise_level_of_its_step(case):
    pipe = case.make()
    image, inputs = pipe(**case.arguments()).images[0], []
    (target,) = describe(pipe, images=True)
    handle = pipe.transformer.register_forward_hook(
        lambda module, args, kwargs, output: inputs.append(bound(module, args, kwargs)), with_kwargs=True
    )
    changes = dict.fromkeys(("height", "width", "output_type", "prompt"))
    found = {}
    for step in (0, 2):
        call = {key: value for key, value in case.arguments().items() if key not in changes}
        call |= {"generator": torch.Generator().manual_seed(3), "picture": image}
        found[step] = saliency(pipe, "a red cat", WORDS, steps=[step], **call)
        assert found[step].steps == (step,)
    handle.remove()
    assert len(inputs) == 2  # one forward per step, unguided
    latents = [one[target.row.latents] for one in inputs]
    early, late = (torch.stack(one)[0] if isinstance(one, list) else one for one in latents)
    noise = torch.randn(early.shape, generator=torch.Generator().manual_seed(3))
    # step 0 of a flow is noise alone; at the others the same clean latents shine through
    torch.testing.assert_close(early.reshape(noise.shape), noise)
    times = pipe.scheduler.timesteps
    share = float(times[0]) / 1000
    clean = (late - share * noise) / (1 - share)
    assert clean.std() > 0.01
    assert torch.equal(found[2].image, image)
    assert not torch.allclose(found[0].maps, found[2].maps, atol=1e-6)
    assert torch.equal(pipe(**case.arguments()).images[0], image)


def test_pictures_to_go_by_are_no_part_of_the_map():
    """Flux.2 with a reference: its tokens stand behind those of the image."""
    from PIL import Image

    case = case_of("flux2")
    pipe = case.make()
    reference = Image.effect_noise((64, 64), 80).convert("RGB")
    found = look(case, pipe, call={"image": reference})
    assert found.maps.shape == (3, *GRID)
    assert torch.equal(found.image, pipe(**case.arguments(image=reference)).images[0])


def test_sparse_attention_says_what_the_model_is(case):
    pipe = case.make()
    name = type(pipe.transformer).__name__
    with pytest.raises(
        IntegrationError, match=rf"{name} \({IMAGES[name].family}\) makes images.*does not apply"
    ):
        videosieve.sparsify(pipe, "svg")
    with pytest.raises(IntegrationError, match="makes images"):
        look(case, pipe, recipe="svg")


BAD = {
    "no vocabulary": (
        {"concepts": ["qqq", "cat"]},
        PromptError,
        "'qqq' has no token in the model's vocabulary",
    ),
    "the same tokens": (
        {"concepts": ["cat qqq", "cat zzz"]},
        PromptError,
        "are the same tokens to this model",
    ),
    "too long": (
        {"concepts": ["red " * 20, "cat"]},
        PromptError,
        "must fit into the model's text of 16 tokens",
    ),
    "a video": (
        {"call": {"video": torch.rand(5, 3, 16, 24)}},
        IntegrationError,
        "which have no video; leave that out",
    ),
    "frames": ({"call": {"num_frames": 5}}, IntegrationError, "which have no num_frames"),
    "another size": ({"call": {"picture": torch.rand(3, 18, 24)}}, ShapeError, "multiples of 4 pixels"),
    "a picture of frames": (
        {"call": {"picture": torch.rand(1, 3, 16, 24)}},
        ShapeError,
        r"got \[1, 3, 16, 24\]",
    ),
    "cross-attention": (
        {"method": "cross_attention", "layers": [9]},
        IntegrationError,
        "there are 4 self-attentions",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_refused_and_change_nothing(name):
    options, error, message = BAD[name]
    case = IMAGE_CASES["flux"]
    pipe = case.make()
    hooks = hooks_of(pipe)
    with pytest.raises(error, match=message):
        look(case, pipe, **options)
    assert hooks_of(pipe) == hooks


def test_more_concepts_than_memory_allows_are_refused_at_once(monkeypatch):
    """Two heads' scores and weights, and the sums of the mean and of four layers, open and closed: 4 + 10 numbers."""
    case = IMAGE_CASES["flux"]
    pipe = case.make()
    needed = 4 * len(WORDS) * TOKENS * (2 * 2 + 2 * 5)
    method = SaliencyMethod(keep="layers")
    monkeypatch.setattr(memory, "free_bytes", lambda device: needed)
    look(case, pipe, method=method)
    monkeypatch.setattr(memory, "free_bytes", lambda device: needed - 1)
    hooks = hooks_of(pipe)
    with pytest.raises(
        IntegrationError, match="saliency of 3 concepts over 24 tokens.*ask for fewer.*keep='mean'"
    ):
        look(case, pipe, method=method)
    assert hooks_of(pipe) == hooks


def test_free_memory_is_known_or_nobody_says():
    assert memory.free_bytes(torch.device("meta")) is None
    assert (memory.free_bytes(torch.device("cpu")) or 1) > 0
