"""Claims about whole pipelines, built in code: steps, branches and layouts are those that really ran."""

import diffusers
import pytest
import torch

from videosieve.integrations.diffusers import describe, sparsify
from videosieve.layout import VideoLayout
from videosieve.testing.models.pipelines.usual import PIPELINES


@pytest.fixture(params=list(PIPELINES))
def case(request):
    found = PIPELINES[request.param]
    if not found.is_there:
        pytest.skip(f"diffusers {diffusers.__version__} has no {found.cls}")
    return found


@pytest.mark.parametrize("dense_steps", [1, 0.5])
def test_steps_and_branches_are_as_planned(case, dense_steps):
    pipe, call = case.build()
    layers = sum(found.layers for found in describe(pipe))
    layouts = set()
    with sparsify(pipe, "svg", density=0.4, block=8, min_tokens=0, dense_steps=dense_steps) as run:
        attend = run.attend
        run.attend = lambda call, owner="": (layouts.add(call.layout), attend(call, owner))[1]
        video = pipe(**call)
    dense = dense_steps if isinstance(dense_steps, int) else round(dense_steps * case.steps)
    assert [(r.step, r.branch, r.layer, r.action) for r in run.trace.records] == [
        (step, branch, layer, "dense" if step < dense else "sparse")
        for step in range(case.steps)
        for branch in case.branches
        for layer in range(layers)
    ]
    # where every frame has a scheduler of its own, their number of steps is known at the second one
    assert {r.steps for r in run.trace.records if r.step} == {case.steps}
    assert layouts == {VideoLayout.of(*case.grid)}
    assert torch.isfinite(torch.as_tensor(video[0])).all()


def test_a_second_video_begins_a_generation_of_its_own(case):
    pipe, call = case.build()
    with sparsify(pipe, "svg", density=0.4, block=8, min_tokens=0, dense_steps=1) as run:
        pipe(**call)
        half = len(run.trace)
        pipe(**call)
    places = [(r.step, r.branch, r.layer, r.action) for r in run.trace.records]
    assert places[:half] == places[half:]
    assert [r.generation for r in run.trace.records] == [0] * half + [1] * half
