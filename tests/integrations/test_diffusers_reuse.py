"""Output reuse (PAB) inside pipelines: what is returned, to whom, what stays when it is removed."""

import copy
import gc
import weakref
from functools import partial

import pytest
import torch
from diffusers import (
    FasterCacheConfig,
    FirstBlockCacheConfig,
    HunyuanVideoTransformer3DModel,
    MagCacheConfig,
    PyramidAttentionBroadcastConfig,
    TaylorSeerCacheConfig,
)
from diffusers.hooks import apply_group_offloading
from torch._dynamo.testing import CompileCounterWithBackend

from videosieve import Dense, IntegrationError, Recipe, RecipeError, VideoLayout
from videosieve.integrations.diffusers import describe, sparsify
from videosieve.planning.reuse_memory import reuse_memory
from videosieve.schedule import Broadcast, Table
from videosieve.testing.pipelines import (
    cogvideox_call,
    hunyuanvideo_call,
    tiny_cogvideox,
    tiny_hunyuanvideo,
    tiny_wan,
    tiny_wan_transformer,
    wan_call,
)

CPU = torch.device("cpu")
EVERY_OTHER = {"reuse_range": 2, "reuse_start": 0.0, "reuse_stop": 1.0, "min_tokens": 0}
CALLS = {
    "wan": (tiny_wan, wan_call),
    "cogvideox": (tiny_cogvideox, cogvideox_call),
    "hunyuanvideo": (tiny_hunyuanvideo, hunyuanvideo_call),
    "hunyuanvideo, true CFG": (
        tiny_hunyuanvideo,
        partial(hunyuanvideo_call, true_cfg_scale=3.0, negative_prompt="under the sea"),
    ),
    "cogvideox, two prompts": (tiny_cogvideox, partial(cogvideox_call, ["a cat", "a red dog runs"])),
}


def make(name):
    build, call = CALLS[name]
    pipe = build()
    pipe.set_progress_bar_config(disable=True)
    return pipe, lambda steps=4, **changes: pipe(**call(num_inference_steps=steps, **changes)).frames


def near(a, b, atol=2e-5):
    """Our dense kernel is not torch's: the same up to rounding."""
    return torch.allclose(a, b, rtol=0, atol=atol)


@pytest.fixture(params=list(CALLS))
def pipeline(request):
    return make(request.param)


class Replay:
    """PAB by hand: attention modules' forwards that repeat what they returned, per branch, at odd steps."""

    def __init__(self, pipe, names):
        self.step, self.branch, self.time = -1, 0, None
        self.stored = {}
        for name, module in pipe.transformer.named_modules():
            if name in names:
                module.forward = partial(self.call, name, module.forward)
        pipe.transformer.register_forward_pre_hook(self.tick, with_kwargs=True)

    def tick(self, module, args, kwargs):
        time = float(kwargs["timestep"].max())
        self.step, self.branch = (self.step, self.branch + 1) if time == self.time else (self.step + 1, 0)
        self.time = time

    def call(self, name, forward, *args, **kwargs):
        if self.step % 2 == 0:
            self.stored[name, self.branch] = forward(*args, **kwargs)
        return self.stored[name, self.branch]


@pytest.mark.parametrize("kind", ["attention", "mlp", "cross"])
@pytest.mark.parametrize("name", ["wan", "cogvideox", "hunyuanvideo, true CFG"])
def test_modules_return_what_they_returned_at_the_step_before(name, kind):
    if kind == "cross" and name != "wan":
        pytest.skip("text is in the sequence")
    pipe, _ = make(name)
    row = describe(pipe)[0].row
    Replay(pipe, set(row.reusable(pipe.transformer, kind)))
    call = CALLS[name][1]
    expected = pipe(**call(num_inference_steps=4)).frames
    pipe, generate = make(name)
    dense = generate()
    ranges = {key: 2 if key == kind else 1 for key in ("attention", "mlp", "cross")}
    options = {"reuse_range": ranges["attention"], "reuse_cross": ranges["cross"], "reuse_mlp": ranges["mlp"]}
    with sparsify(pipe, "pab", **{**EVERY_OTHER, **options}) as run:
        output = generate()
    assert near(output, expected)
    assert not near(output, dense)
    assert set(run.outputs.returned) == {kind}
    assert torch.equal(generate(), dense)


