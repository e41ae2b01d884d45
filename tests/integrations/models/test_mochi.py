"""Mochi: an attention call per batch item, each with its own text and memory; timesteps that rise."""

from typing import ClassVar

import pytest
import torch
from diffusers import FasterCacheConfig
from sequence_claims import SPARSE, Claims, build, calls_of  # type: ignore[import-not-found]

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers import sparsify
from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.watch import watch
from videosieve.methods import Dense, Method
from videosieve.recipe import Recipe
from videosieve.schedule import DenseFirst, Table
from videosieve.testing.models.mochi import CASES, pipeline_call, tiny_pipeline
from videosieve.testing.models.sequences import lay

pytestmark = pytest.mark.filterwarnings("ignore:In CPU autocast")  # diffusers asks for fp32 there


class TestMochi(Claims):
    case = CASES["mochi"]


@pytest.fixture
def model():
    return build(CASES["mochi"])


def test_every_item_has_a_memory_of_its_own(model):
    """A method that remembers where it was called is handed the memory of the same item, layer and branch."""

    class Diary(Method):
        name = "diary"
        read: ClassVar[list] = []

        def select(self, call, state):
            self.read.append((call.site, state))
            return None, call.site

    with sparsify(model.transformer, Recipe(Diary(), DenseFirst(0, 0), min_tokens=0), steps=3) as run:
        run.warns = False
        for time in model.times:
            model(timestep=torch.full((3,), time))
    assert len(Diary.read) == 3 * 2 * 3  # steps, layers, items
    for site, remembered in Diary.read:
        if site.step == 0:
            assert remembered is None
        else:
            assert (remembered.items, remembered.layer, remembered.step) == (
                site.items,
                site.layer,
                site.step - 1,
            )
    assert {site.items for site, _ in Diary.read} == {(0,), (1,), (2,)}


def test_rising_timesteps_are_steps(model):
    """Three forwards of a loop without a scheduler; then the same again is another generation."""
    with sparsify(model.transformer, "svg", **(SPARSE | {"dense_steps": 1})) as run:
        for _ in range(2):
            for time in (0.0, 0.78, 940.8):
                model(timestep=torch.full((3,), time))
    assert list(dict.fromkeys((r.generation, r.step, r.action) for r in run.trace.records)) == [
        (generation, step, "sparse" if step else "dense") for generation in (0, 1) for step in (0, 1, 2)
    ]


def test_padding_may_stand_anywhere_in_a_text(model):
    """The model gathers valid rows; what the others hold is nobody's business."""
    noise = model.arguments["encoder_hidden_states"].clone()
    noise[~model.arguments["encoder_attention_mask"]] += 3
    before, after = calls_of(model), calls_of(model, encoder_hidden_states=noise)
    for (_, one), (_, other) in zip(before[:3], after[:3], strict=True):
        assert torch.equal(one.v, other.v)


def test_a_call_too_many_is_described_by_nothing():
    arrangement = Arrangement.one_by_one([lay(text_last=2), lay(text_last=5)])
    assert [arrangement.of_call(n).tokens for n in (0, 1)] == [62, 65]
    assert arrangement.of_call(2) is None


def test_guidance_branches_share_neither_outputs_nor_selections():
    pipe = tiny_pipeline()
    with pytest.raises(IntegrationError, match="cannot share attention outputs"):
        sparsify(pipe, Recipe(Dense(), Table(("FF", "fF"))))
    with pytest.raises(IntegrationError, match="one by one"):
        sparsify(pipe, "xattention", shared_selection=True)


