"""Claims that hold for every supported model."""

import pytest
import torch

from videosieve.integrations.diffusers import MODELS, describe, sparsify
from videosieve.layout import VideoLayout


def processors_of(target):
    return [module.processor for found in describe(target) for module in found.attentions.values()]


def test_a_dense_recipe_is_the_untouched_pipeline(case):
    with sparsify(case.target, "dense", **case.options) as run:
        output = case.generate()
    torch.testing.assert_close(output, case.untouched, rtol=0, atol=2e-5)
    assert run.summary().dense_reasons == {"the method is dense": run.summary().calls}


def test_keeping_everything_is_dense_attention(case, sparse):
    with sparsify(case.target, "svg", **{**sparse, "density": 1.0, "dense_steps": 0}, **case.options) as run:
        output = case.generate()
    torch.testing.assert_close(output, case.untouched, rtol=0, atol=5e-5)
    assert run.summary().sparse_calls == run.summary().calls > 0
    assert run.summary().recall == pytest.approx(1.0, abs=1e-5)


def test_every_call_is_traced_where_it_happened_and_sparse_after_the_warm_up(case, sparse):
    with sparsify(case.target, "svg", **sparse, **case.options) as run:
        output = case.generate()
    seen = list(dict.fromkeys((r.step, r.branch, r.layer, r.action) for r in run.trace.records))
    assert seen == [
        (step, branch, layer, "sparse" if step else "dense")
        for step in range(3)
        for branch in case.branches
        for layer in range(case.layers)
    ]
    assert run.summary().sparse_density < 0.95
    assert not torch.allclose(
        output, case.untouched, rtol=0, atol=5e-5
    )  # the router's output is what is used


def test_dense_layers_stay_dense(case, sparse):
    with sparsify(
        case.target, "svg", **{**sparse, "dense_steps": 0, "dense_layers": 1}, **case.options
    ) as run:
        case.generate()
    assert {(r.layer, r.action) for r in run.trace.records} == {(0, "dense"), (1, "sparse")}


def test_removal_restores_the_very_same_processors_and_bits(case, sparse):
    case.untouched  # noqa: B018 - computed before anything is hooked
    before = processors_of(case.target)
    attributes = [set(found.transformer.__dict__) for found in describe(case.target)]
    run = sparsify(case.target, "svg", **sparse, **case.options)
    assert all(a is not b for a, b in zip(before, processors_of(case.target), strict=True))
    run.remove()
    run.remove()
    assert all(a is b for a, b in zip(before, processors_of(case.target), strict=True))
    assert attributes == [set(found.transformer.__dict__) for found in describe(case.target)]
    for found in describe(case.target):
        assert not found.transformer._forward_pre_hooks
        assert not found.transformer._forward_hooks
    assert torch.equal(case.generate(), case.untouched)
    assert len(run.trace) == 0


def test_a_run_may_be_repeated_and_gives_the_same_video(case, sparse):
    with sparsify(case.target, "svg", **sparse, **case.options) as run:
        first, calls = case.generate(), len(run.trace)
        second = case.generate()
    assert torch.equal(first, second)
    steps = [record.step for record in run.trace.records]
    assert steps[:calls] == steps[calls:]  # the second generation starts at step 0 again


def test_the_description_counts_what_would_be_hooked(case):
    for found in describe(case.target):
        assert (found.layers, found.head_dim) == (case.layers, 16)
        assert found.heads in (2, 4)
        assert found.row is MODELS[type(found.transformer).__name__]


def attention_calls(case, disturb=None):
    """The calls that the run is handed; `disturb` may change the latents before the transformer sees them."""
    transformer = describe(case.target)[0].transformer

    def change(module, args, kwargs):
        latents = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]
        if disturb:
            disturb(latents)

    calls = []
    handle = transformer.register_forward_pre_hook(change, with_kwargs=True)
    with sparsify(case.target, "dense", **case.options) as run:
        attend = run.attend
        run.attend = lambda call, owner="": (calls.append(call), attend(call, owner))[1]
        case.generate()
    handle.remove()
    return calls


LAYOUTS = {
    "hunyuanvideo": {VideoLayout.of(3, 4, 6, text_last=5)},  # four words and </s>
    "hunyuanvideo, two prompts, true CFG": {VideoLayout.of(3, 4, 6, text_last=n) for n in (3, 8, 2)},
    "hunyuanvideo token_replace": {VideoLayout.of(3, 4, 6, text_last=n) for n in (5, 9)},
    "hunyuanvideo latent_concat": {VideoLayout.of(3, 4, 6, text_last=n) for n in (5, 9)},
    "cogvideox 1.0": {VideoLayout.of(3, 2, 3, text_first=16)},
    "cogvideox 1.5": {VideoLayout.of(2, 2, 3, text_first=16)},
    "cogvideox 1.0 image": {VideoLayout.of(3, 2, 3, text_first=16)},
    "cogvideox 1.5 image": {VideoLayout.of(2, 2, 3, text_first=16)},
    "wan 2.1": {VideoLayout.of(3, 2, 3)},
    "wan 2.1 image": {VideoLayout.of(3, 2, 3)},
    "wan 2.2": {VideoLayout.of(3, 2, 3)},
}


def test_the_layout_is_the_model_s_own(case, request):
    assert {call.layout for call in attention_calls(case)} == LAYOUTS[request.node.callspec.params["case"]]


def test_a_latent_position_is_the_token_that_the_layout_says(case):
    """Values of the first layer depend on their own token only, so a disturbed latent shows where its token is."""
    found = describe(case.target)[0]
    config, position = found.transformer.config, {"B": 0, "C": 0, "T": 2, "H": 3, "W": 2}

    def disturb(latents):
        latents[tuple(position[axis] for axis in found.row.axes)] += 1

    before, after = (attention_calls(case, change)[0] for change in (None, disturb))
    moved = (before.v != after.v).any(-1)[0].any(0).nonzero().flatten().tolist()
    grid, start = before.layout.grid, before.layout.video.start
    patch = config["patch_size"] if isinstance(config["patch_size"], int) else config["patch_size"][-1]
    frame, row, column = grid.frames - 1, 3 // patch, 2 // patch  # latent frame 2 is the last, also in pairs
    assert moved == [start + frame * grid.tokens_per_frame + row * grid.width + column]


GRIDS = {
    # class, shape of hidden_states, config -> grid; sizes of the released models
    "wan 14B 720p": (
        "WanTransformer3DModel",
        (1, 16, 21, 90, 160),
        {"patch_size": (1, 2, 2)},
        VideoLayout.of(21, 45, 80),
    ),
    "hunyuanvideo 720p": (
        "HunyuanVideoTransformer3DModel",
        (1, 16, 33, 90, 160),
        {"patch_size_t": 1, "patch_size": 2},
        VideoLayout.of(33, 45, 80),
    ),
    "cogvideox 1.0": (
        "CogVideoXTransformer3DModel",
        (2, 13, 16, 60, 90),
        {"patch_size_t": None, "patch_size": 2},
        VideoLayout.of(13, 30, 45),
    ),
    "cogvideox 1.5, odd frames": (
        "CogVideoXTransformer3DModel",
        (2, 21, 16, 96, 170),
        {"patch_size_t": 2, "patch_size": 2},
        VideoLayout.of(11, 48, 85),
    ),
}


@pytest.mark.parametrize("name", GRIDS)
def test_grids_of_the_released_models(name):
    cls, shape, config, layout = GRIDS[name]
    assert MODELS[cls].grid(shape, config) == layout.grid