def count_calls(modules):
    calls = dict.fromkeys(modules, 0)

    def count(name, *_):
        calls[name] += 1

    for name, module in modules.items():
        module.register_forward_hook(partial(count, name))
    return calls


def test_a_projection_that_attention_and_feed_forward_share_is_reused_where_both_are():
    name = "hunyuanvideo, true CFG"
    pipe, generate = make(name)
    row = describe(pipe)[0].row
    kinds = ("attention", "mlp", "joint")
    Replay(pipe, {module for kind in kinds for module in row.reusable(pipe.transformer, kind)})
    expected = generate()
    pipe, generate = make(name)
    dense = generate()
    with sparsify(pipe, "pab", **EVERY_OTHER, reuse_mlp=2) as run:
        feeders = row.idle(pipe.transformer)
        calls = count_calls(feeders)
        output = generate()
        assert {n.rpartition(".")[2] for n in feeders} == {"proj_mlp", "act_mlp"}
        assert set(calls.values()) == {2 * 2}  # two of four steps, two branches
    assert near(output, expected)
    assert not near(output, dense)
    assert set(run.outputs.returned) == set(kinds)
    assert torch.equal(generate(), dense)


@pytest.mark.parametrize(("options", "steps"), [({"reuse_mlp": 3}, [1, 5]), ({"reuse_mlp_layers": 0}, [])])
def test_a_shared_projection_is_computed_where_attention_or_feed_forward_is(options, steps):
    pipe, generate = make("hunyuanvideo")
    with sparsify(pipe, "pab", **{**EVERY_OTHER, "reuse_mlp": 2, **options}) as run:
        calls = count_calls(describe(pipe)[0].row.reusable(pipe.transformer, "joint"))
        output = generate(steps=6)
    assert torch.isfinite(output).all()
    assert set(calls.values()) == {6 - len(steps)}
    assert run.outputs.returned["joint"] == len(steps) * len(calls)


def test_calls_are_traced_with_their_source_and_counted_as_nothing_computed(pipeline):
    pipe, generate = pipeline
    with sparsify(pipe, "pab", **EVERY_OTHER) as run:
        generate()
    reused = [record for record in run.trace.records if record.action == "reuse"]
    assert {record.step for record in reused} == {1, 3}
    assert all(record.source == (record.step - 1, record.branch) for record in reused)
    assert len(reused) == run.outputs.returned["attention"] == run.summary().reused_calls
    assert {record.reason for record in run.trace.records} == {"the method is dense", ""}
    assert run.summary().run_density == pytest.approx(0.5)
    pairs = {}
    for record in run.trace.records:
        key = (record.step, record.layer, record.branch)
        pairs[key] = pairs.get(key, 0) + record.pairs
    assert all(pairs[key] == pairs[(0, *key[1:])] for key in pairs)