def test_the_pipeline_runs_with_the_planned_steps_branches_and_items():
    pipe = tiny_pipeline()
    untouched = pipe(**pipeline_call()).frames
    with sparsify(pipe, "svg", **(SPARSE | {"dense_steps": 1, "steps": None})) as run:
        layouts, attend = [], run.attend
        run.attend = lambda call, owner="": (layouts.append(call.layout), attend(call, owner))[1]
        videos = [pipe(**pipeline_call()).frames for _ in range(2)]
    assert torch.equal(*videos)
    assert not torch.allclose(videos[0], untouched, atol=1e-3)
    assert list(
        dict.fromkeys(
            (r.generation, r.step, r.branch, r.items, r.pass_number, r.action) for r in run.trace.records
        )
    ) == [
        (generation, step, "cond_uncond", (item,), 0, "sparse" if step else "dense")
        for generation in (0, 1)
        for step in range(3)
        for item in (0, 1)  # the unconditional half first
    ]
    assert layouts[:2] == [lay(text_last=2), lay(text_last=5)]
    assert torch.equal(pipe(**pipeline_call()).frames, untouched)


@pytest.mark.parametrize("method", ["svg", "adaspa"])
def test_two_prompts_are_the_videos_that_each_is_alone(method):
    options = SPARSE | {"steps": None, "block": 16}
    pipe, calls = tiny_pipeline(), [pipeline_call(2), pipeline_call(), pipeline_call(2, seed=1)]
    for name in (
        "prompt_embeds",
        "prompt_attention_mask",
        "negative_prompt_embeds",
        "negative_prompt_attention_mask",
    ):
        calls[2][name] = calls[2][name][1:]
    calls[2]["generator"] = calls[2]["generator"][:1]
    with sparsify(pipe, method, **{k: v for k, v in options.items() if method == "svg" or k != "density"}):
        together, first, second = (pipe(**call).frames for call in calls)
    torch.testing.assert_close(torch.cat([first, second]), together, rtol=1e-4, atol=1e-4)


def test_observers_are_told_whose_call_they_see():
    """Also where a pipeline is only watched: each call holds one item, with its own layout."""
    pipe, seen = tiny_pipeline(), []
    with watch(pipe) as run:
        run.observers.append(lambda one: seen.append((one.site.items, one.layout, one.q.shape[2])))
        pipe(**pipeline_call())
    with sparsify(pipe, "svg", **(SPARSE | {"steps": None})) as run:
        run.observers.append(lambda one: seen.append((one.site.items, one.layout, one.q.shape[2])))
        pipe(**pipeline_call())
    expected = [((0,), lay(text_last=2), 62), ((1,), lay(text_last=5), 65)]
    assert seen == expected * (len(seen) // 2)
    assert len(seen) == 2 * 3 * 2 * 2  # runs, steps, layers, items


@pytest.mark.filterwarnings("ignore:torch.meshgrid")  # FasterCache's own
@pytest.mark.parametrize("method", ["svg", "adaspa"])
def test_a_cache_that_leaves_the_unconditional_half_out_leaves_the_conditional_items(method):
    """FasterCache: at density 1 the video is the cache's own; every item keeps the layout of its own text."""
    config = FasterCacheConfig(
        spatial_attention_block_skip_range=2, spatial_attention_timestep_skip_range=(-1, 0),
        unconditional_batch_skip_range=2, unconditional_batch_timestep_skip_range=(-1, 1001), tensor_format="BCFHW",
        current_timestep_callback=lambda: 500,
    )  # fmt: skip
    call = pipeline_call() | {"num_inference_steps": 6}

    def generate(pipe):
        pipe.transformer.enable_cache(config)
        return pipe(**(call | {"generator": pipeline_call()["generator"]})).frames

    alone = generate(tiny_pipeline())
    pipe = tiny_pipeline()
    with sparsify(pipe, method, density=1.0, min_tokens=0, dense_steps=0, block=16) as run:
        drawn = generate(pipe)
    torch.testing.assert_close(drawn, alone, rtol=1e-3, atol=1e-3)
    seen = {}
    for record in run.trace.records:
        if record.layer == 0:
            seen.setdefault(record.step, []).append((record.items, record.action))
    both, half = [((0,), "sparse"), ((1,), "sparse")], [((1,), "sparse")]
    assert half in seen.values()
    assert both in seen.values()
    assert all(calls in (both, half) for calls in seen.values())
