"""saliency on every video family: the output keeps its bits, and the maps are what the model's own blocks give."""

import inspect

import diffusers
import pytest
import torch
import torch.nn.functional as F

from videosieve import SaliencyMethod
from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers import describe
from videosieve.integrations.diffusers.concepts.crossed import CROSS_FAMILIES, why_neither
from videosieve.integrations.diffusers.concepts.families import CONCEPT_FAMILIES
from videosieve.integrations.diffusers.concepts.recorder import ConceptRecorder
from videosieve.integrations.diffusers.concepts.saliency import make_question
from videosieve.integrations.diffusers.concepts.text_sources import SOURCES, TextSource
from videosieve.integrations.diffusers.models import IMAGES, MODELS
from videosieve.integrations.diffusers.watch import watch
from videosieve.testing.models import CASES as USUAL
from videosieve.testing.models import (
    cosmos3,
    easyanimate,
    framepack,
    helios,
    hunyuanvideo15,
    ltx,
    minimax_h3,
    mochi,
    motif,
)
from videosieve.testing.models.pipelines.stand_in import StandIn

pytestmark = pytest.mark.filterwarnings("ignore:In CPU autocast")  # Mochi asks for it in fp32
WORDS = ["cat", "red dog", "sea"]
FORWARDS = {
    "LTXVideoTransformer3DModel": (ltx.ltx, ltx.ltx_condition, ltx.ltx_window),
    "LTX2VideoTransformer3DModel": (ltx.ltx2, ltx.ltx2_keyframes),
    "MiniMaxH3Transformer3DModel": (minimax_h3.keyframe,),
    "Cosmos3OmniTransformer": (cosmos3.video,),
}


class Tiny:
    """A tiny transformer with one forward, whichever of the three kinds describes it."""

    def __init__(self, made):
        self.transformer = getattr(made, "transformer", None) or made.model
        self.arguments = getattr(made, "arguments", None) or made.inputs
        self._run = getattr(made, "run", None) or made
        if hasattr(made, "grid"):
            self.grid, self.before = made.grid, made.before
        else:
            layout = made.layout if hasattr(made, "layout") else made.layouts[0]
            grid, before = layout.grid, layout.video.start
            text = layout.segments[0].tokens if layout.segments[0].kind == "text" else 0
            self.grid, self.before = (grid.frames, grid.height, grid.width), before - text

    def __call__(self):
        output = self._run(**{key: value for key, value in self.arguments.items()})
        return output[0] if isinstance(output, list) else output


CASES = {name: (case.cls, case.build) for name, case in USUAL.items()}
for room in (mochi, motif, hunyuanvideo15, framepack, easyanimate, helios):
    CASES |= {name: (case.cls, case.build) for name, case in room.CASES.items()}
CASES |= {
    f"{make.__module__.rpartition('.')[2]} {make.__name__}": (cls, make)
    for cls, all_ in FORWARDS.items()
    for make in all_
}
JOINT = [name for name, case in CASES.items() if case[0] in CONCEPT_FAMILIES]
CROSS = [name for name, case in CASES.items() if case[0] in CROSS_FAMILIES]
ALL = [name for name in CASES if name in JOINT + CROSS]


class Scene:
    """A tiny transformer that is looked at during one forward."""

    def __init__(self, name, monkeypatch=None):
        self.cls, build = CASES[name]
        if not hasattr(diffusers, self.cls):
            pytest.skip(f"diffusers {diffusers.__version__} has no {self.cls}")
        self.tiny = Tiny(build())
        mask = getattr(SOURCES.get(self.cls), "mask", None)
        if monkeypatch is not None:  # whose template wants a chat, or whose text passes through connectors
            monkeypatch.setitem(SOURCES, self.cls, TextSource(mask=mask))
        self.pipe = StandIn(self.tiny.transformer, self.tiny.arguments, mask)
        self.method = "concept" if self.cls in CONCEPT_FAMILIES else "cross_attention"

    def look(self, concepts=WORDS, **options):
        method = SaliencyMethod(self.method, keep="layers", **options)
        question = make_question(concepts, method, None, [0])
        with watch(self.pipe) as run, ConceptRecorder(self.pipe, run, question) as recorder:
            recorder.label = 0
            self.output = self.tiny()
            self.probe = recorder._probes["transformer"]
            self.seen = recorder
            return recorder.result()


