"""MiniMax-H3: what is special about it, and the loop of its modular pipeline."""

import diffusers
import pytest
import torch

from videosieve.integrations.diffusers import MODELS, sparsify
from videosieve.integrations.diffusers.models.sequences import sequence_of
from videosieve.testing.models import minimax_h3 as of_h3
from videosieve.testing.models.forwards import sequence

SPARSE = {"density": 0.4, "min_tokens": 0, "dense_steps": 0, "dense_layers": 0, "block": 8}
NAME = "MiniMaxH3Transformer3DModel"
pytestmark = pytest.mark.skipif(not hasattr(diffusers, NAME), reason=f"this diffusers has no {NAME}")


def arranged(given, **changes):
    """What our reader makes of a forward, and the timestep that it takes for the video's."""
    inputs = {**given.inputs, **changes}
    read = sequence_of(MODELS[NAME])(MODELS[NAME], given.model, inputs)
    told = read.arrange([one.double() for one in read.reads()])
    return told if isinstance(told, str) else told[0].groups[0].layout, float(read.timestep)


@pytest.mark.parametrize("time", [0.1, 0.3, 0.4, 0.9])
@pytest.mark.parametrize("make", [of_h3.keyframe, of_h3.references, of_h3.keyframe_without_audio])
def test_the_timestep_is_the_video_s_own_whatever_conditions_and_audio_have(make, time):
    given = make()
    given.inputs = given.at(given.inputs, torch.tensor(time))
    assert arranged(given) == (given.layout, pytest.approx(time))


def test_rows_that_another_timestep_separates_are_no_part_of_the_video():
    """Their time goes on where the video's begins, so that nothing but the timestep tells them apart."""
    given = of_h3.keyframe_without_audio()
    positions = given.inputs["position_ids"].clone()
    positions[7:31, 0] = 3.0
    early = given.at({**given.inputs, "position_ids": positions}, torch.tensor(0.1))
    assert arranged(given, **early)[0] == given.layout


def test_text_that_is_not_first_is_kept_as_other_tokens():
    given = of_h3.keyframe()
    later = given.inputs["text_indices"] + 1
    assert arranged(given, text_indices=later)[0] == sequence(before=7 + 34, video=(3, 4, 6))


def test_positions_that_make_no_grid_leave_the_forward_dense():
    given = of_h3.keyframe()
    positions = given.inputs["position_ids"].clone()
    positions[-72:-24, 2] += torch.arange(48) % 5
    untouched = given.run(position_ids=positions)
    with pytest.warns(UserWarning, match="nothing was sparse"), sparsify(given.model, "svg", **SPARSE) as run:
        outputs = given.run(position_ids=positions)
    assert list(run.summary().dense_reasons) == ["the positions of the last 72 video rows make no grid"]
    assert all(torch.equal(one, other) for one, other in zip(outputs, untouched, strict=True))


def test_the_text_refiner_is_left_alone():
    given = of_h3.keyframe()
    refiner = given.model.token_refiner.refiner_blocks[0].attn.processor
    with sparsify(given.model, "svg", **SPARSE):
        assert given.model.token_refiner.refiner_blocks[0].attn.processor is refiner


@pytest.mark.filterwarnings("ignore:Unexpected input")  # places that only the transformer asks for
@pytest.mark.parametrize(
    ("make", "conditions", "speech"), [(of_h3.keyframe, 24, 0), (of_h3.references, 63, 8)]
)
def test_the_modular_loop_is_sparse_where_it_is_planned(make, conditions, speech):
    given = make()
    generate = of_h3.loop_of(given, conditions, speech)
    untouched = generate(4)
    layouts = set()
    with sparsify(generate.pipeline, "svg", **{**SPARSE, "dense_steps": 1}) as run:
        attend = run.attend
        run.attend = lambda call, owner="": (layouts.add(call.layout), attend(call, owner))[1]
        first, second = generate(4), generate(4)
    walk = [(step, "cond", layer, "sparse" if step else "dense") for step in range(3) for layer in range(2)]
    assert [(r.step, r.branch, r.layer, r.action) for r in run.trace.records] == walk * 2
    assert {r.steps for r in run.trace.records} == {3}  # four sigmas are three steps
    assert layouts == {given.layout}
    assert torch.equal(first, second)
    assert not torch.allclose(first, untouched, rtol=0, atol=5e-5)
    assert torch.equal(generate(4), untouched)
