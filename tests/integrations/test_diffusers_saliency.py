"""saliency on every family: the video keeps its bits, the maps are what the method says, and nothing stays behind."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from diffusers import FirstBlockCacheConfig, PyramidAttentionBroadcastConfig
from diffusers.hooks import apply_group_offloading
from diffusers.models.transformers.cogvideox_transformer_3d import CogVideoXBlock
from diffusers.models.transformers.transformer_hunyuan_video import HunyuanVideoTransformerBlock
from torch.utils.flop_counter import FlopCounterMode

import videosieve
from videosieve import SaliencyMethod
from videosieve.concepts import attend_concepts, output_scores
from videosieve.errors import IntegrationError, PromptError, RecipeError, ShapeError
from videosieve.integrations.diffusers import describe, saliency, sparsify
from videosieve.integrations.diffusers.concepts.families import CONCEPT_FAMILIES
from videosieve.integrations.diffusers.concepts.question import choose_steps
from videosieve.integrations.diffusers.concepts.recorder import ConceptRecorder
from videosieve.integrations.diffusers.concepts.saliency import make_question
from videosieve.integrations.diffusers.concepts.text import encode_concepts
from videosieve.integrations.diffusers.watch import watch
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.shapes.weights import load_shapes
from videosieve.testing.pipelines import (
    cogvideox_call,
    hunyuanvideo_call,
    tiny_cogvideox,
    tiny_hunyuanvideo,
    tiny_wan,
    wan_call,
)

WORDS = ["cat", "red dog", "sea"]
SPARSE = {"density": 0.4, "min_tokens": 0, "dense_steps": 1, "dense_layers": 0, "block": 8}
GUIDED = {"true_cfg_scale": 3.0, "negative_prompt": "under"}


def nano():
    return ShapesPipeline.from_networks(build_networks("shapes-nano"))


def nano_call(**changes):
    return {
        "prompt": "a red circle moves left",
        "num_frames": 4,
        "num_inference_steps": 3,
        "generator": torch.Generator().manual_seed(0),
        "output_type": "pt",
        **changes,
    }


# pipeline, arguments of a call, method, concepts
FAMILIES = {
    "hunyuanvideo": (
        partial(tiny_hunyuanvideo, layers=2, single_layers=2),
        hunyuanvideo_call,
        "concept",
        WORDS,
    ),
    "hunyuanvideo guided": (
        partial(tiny_hunyuanvideo, layers=2),
        partial(hunyuanvideo_call, **GUIDED),
        "concept",
        WORDS,
    ),
    "cogvideox 1.0": (tiny_cogvideox, cogvideox_call, "concept", WORDS),
    "cogvideox 1.5": (partial(tiny_cogvideox, version="1.5"), cogvideox_call, "concept", WORDS),
    "wan 2.1": (tiny_wan, wan_call, "cross_attention", WORDS),
    "wan 2.2": (partial(tiny_wan, two=True), wan_call, "cross_attention", WORDS),
    "shapes": (nano, nano_call, "concept", ["red circle", "left", "background"]),
}


class Family:
    def __init__(self, name):
        make, self.make_call, self.method, self.concepts = FAMILIES[name]
        self.pipe = make()
        self.pipe.set_progress_bar_config(disable=True)

    def generate(self, **changes):
        return self.pipe(**self.make_call(**changes)).frames[0]

    def look(self, concepts=None, call=None, **options):
        arguments = self.make_call(**(call or {}))
        prompt = arguments.pop("prompt")
        return saliency(
            self.pipe,
            prompt,
            self.concepts if concepts is None else concepts,
            **{"method": self.method, **options},
            **arguments,
        )


@pytest.fixture(params=FAMILIES)
def family(request):
    return Family(request.param)


@pytest.fixture(params=["hunyuanvideo", "cogvideox 1.0", "cogvideox 1.5", "shapes"])
def joint(request):
    return Family(request.param)


def processors_of(pipe):
    return [module.processor for found in describe(pipe) for module in found.attentions.values()]


def hooks_of(pipe):
    modules = [m for found in describe(pipe) for m in found.transformer.modules()]
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in modules)


def test_the_video_keeps_its_bits_and_nothing_stays_behind(family):
    untouched, before, hooks = family.generate(), processors_of(family.pipe), hooks_of(family.pipe)
    found = family.look()
    assert torch.equal(found.video, untouched)
    assert all(a is b for a, b in zip(before, processors_of(family.pipe), strict=True))
    assert hooks_of(family.pipe) == hooks
    assert torch.equal(family.generate(), untouched)
    grid = found.maps.shape[1:]
    assert found.maps.shape[0] == len(family.concepts)
    assert max(found.frame_of) == grid[0] - 1
    assert len(found.frame_of) == len(found.video)
    torch.testing.assert_close(found.maps.sum(0), torch.ones(grid))
    assert found.maps.std((1, 2, 3)).min() > 1e-4  # no flat map
    assert found.upsample().shape == (len(family.concepts), len(untouched), *untouched.shape[2:])


def test_a_sparse_video_keeps_its_bits_too(family):
    with sparsify(family.pipe, "svg", **SPARSE) as run:
        sparse = family.generate()
        assert run.summary().sparse_calls > 0
        inside = family.look(recipe=run)
    assert torch.equal(inside.video, sparse)
    found = family.look(recipe=videosieve.Recipe.of("svg", **SPARSE))
    assert torch.equal(found.video, sparse)
    assert torch.equal(found.maps, inside.maps)
    assert not torch.equal(found.maps, family.look().maps)  # what the sparse model sees is its own


def test_frames_of_the_token_grid():
    assert Family("cogvideox 1.0").look().frame_of == (0, 1, 1, 1, 1, 2, 2, 2, 2)
    assert Family("cogvideox 1.5").look().frame_of == (
        0,
        1,
        1,
        1,
        1,
        1,
        1,
        1,
        1,
    )  # one latent frame of padding in front
    assert Family("shapes").look().frame_of == (0, 1, 2, 3)


def recorded_inputs(pipe, call):
    """What goes into every block of a one-step generation, and what its attention gives before the projection."""
    target = describe(pipe)[0]
    blocks = [target.transformer.get_submodule(name.rpartition(".")[0]) for name in target.attentions]
    inputs, handles = [], []
    for block in blocks:
        handles.append(
            block.register_forward_pre_hook(
                lambda module, args, kwargs: inputs.append((module, args, kwargs)), with_kwargs=True
            )
        )
    outputs = [attention_output(block) for block in blocks]
    pipe(**call)
    for handle in handles:
        handle.remove()
    return inputs, [read() for read in outputs]


def attention_output(block, text=False):
    """A reader of the attention output of the video (or text) tokens: the input of the block's output projection."""
    attn = getattr(block, "attn1", None) or block.attn
    own = getattr(attn, "to_add_out", None) if text else None
    layer = block.proj_out if hasattr(block, "proj_mlp") else own or attn.to_out[0]
    seen = []
    handle = layer.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach().clone()))

    def read():
        handle.remove()
        return seen[0][..., : attn.inner_dim]

    return read


