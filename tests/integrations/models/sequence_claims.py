"""Claims about families whose sequences are more than video and text; a test class per tiny model inherits them."""

from typing import ClassVar

import diffusers
import pytest
import torch

from videosieve.integrations.diffusers import describe, sparsify
from videosieve.testing.models.sequences import SequenceCase, SequenceModel
from videosieve.testing.tolerances import assert_within

SPARSE = {"density": 0.4, "min_tokens": 0, "dense_steps": 0, "dense_layers": 0, "block": 8, "steps": 3}


def build(case: SequenceCase) -> SequenceModel:
    """A tiny model, or the test is skipped where diffusers has no such class yet."""
    if not case.is_there:
        pytest.skip(f"diffusers {diffusers.__version__} has no {case.cls}")
    return case.build()


def processors(model):
    return {
        name: part.processor for name, part in model.transformer.named_modules() if hasattr(part, "processor")
    }


def calls_of(model, **changes):
    """The attention calls that a recipe is handed in one forward, with the name of their layer."""
    calls = []
    with sparsify(model.transformer, "dense") as run:
        attend = run.attend
        run.attend = lambda call, owner="": (calls.append(call), attend(call, owner))[1]
        model(**changes)
    return [(model.attentions[call.site.layer], call) for call in calls]


def generate(model, arguments=None, times=None):
    """A denoising loop without a pipeline."""
    arguments = dict(arguments or model.arguments)
    latents = arguments["hidden_states"]
    for time in times or model.times:
        flow = model(
            **(arguments | {"hidden_states": latents, "timestep": torch.full((len(latents),), time)})
        )
        latents = torch.cat([latents[:, : flow.shape[1]] - flow / 3, latents[:, flow.shape[1] :]], dim=1)
    return latents


def dense_errors(model, output):
    """Whether an output is the untouched model's, to the rounding of fp32 that this model shows against fp64."""
    assert_within(output, model(), model.double(), "output")


class Claims:
    """What every tiny model is asked; `case` says which."""

    case: ClassVar[SequenceCase]

    @pytest.fixture
    def model(self):
        return build(self.case)

    def test_the_video_self_attentions_are_described_in_call_order(self, model):
        called = []
        for name, module in model.transformer.named_modules():
            if hasattr(module, "processor"):
                module.register_forward_pre_hook(lambda *_, name=name: called.append(name))
        model()
        assert list(describe(model.transformer)[0].attentions) == model.attentions
        assert [name for name in called if name in model.attentions] == model.attentions

    def test_dense_through_the_seam_is_the_untouched_model(self, model):
        with sparsify(model.transformer, "dense") as run:
            output = model()
        dense_errors(model, output)
        assert run.summary().dense_reasons == {"the method is dense": len(model.calls())}

    def test_every_call_is_sparse_and_nothing_else_is_hooked(self, model):
        before, untouched = processors(model), model()
        with sparsify(model.transformer, "svg", **SPARSE) as run:
            after = processors(model)
            output = model()
        assert [name for name in before if before[name] is not after[name]] == sorted(
            model.attentions, key=list(before).index
        )
        seen = [(model.attentions[r.layer], r.action, r.reason) for r in run.trace.records]
        assert seen == [(name, "sparse", "") for name, _, _ in model.calls()]
        assert run.summary().sparse_density < 0.95
        assert float((output - untouched).abs().max()) > 1e-3  # what the router returns is what is used

    def test_the_layouts_are_the_model_s_own_for_every_batch_item(self, model):
        seen = [(name, call.site.items, call.layout) for name, call in calls_of(model)]
        assert seen == model.calls()

    @pytest.mark.parametrize("method", ["random_blocks", "svg"])
    def test_keeping_every_block_is_dense_attention(self, model, method):
        with sparsify(model.transformer, method, **(SPARSE | {"density": 1.0})) as run:
            output = model()
        assert run.summary().sparse_calls == run.summary().calls == len(model.calls())
        dense_errors(model, output)

    def test_a_frame_of_latents_is_the_rows_that_the_layout_says(self, model):
        """Values of the first layer depend on their own token only, so a changed frame shows where its tokens are."""
        first = [call for name, call in calls_of(model) if name == model.attentions[0]]
        second = [call for name, call in calls_of(model, **model.disturbed()) if name == model.attentions[0]]
        for before, after in zip(first, second, strict=True):
            moved = (before.v != after.v).any(dim=(0, 1, 3)).nonzero().flatten().tolist()
            start = before.layout.video.start + before.layout.grid.tokens_per_frame
            assert moved == list(range(start, start + before.layout.grid.tokens_per_frame))

    def test_two_generations_count_their_steps_from_0(self, model):
        with sparsify(model.transformer, "svg", **SPARSE) as run:
            videos = [generate(model), generate(model)]
        seen = list(dict.fromkeys((r.generation, r.step) for r in run.trace.records))
        assert seen == [(generation, step) for generation in (0, 1) for step in (0, 1, 2)]
        assert torch.equal(*videos)

    def test_removal_puts_the_very_same_processors_back(self, model):
        before, untouched, attributes = processors(model), model(), set(vars(model.transformer))
        run = sparsify(model.transformer, "svg", **SPARSE)
        model()
        run.remove()
        assert all(processors(model)[name] is before[name] for name in before)
        assert set(vars(model.transformer)) == attributes
        assert not model.transformer._forward_pre_hooks
        assert not model.transformer._forward_hooks
        assert torch.equal(model(), untouched)

    def test_reusable_modules_are_those_of_the_blocks(self, model):
        (found,) = describe(model.transformer)
        kinds = ("mlp", "cross", "joint")
        seen = {kind: list(found.row.reusable(model.transformer, kind)) for kind in kinds}
        assert seen == {kind: model.reusable.get(kind, []) for kind in kinds}

    def test_every_kind_of_output_is_reused_at_the_next_step(self, model):
        kinds = [kind for kind in ("mlp", "cross") if kind in model.reusable]
        window = {"reuse_range": 2, "reuse_start": 0.0, "reuse_stop": 1.0, "min_tokens": 0, "steps": 3}
        given = []
        with sparsify(model.transformer, "dense", **window, **{f"reuse_{kind}": 2 for kind in kinds}) as run:
            give = run.outputs.give
            run.outputs.give = lambda name, kind, site: (
                given.append((site.step, name)),
                give(name, kind, site),
            )[1]
            generate(model)
        # where attention and feed-forward both return what is stored, so does the projection that they share
        kinds += ["joint"] if "joint" in model.reusable else []
        modules = [*model.attentions, *(name for kind in kinds for name in model.reusable[kind])]
        assert sorted(given) == sorted((1, f"transformer.{name}") for name in modules)

    def test_every_batch_item_is_the_video_that_it_is_alone(self, model):
        """With states and sampled rows too, where items are attended one by one; else with a fixed mask."""
        single = len(model.layouts) == 1
        recipe = "radial" if single else "adaspa"
        options = SPARSE if single else {k: v for k, v in SPARSE.items() if k != "block"} | {"block": 16}
        with sparsify(model.transformer, recipe, **options):
            together = generate(model)
        with sparsify(model.transformer, recipe, **options):
            alone = [generate(model, model.only(item)) for item in range(len(together))]
        torch.testing.assert_close(torch.cat(alone), together, rtol=1e-4, atol=1e-4)
