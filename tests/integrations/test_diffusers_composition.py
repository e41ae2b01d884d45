"""Together with diffusers' own features: caches, offload, casting, torch.compile, context parallelism."""

import copy
import socket
from functools import partial

import pytest
import torch
import torch.multiprocessing
from diffusers import (
    FasterCacheConfig,
    FirstBlockCacheConfig,
    PyramidAttentionBroadcastConfig,
    TaylorSeerCacheConfig,
)
from diffusers.hooks import apply_group_offloading
from diffusers.models.transformers.transformer_wan import WanAttnProcessor
from torch._dynamo.testing import CompileCounterWithBackend

from videosieve.integrations.diffusers import describe, sparsify
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


def offload(pipe, level):
    blocks = {"num_blocks_per_group": 1} if level == "block_level" else {}
    apply_group_offloading(pipe.transformer, CPU, offload_device=CPU, offload_type=level, **blocks)


def broadcast(pipe):
    config = PyramidAttentionBroadcastConfig(
        spatial_attention_block_skip_range=2,
        spatial_attention_timestep_skip_range=(-1, 1001),
        spatial_attention_block_identifiers=("blocks", "transformer_blocks"),
        current_timestep_callback=lambda: pipe.current_timestep,
    )
    pipe.transformer.enable_cache(config)


FEATURES = {
    "first block cache": lambda pipe: pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.5)),
    "pyramid attention broadcast": broadcast,
    "taylor seer": lambda pipe: pipe.transformer.enable_cache(
        TaylorSeerCacheConfig(cache_interval=2, disable_cache_before_step=1)
    ),
    "layerwise casting": lambda pipe: pipe.transformer.enable_layerwise_casting(
        torch.bfloat16, torch.float32
    ),
    "leaf offload": partial(offload, level="leaf_level"),
    "block offload": partial(offload, level="block_level"),
}
SKIP_CALLS = {"first block cache", "pyramid attention broadcast", "taylor seer"}


@pytest.mark.parametrize("name", FEATURES)
@pytest.mark.parametrize("order", ["feature first", "sparsify first"])
def test_a_dense_recipe_equals_the_feature_alone(family, name, order):
    plain, hooked = family(), family()
    FEATURES[name](plain.target)
    expected = plain.generate()
    if order == "feature first":
        FEATURES[name](hooked.target)
    run = sparsify(hooked.target, "dense")
    if order == "sparsify first":
        FEATURES[name](hooked.target)
    torch.testing.assert_close(hooked.generate(), expected, rtol=0, atol=2e-5)
    calls = 3 * len(plain.branches) * plain.layers
    assert (
        0 < len(run.trace) < calls
        or (len(run.trace) == calls and name not in SKIP_CALLS)
        or name == "taylor seer"
    )
    assert {r.reason for r in run.trace.records} == {"the method is dense"}
    run.remove()
    assert torch.equal(hooked.generate(), expected)


def test_steps_are_right_although_a_cache_skips_calls(cogvideox, sparse):
    FEATURES["pyramid attention broadcast"](cogvideox.target)
    with sparsify(cogvideox.target, "svg", **{**sparse, "dense_steps": 2}) as run:
        cogvideox.target(**cogvideox_call(num_inference_steps=6))
    seen = list(dict.fromkeys((record.step, record.action) for record in run.trace.records))
    assert seen == [(0, "dense"), (2, "sparse"), (4, "sparse")]  # the third computed call is step 4, not 2


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # FasterCache's own
def test_a_cache_that_halves_the_batch_inside_the_forward_stays_sparse(cogvideox, sparse):
    """FasterCache drops the unconditional half after the clock has seen the whole batch."""
    config = FasterCacheConfig(
        spatial_attention_block_skip_range=2,
        spatial_attention_timestep_skip_range=(-2, -1),  # never
        unconditional_batch_skip_range=2,
        unconditional_batch_timestep_skip_range=(-1, 1001),
        attention_weight_callback=lambda _: 0.3,
        current_timestep_callback=lambda: cogvideox.target.current_timestep,
        is_guidance_distilled=False,
    )
    cogvideox.target.transformer.enable_cache(config)
    with sparsify(cogvideox.target, "svg", **{**sparse, "dense_steps": 0}) as run:
        cogvideox.target(**cogvideox_call(num_inference_steps=6))
    assert len({r.pairs for r in run.trace.records}) == 2
    assert {r.action for r in run.trace.records} == {"sparse"}