@torch.no_grad()
def second_call(module, args, kwargs, concepts):
    """The block once more, with concepts in the text slot and no padding mask; returns their attention output too."""
    read = attention_output(module, text=True)
    if args:
        hidden, _, temb, _, rotary, *rest = args
        after = module(hidden, concepts, temb, None, rotary, *rest)[1]
    else:
        hidden = kwargs["hidden_states"]
        after = module(**{**kwargs, "encoder_hidden_states": concepts})[1]
    return after, read(), hidden.shape[1]


@pytest.mark.parametrize("name", ["hunyuanvideo", "shapes", "cogvideox 1.0", "cogvideox 1.5"])
def test_maps_equal_a_second_call_of_every_block_with_concepts_in_the_text_slot(name):
    family = Family(name)
    call = family.make_call(num_inference_steps=1)
    unguided = "true_cfg_scale" if name == "shapes" else "guidance_scale"
    call |= {unguided: 1.0} if name != "hunyuanvideo" else {}
    if name in (
        "hunyuanvideo",
        "shapes",
    ):  # without a pooled prompt both calls of a block are modulated alike
        embeds, pooled, mask = family.pipe.encode_prompt(
            prompt=[call["prompt"]],
            **{key: call[key] for key in ("prompt_template", "max_sequence_length") if key in call},
        )
        call |= {
            "prompt_embeds": embeds,
            "pooled_prompt_embeds": torch.zeros_like(pooled),
            "prompt_attention_mask": mask,
        }
    call["prompt"] = None if "prompt_embeds" in call else call["prompt"]
    generator = call.pop("generator")
    layers = tuple(range(describe(family.pipe)[0].layers))
    question = make_question(family.concepts, SaliencyMethod(keep="layers"), layers, [0])
    inputs, outputs = recorded_inputs(family.pipe, call | {"generator": generator.manual_seed(0)})
    with watch(family.pipe) as run, ConceptRecorder(family.pipe, run, question, call) as recorder:
        family.pipe(**call, generator=generator.manual_seed(0))
        concepts = None
        probe = recorder._probes["transformer"]
        with torch.no_grad():
            one = {key: value for key, value in probe._arguments.items() if isinstance(value, torch.Tensor)}
            concepts = probe._family.embed(probe._transformer, probe._text, one)
    found = recorder.result()
    assert sorted(found.parts) == [(layer,) for layer in layers]
    for layer, ((module, args, kwargs), video) in enumerate(zip(inputs, outputs, strict=True)):
        text_first = name.startswith("cog")
        concepts, joined, tokens = second_call(module, args, kwargs, concepts)
        count = len(family.concepts)
        own = joined[:, :count] if text_first else joined[:, -count:]
        seen = video[:, -tokens:] if text_first else video[:, :tokens]
        expected = torch.einsum("nd,rd->rn", seen[0], own[0]).softmax(0)
        torch.testing.assert_close(found.parts[(layer,)].flatten(1), expected, rtol=1e-4, atol=2e-6)
    torch.testing.assert_close(found.maps, torch.stack(list(found.parts.values())).mean(0))


