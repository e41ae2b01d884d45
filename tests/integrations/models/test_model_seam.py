"""Claims that hold for every supported class: what is hooked, and that hooking changes nothing but attention."""

import importlib
import inspect

import diffusers
import pytest
import torch
from conftest import SPARSE, noise_of, steps_of  # type: ignore[import-not-found]

from videosieve.integrations.diffusers import MODELS, describe, sparsify
from videosieve.testing.models import CASES

OWN_FILES = (
    "cosmos3", "easyanimate", "framepack", "helios", "hunyuanvideo15", "ltx", "minimax_h3", "mochi", "motif",
)  # fmt: skip


def called(tiny):
    """The modules with a processor that a forward calls, in order."""
    names, handles = [], []
    for name, module in tiny.transformer.named_modules():
        if hasattr(module, "processor"):
            handles.append(module.register_forward_pre_hook(lambda *_, name=name: names.append(name)))
    tiny()
    for handle in handles:
        handle.remove()
    return names


def test_every_sparse_class_of_this_diffusers_has_a_tiny_model():
    tried = {case.cls for case in CASES.values()}
    left = {row.name for row in MODELS.values() if not row.dense} - tried
    own_files = [importlib.import_module(f"videosieve.testing.models.{name}") for name in OWN_FILES]
    source = "".join(inspect.getsource(module) for module in own_files)
    assert {name for name in left if name not in source} == set()


@pytest.mark.parametrize("name", MODELS)
def test_the_class_is_one_of_diffusers(name):
    if not hasattr(diffusers, name):
        pytest.skip(f"diffusers {diffusers.__version__} has no {name}")
    assert issubclass(getattr(diffusers, name), torch.nn.Module)


def test_the_video_self_attentions_are_described_in_call_order(tiny):
    (found,) = describe(tiny.transformer)
    assert list(found.attentions) == tiny.attentions
    assert [name for name in called(tiny) if name in tiny.attentions] == tiny.attentions


def test_heads_come_from_the_module(tiny):
    """Channels of a head as the attention call has them, whatever the config says."""
    seen = set()
    with sparsify(tiny.transformer, "dense") as run:
        attend = run.attend
        run.attend = lambda call, owner="": (seen.add((call.heads, call.head_dim)), attend(call, owner))[1]
        tiny()
    (found,) = describe(tiny.transformer)
    assert seen == {(found.heads, found.head_dim)}


def test_dense_through_the_seam_is_the_untouched_model(tiny):
    untouched, bound = tiny(), noise_of(tiny)
    with sparsify(tiny.transformer, "dense") as run:
        through = tiny()
    assert run.summary().dense_reasons == {"the method is dense": run.summary().calls}
    assert float((through - untouched).abs().max()) <= bound


def test_every_video_self_attention_is_sparse_and_nothing_else_is_hooked(tiny):
    untouched = tiny()
    processors = {n: m.processor for n, m in tiny.transformer.named_modules() if hasattr(m, "processor")}
    with sparsify(tiny.transformer, "svg", **SPARSE) as run:
        hooked = [
            name
            for name, processor in processors.items()
            if tiny.transformer.get_submodule(name).processor is not processor
        ]
        output = tiny()
    assert sorted(hooked) == sorted(tiny.attentions)
    items = len(tiny.text)
    assert [r.layer for r in run.trace.records] == [
        n for n in range(len(tiny.attentions)) for _ in range(items)
    ]
    assert {(r.action, r.reason) for r in run.trace.records} == {("sparse", "")}
    assert run.summary().sparse_density < 0.95
    assert not torch.allclose(output, untouched, rtol=0, atol=1e-4)  # the router's output is what is used


def test_keeping_every_block_is_dense_attention(tiny):
    """A sequence whose text lay elsewhere would be cut into other pieces and lose some."""
    untouched, bound = tiny(), noise_of(tiny)
    for method in ("random_blocks", "svg"):
        with sparsify(tiny.transformer, method, **{**SPARSE, "density": 1.0}) as run:
            output = tiny()
        assert run.summary().sparse_calls == run.summary().calls > 0
        assert float((output - untouched).abs().max()) <= bound


def test_removal_puts_the_very_same_processors_back(tiny):
    untouched = tiny()
    before = [tiny.transformer.get_submodule(name).processor for name in tiny.attentions]
    run = sparsify(tiny.transformer, "svg", **SPARSE)
    tiny()
    run.remove()
    after = [tiny.transformer.get_submodule(name).processor for name in tiny.attentions]
    assert all(a is b for a, b in zip(before, after, strict=True))
    assert not tiny.transformer._forward_pre_hooks
    assert not tiny.transformer._forward_hooks
    assert torch.equal(tiny(), untouched)


def generate(tiny, scheduler):
    """Two steps of a loop that is told nothing of videosieve; the scheduler says where it is."""
    scheduler.set_timesteps(2)
    for _ in scheduler.timesteps:
        tiny()  # the model's own times: equal at both steps, as rounding may make them
        scheduler.step(torch.zeros(1), scheduler.timesteps[scheduler.step_index or 0], torch.zeros(1))


@pytest.mark.parametrize("rising", [False, True])
def test_two_generations_count_their_steps_from_0(tiny, rising):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=rising)
    with sparsify(tiny.transformer, "svg", **SPARSE) as run:
        generate(tiny, scheduler)
        generate(tiny, scheduler)
    assert steps_of(run) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_reusable_modules_are_those_of_the_blocks(tiny):
    (found,) = describe(tiny.transformer)
    for kind in ("mlp", "cross", "joint"):
        assert sorted(found.row.reusable(tiny.transformer, kind)) == sorted(tiny.children.get(kind, []))


def test_outputs_of_every_kind_are_returned_again(tiny):
    """At the second step of a window nothing that can be reused is computed."""
    kinds = {f"reuse_{kind}": 2 for kind in ("cross", "mlp") if kind in tiny.children}
    window = {"reuse_range": 2, "reuse_start": 0.0, "reuse_stop": 1.0, "min_tokens": 0, "steps": 2}
    ran = []
    watched = [*tiny.attentions, *(name for names in tiny.children.values() for name in names)]
    with sparsify(tiny.transformer, "dense", **window, **kinds) as run:
        give = run.outputs.give
        run.outputs.give = lambda name, kind, site: (ran.append(name), give(name, kind, site))[1]
        generate(tiny, diffusers.FlowMatchEulerDiscreteScheduler())
        run.warns = False
    assert sorted(ran) == sorted(f"transformer.{name}" for name in watched)
    assert [r.action for r in run.trace.records if r.step == 1] == ["reuse"] * len(tiny.attentions)


def test_a_causal_skyreels_stays_dense_and_says_so_once():
    if not hasattr(diffusers, "SkyReelsV2Transformer3DModel"):
        pytest.skip(f"diffusers {diffusers.__version__} has no SkyReelsV2Transformer3DModel")
    from videosieve.testing.models.wan import skyreels_causal

    tiny = skyreels_causal()
    untouched, bound = tiny(), noise_of(tiny)
    with sparsify(tiny.transformer, "svg", **SPARSE) as run:
        output = tiny()
        (reason,) = run.summary().dense_reasons
        assert reason.startswith("causal blocks")
        assert [reason in said for said in run.warnings()] == [True]
        run.warns = False
    assert float((output - untouched).abs().max()) <= bound