def test_bfloat16_pipelines_stay_bfloat16(wan, sparse):
    wan.target.transformer.to(torch.bfloat16)
    with sparsify(wan.target, "svg", **sparse) as run:
        assert torch.isfinite(wan.generate()).all()
    assert run.summary().sparse_calls == 8


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # torch.rms_norm under autocast
@pytest.mark.parametrize("compiled", [False, True])
def test_autocast_reaches_the_router(family, sparse, compiled):
    torch._dynamo.reset()
    case = family()
    with torch.autocast("cpu", torch.bfloat16):
        expected = case.generate()
        if compiled:
            compile_blocks(case.target.transformer, "eager")
        with sparsify(case.target, "dense"):
            torch.testing.assert_close(case.generate(), expected, rtol=0, atol=0.02)
        with sparsify(case.target, "svg", **{**sparse, "dense_steps": 0}) as run:
            case.generate()
    assert {record.action for record in run.trace.records} == {"sparse"}


def compile_blocks(transformer, backend):
    if getattr(transformer, "_repeated_blocks", None):
        transformer.compile_repeated_blocks(fullgraph=True, backend=backend)
    else:
        for block in transformer.transformer_blocks:
            block.compile(fullgraph=True, backend=backend)


DEEP = {
    "wan": (lambda: tiny_wan(layers=9), wan_call, 9),
    "hunyuanvideo": (lambda: tiny_hunyuanvideo(layers=9, single_layers=9), hunyuanvideo_call, 18),
    "cogvideox": (lambda: tiny_cogvideox(version="1.5", layers=9), cogvideox_call, 9),
}


@pytest.mark.parametrize("name", DEEP)
def test_fullgraph_compile_has_as_many_frames_as_without_us(name, sparse):
    """Nine layers are one more than Dynamo's recompile limit: a constant per layer would fail."""
    make, call, layers = DEEP[name]
    frames, outputs = [], []
    for method in (None, "eager", "svg"):
        torch._dynamo.reset()
        pipe = make()
        pipe.set_progress_bar_config(disable=True)
        run = sparsify(pipe, "svg", **{**sparse, "dense_steps": 0}) if method else None
        counter = CompileCounterWithBackend("aot_eager" if method == "svg" else "eager")
        if method != "eager":
            compile_blocks(pipe.transformer, counter)
        outputs.append(pipe(**call(num_inference_steps=2)).frames)
        frames.append(counter.frame_count)
        if run:
            assert {r.layer for r in run.trace.records} == set(range(layers))
            run.remove()
    assert frames[2] == frames[0] > 0
    torch.testing.assert_close(outputs[2], outputs[1], rtol=0, atol=1e-6)
    assert not torch.allclose(outputs[2], outputs[0], rtol=0, atol=1e-6)


def test_a_block_class_compiles_once(sparse):
    torch._dynamo.reset()
    pipe = tiny_wan(layers=9)
    pipe.set_progress_bar_config(disable=True)
    counter = CompileCounterWithBackend("eager")
    with sparsify(pipe, "svg", **sparse) as run:
        pipe.transformer.compile_repeated_blocks(fullgraph=True, backend=counter)
        pipe(**wan_call())
        sparse_calls = run.summary().sparse_calls
    assert (counter.frame_count, sparse_calls) == (1, 2 * 2 * 9)
    pipe(**wan_call())  # compiled code does not keep the run alive
    assert len(run.trace) == 3 * 2 * 9