def test_permuting_concepts_permutes_maps(family):
    order = [2, 0, 1]
    plain = family.look(steps=[1]).maps
    turned = family.look(concepts=[family.concepts[i] for i in order], steps=[1]).maps
    torch.testing.assert_close(turned, plain[order], rtol=1e-5, atol=1e-6)


def test_concepts_never_see_the_prompt(joint):
    question = make_question(joint.concepts, steps=[0, 1])
    call = joint.make_call()
    with watch(joint.pipe) as run, ConceptRecorder(joint.pipe, run, question, call) as recorder:
        (observe,) = run.observers

        def without_text(seen):
            def blank(x):
                other = torch.full_like(x, torch.nan)
                other[:, :, seen.layout.video] = x[:, :, seen.layout.video]
                return other

            observe(
                replace(seen, q=blank(seen.q), k=blank(seen.k), v=blank(seen.v), output=blank(seen.output))
            )

        probe = recorder._probes["transformer"]
        begin, prompts = probe.begin, ("encoder_hidden_states", "pooled_projections")

        def without_prompt(arguments):
            begin({k: torch.full_like(v, torch.nan) if k in prompts else v for k, v in arguments.items()})

        run.observers[:], probe.begin = [without_text], without_prompt
        joint.pipe(**call)
        run.observers[:] = [observe]
    assert torch.equal(recorder.result().maps, joint.look(steps=[0, 1]).maps)


@pytest.mark.parametrize("name", ["hunyuanvideo guided", "cogvideox 1.0", "wan 2.1", "shapes"])
def test_guidance_is_looked_at_in_its_conditional_branch(name):
    # At step 0 nothing has been guided yet, so the conditional branch is all that an unguided run computes.
    family = Family(name)
    off = {"true_cfg_scale": 1.0} if name in ("hunyuanvideo guided", "shapes") else {"guidance_scale": 1.0}
    guided, plain = family.look(steps=[0]), family.look(steps=[0], call=off)
    torch.testing.assert_close(guided.maps, plain.maps, rtol=1e-4, atol=1e-5)
    assert not torch.equal(guided.video, plain.video)