def test_guidance_branches_are_kept_apart_where_diffusers_mixes_them():
    """diffusers' hook counts calls: with range 2 every unconditional call gets the conditional output."""
    pipe, generate = make("wan")
    unguided, dense = generate(guidance_scale=1.0), generate(guidance_scale=6.0)
    pipe.transformer.enable_cache(
        PyramidAttentionBroadcastConfig(
            spatial_attention_block_skip_range=2,
            spatial_attention_timestep_skip_range=(-1, 1001),
            spatial_attention_block_identifiers=("blocks",),
            cross_attention_block_skip_range=2,
            cross_attention_timestep_skip_range=(-1, 1001),
            cross_attention_block_identifiers=("blocks",),
            current_timestep_callback=lambda: pipe.current_timestep,
        )
    )
    theirs = generate(guidance_scale=6.0)
    pipe.transformer.disable_cache()
    with sparsify(pipe, "pab", **EVERY_OTHER, reuse_cross=2) as run:
        ours = generate(guidance_scale=6.0)
    torch.testing.assert_close(theirs, unguided, rtol=0, atol=1e-6)  # guidance is gone
    assert (ours - unguided).abs().mean() > 3 * (ours - dense).abs().mean()
    # With guidance 1 the same schedule has one branch, whose outputs are its own.
    with sparsify(pipe, "pab", **EVERY_OTHER, reuse_cross=2):
        alone = generate(guidance_scale=1.0)
    assert not torch.allclose(ours, alone, rtol=0, atol=1e-4)
    sources = {(r.branch, r.source[1]) for r in run.trace.records if r.action == "reuse"}
    assert sources == {("cond", "cond"), ("uncond", "uncond")}


def test_two_generations_are_equal_and_nothing_stays_between_them(pipeline):
    pipe, generate = pipeline
    with sparsify(pipe, "pab", **EVERY_OTHER) as run:
        first = generate()
        assert run.memory().peak_outputs > 0
        assert torch.equal(generate(), first)
        assert run.memory().outputs == 0  # the last step is not kept: nothing follows
        generate(steps=3)
    with sparsify(pipe, "pab", **EVERY_OTHER) as run:
        generate(steps=5)
        peak = run.memory().peak_outputs
        assert "stored outputs" in str(run.memory())
    assert run.memory().outputs == 0
    assert peak > 0


def test_memory_is_that_of_the_stored_outputs():
    pipe, generate = make("wan")
    held = []
    with sparsify(pipe, "pab", **EVERY_OTHER) as run:
        pipe.transformer.register_forward_hook(lambda *_: held.append(run.memory().outputs))
        generate()
    one = 18 * 32 * 4  # tokens × channels × bytes
    assert held == [2 * one, 4 * one, 2 * one, 0] * 2  # two branches; the last reader gives its output up
    assert run.outputs.returned == {"attention": 8}


@pytest.mark.parametrize(
    ("name", "layout", "batch", "branches"),
    [
        ("wan", VideoLayout.of(3, 2, 3), 1, 2),
        ("cogvideox", VideoLayout.of(3, 2, 3, text_first=16), 2, 1),
        ("hunyuanvideo", VideoLayout.of(3, 4, 6, text_last=16), 1, 1),
        ("hunyuanvideo, true CFG", VideoLayout.of(3, 4, 6, text_last=16), 1, 2),
    ],
)
def test_memory_is_told_before_the_run(name, layout, batch, branches):
    pipe, generate = make(name)
    recipe = Recipe.of("pab", **EVERY_OTHER, reuse_mlp=2)
    told = reuse_memory(pipe, recipe, layout, steps=4, batch=batch, branches=branches)
    assert set(told) == {"attention", "mlp", *(["joint"] if "hunyuan" in name else [])}
    with sparsify(pipe, recipe) as run:
        generate()
        assert run.memory().peak_outputs == sum(told.values())
    assert reuse_memory(pipe, Recipe.of(recipe, min_tokens=1000), layout) == {}
    with pytest.raises(RecipeError, match="batch must be an int >= 1, got 0"):
        reuse_memory(pipe, recipe, layout, batch=0)


def test_memory_of_hunyuanvideo_at_720p_is_that_of_the_documentation():
    config = {"num_attention_heads": 24, "attention_head_dim": 128, "num_layers": 20, "num_single_layers": 40}
    with torch.device("meta"):
        transformer = HunyuanVideoTransformer3DModel(**config).to(torch.bfloat16)
    told = reuse_memory(transformer, Recipe.of("pab"), VideoLayout.of(33, 45, 80, text_last=256))
    assert told == {"attention": 60 * 119_056 * 3072 * 2}  # 0.73 GB a layer