@pytest.fixture(params=ALL)
def scene(request, monkeypatch):
    return Scene(request.param, monkeypatch)


def test_every_class_has_a_method_or_a_reason():
    for name in MODELS:
        assert (
            name in CONCEPT_FAMILIES
            or name in CROSS_FAMILIES
            or MODELS[name].dense
            or "does not work" in why_neither(name)
        )
    assert set(CONCEPT_FAMILIES) | set(CROSS_FAMILIES) <= set(MODELS) | set(IMAGES)
    assert {CASES[name][0] for name in ALL} == (set(CONCEPT_FAMILIES) - set(IMAGES)) | set(CROSS_FAMILIES)


def test_the_output_keeps_its_bits(scene):
    untouched = scene.tiny()
    found = scene.look()
    assert torch.equal(scene.output, untouched)
    assert found.maps.shape == (3, *scene.tiny.grid)
    torch.testing.assert_close(found.maps.sum(0), torch.ones_like(found.maps[0]))
    assert found.maps.flatten(1).std(1).min() > 1e-5
    turned = scene.look([WORDS[i] for i in (2, 0, 1)])
    torch.testing.assert_close(turned.maps, found.maps[[2, 0, 1]], rtol=1e-5, atol=1e-6)


class Calls:
    """Everything that torch's attention is called with, and gives, while it is recorded."""

    def __init__(self, monkeypatch):
        self.patch, self.seen = monkeypatch, []

    def __enter__(self):
        original = F.scaled_dot_product_attention

        def noted(query, key, value, *args, **kwargs):
            output = original(query, key, value, *args, **kwargs)
            self.seen.append((query.detach().clone(), key.detach().clone(), output.detach().clone()))
            return output

        self.context = self.patch.context()
        self.context.__enter__().setattr(F, "scaled_dot_product_attention", noted)
        return self.seen

    def __exit__(self, *error):
        self.context.__exit__(*error)


def record(scene, names, monkeypatch):
    """The arguments of the modules with these names in one forward, and the attention calls inside of each."""
    recorded = []
    with Calls(monkeypatch) as calls:

        def before(module, args, kwargs):
            arguments = dict(inspect.signature(type(module).forward).bind(module, *args, **kwargs).arguments)
            arguments |= arguments.pop("kwargs", {})
            arguments.pop("self")
            recorded.append((module, arguments, len(calls)))

        modules = [scene.tiny.transformer.get_submodule(name) for name in names]
        handles = [m.register_forward_pre_hook(before, with_kwargs=True) for m in modules]
        scene.tiny()
        for handle in handles:
            handle.remove()
    return [(module, arguments, calls[first:]) for module, arguments, first in recorded]


def one(value, item, batch):
    return (
        value[item : item + 1]
        if isinstance(value, torch.Tensor) and len(value) == batch and value.ndim > 1
        else value
    )


def batch_of(scene):
    return len(scene.probe._arguments[MODELS[scene.cls].latents])