def test_cross_attention_is_the_models_own_query_against_the_concepts_keys():
    family = Family("wan 2.1")
    transformer = family.pipe.transformer
    queries = []
    handle = transformer.blocks[1].attn2.to_q.register_forward_hook(lambda *seen: queries.append(seen[2]))
    found = family.look(layers=[1], steps=[1])
    handle.remove()
    attn = transformer.blocks[1].attn2
    text = encode_concepts(family.pipe, tuple(WORDS), "mean", family.make_call())
    with torch.no_grad():
        context = transformer.condition_embedder.text_embedder(text.embeds)
        pooled = torch.stack([context[0, 0], context[1, :2].mean(0), context[2, 0]])
        q = attn.norm_q(queries[2])[0].unflatten(-1, (attn.heads, -1))  # step 1, conditional
        k = attn.norm_k(attn.to_k(pooled)).unflatten(-1, (attn.heads, -1))
    expected = (torch.einsum("nhd,rhd->rnh", q, k).mean(-1) * q.shape[-1] ** -0.5).softmax(0)
    torch.testing.assert_close(found.maps.flatten(1), expected, rtol=1e-5, atol=1e-6)


def test_both_methods_work_on_joint_models_and_differ(joint):
    outputs = joint.look(steps=[1])
    crossed = joint.look(steps=[1], method="cross_attention")
    alone = joint.look(steps=[1], method=SaliencyMethod(sight="none"))
    assert crossed.method == "cross_attention"
    assert not torch.allclose(outputs.maps, crossed.maps, atol=1e-4)
    assert not torch.allclose(outputs.maps, alone.maps, atol=1e-4)
    assert torch.equal(outputs.video, crossed.video)


def test_a_sight_by_layer_is_the_mean_of_calls_with_one_sight_each(joint):
    """Every sight has concepts of its own, which have seen so from the first layer on."""
    count = describe(joint.pipe)[0].layers
    sights = dict(enumerate(["both", "none", "none", "video"][:count]))
    found = joint.look(method=SaliencyMethod(sight=sights, keep="sites"))
    assert found.layers == tuple(sights)
    parts = []
    for sight in dict.fromkeys(sights.values()):
        layers = [layer for layer, one in sights.items() if one == sight]
        alone = joint.look(layers=layers, method=SaliencyMethod(sight=sight, keep="sites"))
        assert all(torch.equal(found.parts[key], part) for key, part in alone.parts.items())
        parts += [alone.maps] * len(layers)
    torch.testing.assert_close(found.maps, torch.stack(parts).mean(0), rtol=1e-5, atol=1e-6)
    assert torch.equal(found.video, joint.look().video)
    last = count - 1
    few = joint.look(layers=[last], method=SaliencyMethod(sight=sights))
    assert few.layers == (last,)
    assert torch.equal(few.maps, joint.look(layers=[last], method=SaliencyMethod(sight=sights[last])).maps)
    with pytest.raises(IntegrationError, match=r"sight names layers 1, and \[0\] are to be read"):
        joint.look(layers=[0, 1], method=SaliencyMethod(sight={1: "none"}))
    with pytest.raises(IntegrationError, match="layers must be at least one of"):
        joint.look(method=SaliencyMethod(sight={0: "both", 99: "none"}))


def test_concepts_that_are_keys_alone_have_no_sight():
    with pytest.raises(
        IntegrationError, match="attend to nothing, so there is nothing that sight could change"
    ):
        Family("wan 2.1").look(method=SaliencyMethod("cross_attention", sight="none"))