@pytest.mark.parametrize("fullgraph", [False, True])
def test_the_whole_transformer_compiles_into_one_frame(wan, sparse, fullgraph):
    torch._dynamo.reset()
    with sparsify(wan.target, "svg", **sparse):
        expected = wan.generate()
    counter = CompileCounterWithBackend("eager")
    with sparsify(wan.target, "svg", **sparse) as run:
        wan.target.transformer.compile(fullgraph=fullgraph, backend=counter)
        output = wan.generate()
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-6)
    assert counter.frame_count == 1
    assert run.summary().sparse_calls == 8


def test_a_compiled_transformer_is_unwrapped(wan, sparse):
    torch._dynamo.reset()
    wan.target.transformer = torch.compile(wan.target.transformer, backend="eager")
    with sparsify(wan.target, "svg", **sparse) as run:
        wan.generate()
    assert {r.branch for r in run.trace.records} == {"cond", "uncond"}
    assert run.summary().sparse_calls == 8


# Dynamo hides this warning of its own with a filter that -W error overrules.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.filterwarnings("ignore:nothing was sparse. gradients are needed")
def test_gradients_under_compile_break_the_graph_and_are_traced():
    torch._dynamo.reset()
    transformer = tiny_wan_transformer()
    with sparsify(transformer, "svg", min_tokens=0, dense_steps=0) as run:
        transformer.compile(backend="eager")
        transformer(
            torch.randn(1, 16, 3, 4, 6), torch.tensor([500]), torch.randn(1, 4, 32)
        ).sample.sum().backward()
    assert run.summary().dense_reasons == {"gradients are needed": 2}
    assert transformer.blocks[0].attn1.to_q.weight.grad.abs().sum() > 0


def test_a_copied_transformer_is_plain_and_the_original_stays_sparse(wan, sparse):
    with sparsify(wan.target, "svg", **sparse) as run:
        copied = copy.deepcopy(wan.target.transformer)
        processors = [module.processor for module in describe(copied)[0].attentions.values()]
        assert {type(processor) for processor in processors} == {WanAttnProcessor}
        wan.generate()
    assert run.summary().sparse_calls == 8


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def generate_in_parallel(rank, port, sparse, folder):
    from diffusers import ContextParallelConfig, ParallelConfig
    from diffusers.hooks.context_parallel import apply_context_parallel
    from torch.distributed import TCPStore, init_process_group
    from torch.distributed.device_mesh import init_device_mesh

    torch.set_num_threads(1)
    store = TCPStore("127.0.0.1", port, 2, is_master=rank == 0)
    init_process_group("gloo", store=store, rank=rank, world_size=2)
    pipe = tiny_wan()
    pipe.set_progress_bar_config(disable=True)
    run = sparsify(pipe, "svg", **sparse)
    # What enable_parallelism does; it divides by the number of accelerators, which is 0 here.
    config = ParallelConfig(context_parallel_config=ContextParallelConfig(ulysses_degree=2))
    config.setup(rank, 2, CPU, mesh=init_device_mesh("cpu", (1, 2), mesh_dim_names=("ring", "ulysses")))
    for module in pipe.transformer.modules():
        if hasattr(getattr(module, "processor", None), "_parallel_config"):
            module.processor._parallel_config = config
    apply_context_parallel(pipe.transformer, config.context_parallel_config, pipe.transformer._cp_plan)
    frames = pipe(**wan_call()).frames
    torch.save((frames, run.summary().sparse_calls, run.trace.records[0].pairs), folder / f"{rank}.pt")


@pytest.mark.slow  # two processes import everything again
def test_ulysses_ranks_see_all_tokens_of_their_heads_and_agree_with_one_device(sparse, tmp_path):
    pipe = tiny_wan()
    pipe.set_progress_bar_config(disable=True)
    sparse = {**sparse, "density": 1.0}
    with sparsify(pipe, "svg", **sparse) as run:
        expected = pipe(**wan_call()).frames
    torch.multiprocessing.spawn(generate_in_parallel, (free_port(), sparse, tmp_path), nprocs=2)
    for rank in range(2):
        frames, sparse_calls, pairs = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(frames, expected, rtol=0, atol=1e-5)
        assert sparse_calls == run.summary().sparse_calls == 8
        assert 2 * pairs == run.trace.records[0].pairs  # half of the heads