def test_a_sparse_method_computes_what_is_not_reused():
    pipe, generate = make("wan")
    options = {**EVERY_OTHER, "density": 0.4, "block": 8, "dense_steps": 2}
    with sparsify(pipe, "svg", **options) as run:
        generate(steps=6)
    seen = list(dict.fromkeys((record.step, record.action) for record in run.trace.records))
    assert seen == [(0, "dense"), (1, "dense"), (2, "sparse"), (3, "reuse"), (4, "sparse"), (5, "reuse")]
    summary = run.summary()
    assert summary.run_density == pytest.approx((2 + 2 * summary.sparse_density) / 6)


def test_short_sequences_reuse_nothing():
    pipe, generate = make("wan")
    dense = generate()
    with sparsify(pipe, "pab", **{**EVERY_OTHER, "min_tokens": 19}) as run:
        assert near(generate(), dense)
    assert run.summary().reused_calls == 0


def test_gradients_turn_reuse_off():
    transformer = tiny_wan_transformer()
    with sparsify(transformer, "pab", **EVERY_OTHER, steps=2) as run:
        for time in (900, 400):
            inputs = torch.randn(1, 16, 3, 4, 6), torch.tensor([time]), torch.randn(1, 4, 32)
            transformer(*inputs).sample.sum().backward()
    assert run.summary().reused_calls == 0
    assert transformer.blocks[0].attn1.to_q.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("name", "options", "place"),
    [
        ("wan", {"reuse_cross": 2}, "blocks.0.ffn"),
        ("hunyuanvideo", {}, "single_transformer_blocks.0.act_mlp"),
        ("hunyuanvideo", {}, "single_transformer_blocks.0.proj_out"),
    ],
)
def test_a_removed_run_leaves_no_class_attribute_or_tensor_behind(name, options, place):
    pipe, generate = make(name)
    generate()  # diffusers leaves its hook registry behind
    modules = dict(pipe.transformer.named_modules())
    before = {name: (type(module), set(module.__dict__)) for name, module in modules.items()}
    keys = set(pipe.transformer.state_dict())
    run = sparsify(pipe, "pab", **EVERY_OTHER, reuse_mlp=2, **options)
    assert type(modules[place]) is not before[place][0]
    assert isinstance(modules[place], before[place][0])
    assert set(pipe.transformer.state_dict()) == keys
    copied = copy.deepcopy(pipe.transformer)
    generate()
    run.remove()
    assert {name: (type(module), set(module.__dict__)) for name, module in modules.items()} == before
    outputs = weakref.ref(run.outputs)
    del run, copied
    gc.collect()
    assert outputs() is None


def test_two_transformers_keep_their_own_outputs():
    pipe = tiny_wan(two=True)
    pipe.set_progress_bar_config(disable=True)
    with sparsify(pipe, "pab", **EVERY_OTHER) as run:
        pipe(**wan_call(num_inference_steps=5))
    reused = [
        r.step for r in run.trace.records if r.action == "reuse" and r.layer == 0 and r.branch == "cond"
    ]
    computed = [
        r.step for r in run.trace.records if r.action == "dense" and r.layer == 0 and r.branch == "cond"
    ]
    assert sorted(reused + computed) == list(range(5))
    assert reused == [1] or 3 in computed or reused == [1, 3]
    assert all(r.source[0] == r.step - 1 for r in run.trace.records if r.action == "reuse")