def test_raw_maps_are_the_scores_that_probabilities_are_made_of(family):
    """At one layer and step the mean of probabilities is the softmax of the mean; over several it is not."""
    name = family.look(steps=[1]).method
    raw, shares = (
        family.look(method=SaliencyMethod(name, average=average, keep="sites"))
        for average in ("raw", "probabilities")
    )
    assert raw.raw
    assert not shares.raw
    for key, part in raw.parts.items():
        torch.testing.assert_close(part.softmax(0), shares.parts[key], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(raw.maps, torch.stack(list(raw.parts.values())).mean(0))


def test_the_softmax_may_come_after_the_mean(family):
    """Over layers and steps, and in every part; at one site both orders are the same."""
    name = family.look(steps=[1]).method
    raw, after, before = (
        family.look(method=SaliencyMethod(name, 3.0, average=average, keep="sites"))
        for average in ("raw", "mean_first", "probabilities")
    )
    assert not after.raw
    torch.testing.assert_close(after.maps, raw.probabilities(3.0))
    torch.testing.assert_close(after.maps.sum(0), torch.ones_like(after.maps[0]))
    for key, part in before.parts.items():
        torch.testing.assert_close(after.parts[key], part, atol=1e-5, rtol=1e-4)


def test_value_space_compares_what_is_attended_to(joint):
    seen = []
    question = make_question(joint.concepts, SaliencyMethod(space="value"), [0], [1])
    call = joint.make_call()
    with watch(joint.pipe) as run, ConceptRecorder(joint.pipe, run, question, call) as recorder:
        run.observers.append(
            lambda one: seen.append(one) if (one.site.layer, one.site.step) == (0, 1) else None
        )
        joint.pipe(**call)
        probe = recorder._probes["transformer"]
    (one,) = [one for one in seen if one.site.branch != "uncond"]
    kind, _, block = probe._stages[0]
    with torch.no_grad():  # after its last layer the probe is as it was before it
        concepts = kind.enter(block, probe._streams[0].concepts, probe._condition).v[0]
    expected = torch.einsum("hnd,hrd->rn", one.v[-1:, :, one.layout.video][0], concepts).softmax(0)
    torch.testing.assert_close(recorder.result().maps.flatten(1), expected, rtol=1e-4, atol=2e-6)
    with pytest.raises(RecipeError, match="cross_attention compares queries with keys"):
        SaliencyMethod("cross_attention", space="value")


def test_linear_vectors_change_what_is_compared(family):
    plain = family.look(steps=[1])
    linear = family.look(steps=[1], method=SaliencyMethod(plain.method, vectors="linear"))
    assert (plain.maps - linear.maps).abs().max() > 1e-4
    torch.testing.assert_close(linear.maps.sum(0), torch.ones_like(linear.maps[0]))


def test_parts_are_kept_on_request():
    family = Family("shapes")
    found = family.look(layers=[0, 1], steps=[0, 2], method=SaliencyMethod(keep="sites"))
    assert sorted(found.parts) == [(0, 0), (0, 2), (1, 0), (1, 2)]
    assert (found.layers, found.steps) == ((0, 1), (0, 2))
    torch.testing.assert_close(torch.stack(list(found.parts.values())).mean(0), found.maps)


def test_layers_that_the_pipeline_names_are_the_default(tmp_path):
    family = Family("shapes")
    assert family.look(steps=[1]).layers == (0, 1)
    family.pipe.register_to_config(saliency_layers={"concept": [1]})
    named = family.look(steps=[1])
    assert named.layers == (1,)
    assert torch.equal(named.maps, family.look(layers=[1], steps=[1]).maps)
    assert family.look(layers=[0], steps=[1]).layers == (0,)
    assert family.look(steps=[1], method="cross_attention").layers == (0, 1)
    family.pipe.save_pretrained(tmp_path)
    assert load_shapes(tmp_path).config["saliency_layers"] == {"concept": [1]}
    with pytest.raises(IntegrationError, match="at least one"):
        family.look(layers=[], steps=[1])


def test_a_concept_of_several_words_is_pooled_over_its_own_tokens():
    cogvideox, hunyuanvideo, shapes = (Family(name) for name in ("cogvideox 1.0", "hunyuanvideo", "shapes"))

    def places(family, concept, pool, **call):
        text = encode_concepts(family.pipe, (concept,), pool, {**family.make_call(), **call})
        assert text.weights.sum() == 1
        return text.weights[0].nonzero().flatten().tolist()

    assert places(cogvideox, "red dog", "auto") == [0, 1]
    assert places(cogvideox, "red dog", "first") == [0]
    assert places(hunyuanvideo, "red dog", "auto") == [
        1
    ]  # its encoder is causal: the last word has read the first
    assert places(shapes, "large red circle", "auto") == [1, 2, 3]  # bos stands before them
    framed = {"prompt_template": {"template": "the cat {} in", "crop_start": 1}}
    assert places(hunyuanvideo, "red dog", "mean", **framed) == [1, 2]
    with pytest.raises(PromptError, match="must fit into the model's text of 16 tokens"):
        places(hunyuanvideo, " ".join(["cat"] * 20), "mean")


def test_a_failing_generation_leaves_the_pipeline_as_it_was(family):
    def fail(*_):
        raise RuntimeError("stop here")

    before, hooks = processors_of(family.pipe), hooks_of(family.pipe)
    with pytest.raises(RuntimeError, match="stop here"):
        family.look(call={"callback_on_step_end": fail})
    assert all(a is b for a, b in zip(before, processors_of(family.pipe), strict=True))
    assert hooks_of(family.pipe) == hooks


def test_a_pass_that_a_cache_cut_short_is_dropped():
    family = Family("hunyuanvideo")
    plain = family.look(steps=[0]).maps
    family.pipe.transformer.enable_cache(
        FirstBlockCacheConfig(threshold=1e6)
    )  # after step 0 only block 0 runs
    cached = family.look(steps=[0, 1, 2])
    assert cached.steps == (0,)
    assert torch.equal(cached.maps, plain)
    with pytest.raises(IntegrationError, match="a step cache skipped them"):
        family.look(steps=[1, 2])


@pytest.mark.parametrize("name", ["hunyuanvideo", "wan 2.1"])
def test_a_pass_without_its_first_layer_is_dropped_even_where_only_a_later_one_is_wanted(name):
    family = Family(name)
    question = make_question(WORDS, family.method, [0, 1] if name.startswith("wan") else [1], [1, 2])
    with (
        watch(family.pipe) as run,
        ConceptRecorder(family.pipe, run, question, family.make_call()) as recorder,
    ):
        (observe,) = run.observers
        run.observers[:] = [
            lambda seen: None if (seen.site.layer, seen.site.step) == (0, 1) else observe(seen)
        ]
        family.pipe(**family.make_call())
        run.observers[:] = [observe]
    assert recorder.result().steps == (2,)


def test_steps_whose_attention_is_broadcast_are_dropped():
    family = Family("cogvideox 1.0")
    config = PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2,
        spatial_attention_timestep_skip_range=(-1, 1001),
        current_timestep_callback=lambda: family.pipe._current_timestep,
    )
    family.pipe.transformer.enable_cache(config)
    untouched = family.generate()
    found = family.look(steps=[0, 1, 2])
    assert torch.equal(found.video, untouched)
    assert found.steps == (0, 2)