@pytest.mark.parametrize("name", JOINT)
def test_maps_equal_a_second_call_of_every_block_with_concepts_in_the_text_slot(name, monkeypatch):
    scene = Scene(name, monkeypatch)
    pooled = "pooled_projections" in scene.tiny.arguments
    if pooled:  # without a pooled prompt both calls of a block are modulated alike
        scene.tiny.arguments["pooled_projections"] = torch.zeros_like(
            scene.tiny.arguments["pooled_projections"]
        )
    if scene.cls == "MochiTransformer3DModel":
        pooler = scene.tiny.transformer.time_embed.pooler
        pooler.register_forward_hook(lambda module, args, output: torch.zeros_like(output))
    found = scene.look()
    item, batch = scene.seen._item, batch_of(scene)
    (target,) = describe(scene.pipe)
    layers = [name for name in target.attentions][: len(found.layers)]
    blocks = record(scene, [layer.rpartition(".")[0] for layer in layers], monkeypatch)
    with torch.no_grad():
        concepts = scene.probe._family.embed(
            scene.probe._transformer, scene.probe._text, scene.probe._take_one(scene.probe._arguments, item)
        )
    tokens = found.maps[0].numel()
    before, text_first = scene.tiny.before, MODELS[scene.cls].text == "first"
    for layer, (module, arguments, calls) in enumerate(blocks):
        per_item = scene.cls == "MochiTransformer3DModel"
        output = calls[item if per_item else 0][2][0 if per_item else item]
        start = output.shape[1] - tokens if text_first else before
        video = output[:, start : start + tokens]
        given = {key: one(value, item, batch) for key, value in arguments.items()}
        given["encoder_hidden_states"] = concepts
        hidden = given["hidden_states"]
        given["hidden_states"] = hidden[:, before : before + tokens]
        for key in ("image_rotary_emb", "freqs_cis"):
            if before and given.get(key) is not None:
                given[key] = tuple(angle[before : before + tokens] for angle in given[key])
        for key in ("attention_mask", "encoder_attention_mask"):
            if key in given:
                given[key] = torch.ones(1, concepts.shape[1]) if per_item else None
        if scene.cls == "HunyuanVideo15Transformer3DModel":
            given["attention_mask"] = torch.ones(1, concepts.shape[1], dtype=torch.bool)
        with torch.no_grad(), Calls(monkeypatch) as again:
            after = module(**given)
        own = again[0][2][0]
        attended = own[:, : concepts.shape[1]] if text_first else own[:, tokens : tokens + concepts.shape[1]]
        concepts = after[1]
        expected = torch.einsum("hnd,hrd->rn", video.float(), attended.float()).softmax(0)
        torch.testing.assert_close(found.parts[(layer,)].flatten(1), expected, rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize("name", CROSS)
def test_cross_attention_is_the_models_own_call_with_the_concepts_as_its_text(name, monkeypatch):
    scene = Scene(name, monkeypatch)
    found = scene.look()
    item, batch = scene.seen._item, batch_of(scene)
    family = CROSS_FAMILIES[scene.cls]
    (target,) = describe(scene.pipe)
    names = [f"{layer.rpartition('.')[0]}.{family.attention}" for layer in target.attentions]
    tokens, before = found.maps[0].numel(), scene.tiny.before
    for layer, (module, arguments, _) in enumerate(record(scene, names, monkeypatch)):
        given = {key: one(value, item, batch) for key, value in arguments.items()}
        given["encoder_hidden_states"] = scene.probe._concepts
        given |= {"attention_mask": None} if "attention_mask" in given else {}
        if isinstance(arguments["encoder_hidden_states"], tuple):  # Cosmos 2.5: text and image
            given["encoder_hidden_states"] = (scene.probe._concepts, arguments["encoder_hidden_states"][1])
        if scene.cls == "WanAnimateTransformer3DModel":  # the first rows are the image, the last 512 are text
            image, text = arguments["encoder_hidden_states"].split([-512 % 517, 512], 1)
            given["encoder_hidden_states"] = torch.cat([image, scene.probe._concepts, text[:, 3:]], 1)
        with torch.no_grad(), Calls(monkeypatch) as again:
            module(**given)
        query, key, _ = again[-1 if scene.cls == "WanAnimateTransformer3DModel" else 0]
        key = key[:, :, :3]
        q = query[0] if query.shape[2] == tokens else query[0][:, before : before + tokens]
        expected = torch.einsum("hnd,hrd->rn", q.float(), key[0].float()) / (len(q) * q.shape[-1] ** 0.5)
        torch.testing.assert_close(
            found.parts[(layer,)].flatten(1), expected.softmax(0), rtol=1e-4, atol=2e-6
        )


@pytest.mark.parametrize("name", CASES)
def test_what_cannot_work_says_why(name):
    if CASES[name][0] in CONCEPT_FAMILIES:
        pytest.skip("it works")
    scene = Scene(name)
    question = make_question(WORDS, "concept", None, [0])
    match = "they only lend keys and values. Use method='cross_attention'"
    if scene.cls not in CROSS_FAMILIES:
        match = "saliency does not work with"
    with watch(scene.pipe) as run, pytest.raises(IntegrationError, match=match):
        ConceptRecorder(scene.pipe, run, question)
