"""Cosmos 3: grouped queries, and keys of text that no query belongs to."""

import diffusers
import pytest
import torch
import torch.nn.functional as F

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers import sparsify
from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.watch import watch
from videosieve.recipe import Recipe
from videosieve.schedule import Table
from videosieve.testing.models import cosmos3 as of_cosmos3
from videosieve.testing.models.forwards import noise, observed, sequence

SPARSE = {"density": 0.4, "min_tokens": 0, "dense_steps": 0, "dense_layers": 0, "block": 8}
NAME = "Cosmos3OmniTransformer"
pytestmark = pytest.mark.skipif(not hasattr(diffusers, NAME), reason=f"this diffusers has no {NAME}")


def test_a_square_of_rows_and_heads_changes_no_output():
    arrangement = Arrangement.of(sequence(text=5, video=(2, 3, 4)), keys_only=5)
    q, k, v = noise(1, 6, 24, 8), noise(1, 2, 29, 8), noise(1, 2, 29, 4)
    square = arrangement.make_square(q, k, v)
    assert [tuple(x.shape) for x in square] == [(1, 6, 29, 8), (1, 6, 29, 8), (1, 6, 29, 4)]
    wanted = F.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    torch.testing.assert_close(F.scaled_dot_product_attention(*square)[:, :, 5:], wanted)


def test_other_lengths_than_described_are_left_as_they_are():
    arrangement = Arrangement.of(sequence(text=5, video=(2, 3, 4)), keys_only=5)
    q, k = noise(1, 6, 24, 8), noise(1, 2, 31, 8)
    assert all(a is b for a, b in zip(arrangement.make_square(q, k, k), (q, k, k), strict=True))


def test_the_text_s_own_attention_is_neither_routed_nor_traced():
    given = of_cosmos3.video()
    with observed(given.model) as untouched:
        given.run()
    with sparsify(given.model, "dense") as run, observed(given.model) as calls:
        given.run()
    assert [one for one in calls if one[1:] == (7, 7)] == [one for one in untouched if one[1:] == (7, 7)]
    assert [r.layer for r in run.trace.records] == [0, 1]


def test_who_watches_sees_every_call_of_the_video_as_a_square():
    given = of_cosmos3.video()
    untouched = given.run()
    seen = []
    with watch(given.model) as run:
        run.observers.append(seen.append)
        outputs = given.run()
    assert [one.site.layer for one in seen] == [0, 1]
    for one in seen:
        assert (one.layout, one.q.shape, one.k.shape) == (given.layout, (1, 4, 79, 16), (1, 4, 79, 16))
        wanted = F.scaled_dot_product_attention(one.q, one.k, one.v)[:, :, 7:]
        torch.testing.assert_close(one.output[:, :, 7:], wanted)
    assert all(torch.equal(one, other) for one, other in zip(outputs, untouched, strict=True))


def test_gradients_flow_through_grouped_keys():
    given = of_cosmos3.video()
    wanted = given.model(**given.inputs, return_dict=False)[0][0]
    wanted.sum().backward()
    weight = given.model.layers[0].self_attn.to_k.weight
    untouched, weight.grad = weight.grad, None
    with pytest.warns(UserWarning, match="gradients are needed"), sparsify(given.model, "svg", **SPARSE):
        given.model(**given.inputs, return_dict=False)[0][0].sum().backward()
    torch.testing.assert_close(weight.grad, untouched)


def test_vision_that_does_not_follow_the_text_leaves_the_forward_dense():
    given = of_cosmos3.video()
    swapped = given.inputs["vision_sequence_indexes"].flip(0)
    changes = {"vision_sequence_indexes": swapped, "vision_mse_loss_indexes": swapped}
    untouched = given.run(**changes)
    with pytest.warns(UserWarning, match="nothing was sparse"), sparsify(given.model, "svg", **SPARSE) as run:
        outputs = given.run(**changes)
    (reason,) = run.summary().dense_reasons
    assert "do not follow the text" in reason
    for one, other in zip(outputs, untouched, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5)


def test_outputs_of_text_and_video_are_stored_and_returned_together():
    given = of_cosmos3.video()
    every = {"reuse_range": 2, "reuse_mlp": 2, "reuse_start": 0.0, "reuse_stop": 1.0, "min_tokens": 0}
    with sparsify(given.model, "pab", **every, steps=3) as run:
        given.generate()
    assert [(r.step, r.branch, r.layer, r.action) for r in run.trace.records] == [
        (step, branch, layer, "reuse" if step == 1 else "dense")
        for step in range(3)
        for branch in ("cond", "uncond")
        for layer in range(2)
    ]


def test_branches_whose_texts_have_other_lengths_share_no_outputs():
    given = of_cosmos3.video()
    recipe = Recipe(schedule=Table(("FF", "fF")))
    with pytest.raises(IntegrationError, match="cannot share attention outputs"):
        sparsify(given.model, recipe, steps=2)


def test_the_pipeline_is_sparse_where_it_is_planned():
    pipe = of_cosmos3.tiny_cosmos3()
    untouched = pipe(**of_cosmos3.cosmos3_call()).video
    layouts = set()
    with sparsify(pipe, "svg", **{**SPARSE, "dense_steps": 1}) as run:
        attend = run.attend
        run.attend = lambda call, owner="": (layouts.add(call.layout), attend(call, owner))[1]
        pipe(**of_cosmos3.cosmos3_call())
    assert [(r.step, r.branch, r.layer, r.action) for r in run.trace.records] == [
        (step, branch, layer, "sparse" if step else "dense")
        for step in range(3)
        for branch in ("cond", "uncond")
        for layer in range(2)
    ]
    assert layouts == {sequence(text=text, video=(3, 4, 6)) for text in (5, 4)}
    assert {r.generation for r in run.trace.records} == {0}
    assert torch.equal(pipe(**of_cosmos3.cosmos3_call()).video, untouched)