def test_steps_are_chosen_by_noise_level():
    scheduler = tiny_cogvideox().scheduler
    scheduler.set_timesteps(10)
    times = scheduler.timesteps.tolist()
    assert [times[step] for step in choose_steps(None, scheduler, 10)] == [
        t for t in times if 300 <= t <= 700
    ]
    assert choose_steps(None, scheduler, 3) == (1,)  # the schedule is not this generation's: the middle third
    assert choose_steps((2, 0, 2), scheduler, 3) == (0, 2)


@pytest.mark.parametrize("name", ["hunyuanvideo", "cogvideox 1.5", "wan 2.1"])
def test_offloaded_models_are_looked_at_the_same(name):
    plain, family = Family(name).look(), Family(name)
    device = torch.device("cpu")
    apply_group_offloading(family.pipe.transformer, device, offload_device=device, offload_type="leaf_level")
    assert torch.equal(family.look().maps, plain.maps)


def test_a_compiled_model_is_looked_at_the_same():
    plain, family = Family("cogvideox 1.0").look(), Family("cogvideox 1.0")
    family.pipe.transformer = torch.compile(family.pipe.transformer, backend="eager")
    torch.testing.assert_close(family.look().maps, plain.maps)


BAD = {
    "no concept": ({"concepts": []}, PromptError, "at least one concept"),
    "twice": ({"concepts": ["left", "left"]}, PromptError, "'left' came up again"),
    "unknown word": ({"concepts": ["redd", "left"]}, PromptError, "near: red"),
    "layers": (
        {"layers": [2]},
        IntegrationError,
        r"one of 0 … 1, for there are 2 self-attentions; got \[2\]",
    ),
    "no layers": ({"layers": []}, IntegrationError, r"got \[\]"),
    "steps": ({"steps": [3]}, IntegrationError, "for there are 3 denoising steps"),
    "method": (
        {"method": "concepts"},
        RecipeError,
        "must be 'concept' or 'cross_attention', got name='concepts'",
    ),
    "prompts": ({"call": {"prompt": ["left", "up"]}}, PromptError, "one video of one prompt"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_requests_are_refused_and_change_nothing(name):
    options, error, message = BAD[name]
    family = Family("shapes")
    hooks = hooks_of(family.pipe)
    with pytest.raises(error, match=message):
        family.look(**options)
    assert hooks_of(family.pipe) == hooks


def test_concept_refuses_a_cross_attention_model_and_names_what_works():
    with pytest.raises(
        IntegrationError, match="they only lend keys and values. Use method='cross_attention'"
    ):
        Family("wan 2.1").look(method="concept")


def test_a_sparse_pipeline_needs_its_run():
    family = Family("shapes")
    with (
        sparsify(family.pipe, "dense"),
        pytest.raises(IntegrationError, match="hand its run over as recipe=run"),
    ):
        family.look()


def test_parameters_of_the_method_are_checked():
    for values in ({"temperature": 0.0}, {"pool": "middle"}, {"sight": "all"}, {"keep": "everything"}):
        with pytest.raises(RecipeError, match=next(iter(values))):
            SaliencyMethod(**values)


GIVEN = ["hunyuanvideo", "cogvideox 1.0", "cogvideox 1.5", "wan 2.1", "shapes"]


@pytest.mark.parametrize("name", GIVEN)
def test_a_given_video_is_seen_at_the_noise_level_of_its_step(name):
    family = Family(name)
    pipe, video, inputs = family.pipe, family.generate(), []
    keys = ("prompt_template", "max_sequence_length")
    text = {key: value for key, value in family.make_call().items() if key in keys}
    handle = pipe.transformer.register_forward_hook(
        lambda module, args, kwargs, output: inputs.append(kwargs), with_kwargs=True
    )
    found = {}
    for step in (0, 2):
        found[step] = saliency(
            pipe, family.make_call()["prompt"], family.concepts, video=video, steps=[step], method=family.method,
            num_inference_steps=3, generator=torch.Generator().manual_seed(3), **text,
        )  # fmt: skip
        assert found[step].steps == (step,)
    handle.remove()
    assert len(inputs) == 2  # one forward per step, unguided
    clean = clean_latents(family, video)
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(3))
    for kwargs in inputs:
        time = float(kwargs["timestep"].max())
        share = time / 1000, 1 - time / 1000  # flow matching: a straight line from the video to noise
        if name.startswith("cog"):
            kept = float(pipe.scheduler.alphas_cumprod[int(time)])
            share = (1 - kept) ** 0.5, kept**0.5
        torch.testing.assert_close(kwargs["hidden_states"], share[0] * noise + share[1] * clean)
    assert float(inputs[0]["timestep"].max()) > float(inputs[1]["timestep"].max())
    assert not torch.allclose(found[0].maps, found[2].maps, atol=1e-5)
    assert torch.equal(found[0].video, video)
    assert "set_timesteps" not in vars(pipe.scheduler)
    assert torch.equal(family.generate(), video)


@torch.no_grad()
def clean_latents(family, video):
    """What the pipeline would decode to the video, more or less, in the axes of its transformer."""
    vae = family.pipe.vae
    latents = vae.encode((video * 2 - 1).transpose(0, 1)[None]).latent_dist.mode()
    if family.method == "cross_attention":
        mean, std = (
            torch.tensor(vae.config[key])[:, None, None, None] for key in ("latents_mean", "latents_std")
        )
        return (latents - mean) / std
    latents = latents * vae.config.scaling_factor
    if not hasattr(family.pipe.transformer, "patch_embed"):
        return latents
    latents = latents.transpose(1, 2)
    patch = family.pipe.transformer.config.patch_size_t or 1
    return torch.cat([latents[:, :1]] * (latents.shape[1] % patch) + [latents], 1)


def test_given_videos_that_do_not_fit_are_refused():
    family = Family("cogvideox 1.0")
    for video in (torch.rand(8, 3, 32, 48), torch.rand(9, 1, 32, 48), torch.rand(3, 32, 48)):
        with pytest.raises(ShapeError, match=r"frames = 4 × n \+ 1"):
            family.look(call={"video": video})
    picture = tiny_cogvideox(image=True)
    picture.set_progress_bar_config(disable=True)
    with pytest.raises(IntegrationError, match="continues an image"):
        saliency(picture, "cat", WORDS, video=torch.rand(9, 3, 32, 48), max_sequence_length=16)


def test_the_public_name_is_a_function_and_loads_nothing_early():
    assert callable(videosieve.saliency)
    family = Family("shapes")
    arguments = family.make_call()
    found = videosieve.saliency(family.pipe, arguments.pop("prompt"), ["red", "left"], **arguments)
    assert isinstance(found, videosieve.SaliencyMaps)


# transformer, video tokens, text tokens
REAL_SIZES = {
    "hunyuanvideo 720p": ("HunyuanVideoTransformer3DModel", 119_056 - 256, 256),
    "cogvideox 1.5 720p": ("CogVideoXTransformer3DModel", 44_880, 226),
}


@pytest.mark.parametrize("name", REAL_SIZES)
def test_concepts_cost_less_than_a_twentieth_of_a_real_block(name):
    """By count of multiplications and additions, of one block on the meta device with 8 concepts."""
    kind, tokens, text = REAL_SIZES[name]
    with torch.device("meta"):
        if kind.startswith("Hunyuan"):
            block = HunyuanVideoTransformerBlock(24, 128, 4.0)
            width, heads = 3072, 24
            condition, rotary = torch.empty(1, width), None
            arguments = (torch.empty(1, tokens, width), torch.empty(1, text, width), condition, None, rotary)
        else:
            block = CogVideoXBlock(3072, 48, 64, 512)
            width, heads = 3072, 48
            condition = torch.empty(1, 512)
            arguments = (torch.empty(1, tokens, width), torch.empty(1, text, width), condition)
        concepts = torch.empty(1, 8, width)
        with FlopCounterMode(display=False) as own:
            block(*arguments)
        row = CONCEPT_FAMILIES[kind].kinds[0]
        video = torch.empty(1, heads, tokens, width // heads)
        with FlopCounterMode(display=False) as extra:
            inside = row.enter(block, concepts, condition)
            found = attend_concepts((inside.q, inside.k, inside.v), (video, video), 1.0)
            output_scores(video, found)
            row.leave(block, concepts, found.transpose(1, 2).flatten(2), inside)
    assert own.get_total_flops() > 4 * tokens**2 * width
    assert 6 * 8 * tokens * width < extra.get_total_flops() < 2 * 6 * 8 * tokens * width
    assert extra.get_total_flops() / own.get_total_flops() < 0.001