FEATURES = {
    "first block cache": lambda pipe: pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.3)),
    "taylor seer": lambda pipe: pipe.transformer.enable_cache(
        TaylorSeerCacheConfig(
            cache_interval=3,
            disable_cache_before_step=1,
            cache_identifiers=[r".*blocks\.\d+\.(attn1?|ff|ffn)"],
        )
    ),
    "mag cache": lambda pipe: pipe.transformer.enable_cache(
        MagCacheConfig(
            threshold=0.3, max_skip_steps=1, retention_ratio=0.2, num_inference_steps=6, mag_ratios=[1.0] * 6
        )
    ),
    "leaf offload": lambda pipe: apply_group_offloading(
        pipe.transformer, CPU, offload_device=CPU, offload_type="leaf_level"
    ),
    "block offload": lambda pipe: apply_group_offloading(
        pipe.transformer, CPU, offload_device=CPU, offload_type="block_level", num_blocks_per_group=1
    ),
    "layerwise casting": lambda pipe: pipe.transformer.enable_layerwise_casting(
        torch.bfloat16, torch.float32
    ),
}


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("name", ["wan", "cogvideox", "hunyuanvideo"])
def test_reuse_of_nothing_equals_the_feature_alone_and_reuse_composes_with_it(name, feature):
    pipe, generate = make(name)
    FEATURES[feature](pipe)
    alone = generate(steps=6)
    options = {**EVERY_OTHER, "reuse_mlp": 2}
    with sparsify(pipe, Recipe(Dense(), Broadcast(1)), min_tokens=0):
        # TaylorSeer keeps its factors in bfloat16.
        assert near(generate(steps=6), alone, 0.05 if feature == "taylor seer" else 2e-5)
    with sparsify(pipe, "pab", **options) as run:
        once = generate(steps=6)
        calls = {(r.step, r.action) for r in run.trace.records}
        assert torch.equal(generate(steps=6), once)
    assert torch.isfinite(once).all()
    assert "reuse" in {action for _, action in calls} or feature in ("taylor seer", "mag cache")
    # Whatever the feature skipped, an output is never older than the step before.
    assert all(r.source[0] == r.step - 1 for r in run.trace.records if r.action == "reuse")
    assert torch.equal(generate(steps=6), alone)


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # FasterCache's own
def test_an_output_of_another_batch_size_is_not_returned():
    """FasterCache drops the unconditional half inside the forward, after the slots were told to reuse."""
    pipe, generate = make("cogvideox")
    config = FasterCacheConfig(
        spatial_attention_block_skip_range=2,
        spatial_attention_timestep_skip_range=(-2, -1),  # never
        unconditional_batch_skip_range=2,
        unconditional_batch_timestep_skip_range=(-1, 1001),
        attention_weight_callback=lambda _: 0.3,
        current_timestep_callback=lambda: pipe.current_timestep,
        is_guidance_distilled=False,
    )
    pipe.transformer.enable_cache(config)
    with sparsify(pipe, "pab", **EVERY_OTHER) as run:
        assert torch.isfinite(generate(steps=6)).all()
    assert len({r.pairs for r in run.trace.records}) == 2
    assert {r.action for r in run.trace.records} == {"dense"}  # the steps to reuse are the halved ones


def compile_blocks(transformer, backend):
    if getattr(transformer, "_repeated_blocks", None):
        transformer.compile_repeated_blocks(fullgraph=True, backend=backend)
    else:
        for block in transformer.transformer_blocks:
            block.compile(fullgraph=True, backend=backend)


@pytest.mark.parametrize("name", ["wan", "cogvideox", "hunyuanvideo"])
def test_reuse_compiles_with_fullgraph(name):
    torch._dynamo.reset()
    options = {**EVERY_OTHER, "reuse_mlp": 3, **({"reuse_cross": 2} if name == "wan" else {})}
    pipe, generate = make(name)
    with sparsify(pipe, "pab", **options) as run:
        expected, records = generate(), run.trace.records
    counter = CompileCounterWithBackend("aot_eager")
    with sparsify(pipe, "pab", **options) as run:
        compile_blocks(pipe.transformer, counter)
        torch.testing.assert_close(generate(), expected, rtol=0, atol=1e-6)
        frames = counter.frame_count
        assert [(r.step, r.layer, r.action, r.pairs) for r in run.trace.records] == [
            (r.step, r.layer, r.action, r.pairs) for r in records
        ]
        generate()
    assert counter.frame_count == frames  # later generations compile nothing
    assert run.outputs.returned["mlp"] > 0
    assert (run.outputs.returned["joint"] > 0) == (name == "hunyuanvideo")


def test_a_plan_shares_the_conditional_output_between_separate_branches():
    pipe, generate = make("wan")
    plan = Table(("FF", "fF", "AF", "FA"))
    with sparsify(pipe, Recipe(Dense(), plan, min_tokens=0)) as run:
        generate()
    shared = [
        r for r in run.trace.records if r.action == "reuse" and r.branch == "uncond" and r.source[1] == "cond"
    ]
    assert [(r.step, r.layer, r.source) for r in shared] == [(1, 0, (1, "cond")), (2, 0, (1, "cond"))]
    assert run.summary().run_density == pytest.approx(1 - 5 / 16)


def test_a_plan_halves_a_batch_whose_branches_share():
    """With the same prompt in both halves sharing changes nothing, and half of the pairs are not computed."""
    pipe, generate = make("cogvideox")
    plan = Recipe(Dense(), Table(("FF", "fF", "ff", "FF")), min_tokens=0)
    same = {"negative_prompt": "a red cat runs"}
    dense = generate(**same)
    with sparsify(pipe, plan) as run:
        guided = generate()
        assert near(generate(**same), dense)
    assert not near(guided, generate())
    half = run.trace.records[: len(run.trace.records) // 2]
    assert sum(r.density * r.pairs for r in half) / sum(r.pairs for r in half) == pytest.approx(1 - 1.5 / 8)
    assert {(r.branch, r.source) for r in half if r.action == "reuse"} == {
        ("uncond", (1, "cond")),
        ("uncond", (2, "cond")),
    }


def test_it_is_the_conditional_half_that_both_get():
    """Where every layer of every step shares, the video stream of both branches is the conditional one: no guidance."""
    pipe, generate = make("cogvideox")
    unguided = generate(guidance_scale=1.0)
    with sparsify(pipe, Recipe(Dense(), Table(("ff",) * 4), min_tokens=0)):
        torch.testing.assert_close(generate(), unguided, rtol=0, atol=1e-4)
    assert not near(generate(), unguided, 1e-2)


def test_without_guidance_there_is_no_half_to_share():
    pipe, generate = make("cogvideox")
    dense = generate(guidance_scale=1.0)
    with sparsify(pipe, Recipe(Dense(), Table(("FF", "ff", "ff", "FF")), min_tokens=0)) as run:
        assert near(generate(guidance_scale=1.0), dense)
    assert run.summary().reused_calls == 0


@pytest.mark.parametrize(
    ("target", "recipe", "error", "message"),
    [
        ("cogvideox", {"reuse_cross": 2}, IntegrationError, "no 'cross' modules"),
        ("hunyuanvideo", Table(("FF", "fF")), IntegrationError, "cannot share attention outputs"),
        ("cogvideox transformer", Table(("FF", "fF")), IntegrationError, "does not say whether its batch"),
        ("wan transformer", {}, IntegrationError, "a bare transformer does not know"),
    ],
)
def test_what_a_model_does_not_allow_is_refused_before_anything_changes(target, recipe, error, message):
    name, _, bare = target.partition(" ")
    pipe, _ = make(name)
    target = pipe.transformer if bare else pipe
    processors = [m.processor for found in describe(pipe) for m in found.attentions.values()]
    recipe = Recipe(Dense(), recipe) if isinstance(recipe, Table) else Recipe.of("pab", **recipe)
    with pytest.raises(error, match=message):
        sparsify(target, recipe, steps=None if message.startswith("a bare transformer") else 4)
    assert processors == [m.processor for found in describe(pipe) for m in found.attentions.values()]


def test_a_plan_for_other_steps_is_refused_at_the_first_forward():
    pipe, generate = make("wan")
    with (
        sparsify(pipe, Recipe(Dense(), Table(("FF", "AF")))),
        pytest.raises(RecipeError, match="2 steps and 2 layers"),
    ):
        generate(steps=4)
