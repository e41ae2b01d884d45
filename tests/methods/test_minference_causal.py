"""MInference as published: columns are single keys, slashes cover their diagonals, searches and settings files."""

import json

import pytest
import torch

import videosieve
from videosieve import AttentionCall, RecipeError, Run, Site, VideoLayout
from videosieve.integrations.transformers.recipes import causal_recipe
from videosieve.methods import METHODS, attend_selected
from videosieve.methods.geometry.causal_patterns import SHAPES
from videosieve.methods.minference_causal import CausalMInference, last_mass
from videosieve.methods.searches.minference_causal import (
    CANDIDATES,
    CausalMInferenceSearch,
    best_patterns,
    read_published,
)
from videosieve.recipe import Recipe
from videosieve.schedule import DenseFirst
from videosieve.testing.oracles import attention_oracle


def draw(queries=300, keys=300, heads=4, key_heads=2, head_dim=16, batch=1):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(batch, heads, queries, head_dim, generator=generator)
    k, v = (torch.randn(batch, key_heads, keys, head_dim, generator=generator) for _ in range(2))
    return AttentionCall(q, k, v, VideoLayout.sequence(keys), Site(0, 1))


def computed(selection, call):
    """The pairs that a selection computes, one by one."""
    pairs = BLOCKS(selection)
    if selection.columns is not None:
        side = selection.mask.block.key
        for b, h in torch.cartesian_prod(*(torch.arange(n) for n in (call.batch, call.heads))).tolist():
            for key in selection.columns[b, h].tolist():
                if key < call.keys:
                    first = (key // side + 1) * side - call.ahead  # the first query of the next block of rows
                    rows = -(-max(first, 0) // side) * side
                    pairs[b, h, rows:, key] = True
    return pairs


def BLOCKS(selection):
    return selection.mask.to_dense().expand(1, 4, -1, -1).clone()


@pytest.mark.parametrize(("queries", "keys"), [(300, 300), (100, 333)])
@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_computed_is_the_softmax_over_the_chosen_pairs(shape, queries, keys):
    call = draw(queries, keys)
    method = CausalMInference(shape, columns=40, slashes=120, first=20, last=50, blocks=3, block=16)
    selection, _ = method.select(call, None)
    result = attend_selected(call, selection)
    pairs = computed(selection, call)
    k, v = (x.repeat_interleave(2, 1) for x in (call.k, call.v))
    output, lse = attention_oracle(call.q, k, v, pairs, call.scale)
    torch.testing.assert_close(result.output.double(), output, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(result.lse.double(), lse, rtol=1e-5, atol=1e-5)
    half = queries * (keys - queries) + queries * (queries + 1) / 2
    density = result.mask.head_density + (0 if result.more_density is None else result.more_density)
    torch.testing.assert_close(density.expand(1, 4), pairs.sum((-1, -2)).double() / half)


def test_columns_and_slashes_are_those_of_most_mass_in_the_last_queries():
    call = draw()
    call.k[:, :, 77] = 4 * call.q[:, ::2, -64:].mean(2)
    call.k[:, :, 77] *= 10
    method = CausalMInference(columns=31, slashes=100, block=16, rows=64)
    selection, _ = method.select(call, None)
    mass = last_mass(call, [0], 64)[0, 0].sum(0)
    for head in (0, 2):
        chosen = selection.columns[0, head].tolist()
        assert chosen[:30] == list(range(30))
        assert chosen[30] == int(mass[30:].argmax()) + 30 or head
    distance = torch.arange(300).unsqueeze(-1) - torch.arange(300)
    near = (distance >= 0) & (distance < 100)
    assert selection.mask.to_dense()[0, 0][near].all()  # the nearest are forced, and covered whole
    far = distance > 100 + 2 * 16
    assert not selection.mask.to_dense()[0, 0][far].any()


def test_an_a_shape_sees_first_and_last_keys_and_nothing_between():
    call = draw()
    pairs = (
        CausalMInference("a_shape", first=16, last=32, block=16).select(call, None)[0].mask.to_dense()[0, 0]
    )
    distance = torch.arange(300).unsqueeze(-1) - torch.arange(300)
    wanted = (distance >= 0) & ((distance < 32) | (torch.arange(300) < 16))
    assert pairs[wanted].all()
    assert not pairs[(distance > 32 + 32) & (torch.arange(300) >= 16)].any()


def test_a_budget_of_everything_is_dense_and_a_small_one_is_not():
    call = draw()
    expected = videosieve.methods.causal.block_sparse_attention(
        call.q, call.k, call.v, videosieve.BlockMask.dense(300, videosieve.BlockSize(64, 64), causal=True)
    )[0]
    for budget, dense in ((None, True), (0.3, False)):
        selection, _ = CausalMInference(budget=budget, block=16).select(call, None)
        result = attend_selected(call, selection)
        density = float((result.mask.head_density + result.more_density).mean())
        assert (density == pytest.approx(1)) is dense
        if dense:
            torch.testing.assert_close(result.output, expected)


def test_heads_have_shapes_of_their_own_and_the_search_finds_the_best():
    call = draw(600, 600)
    table = ((("a_shape", 16, 16), ("vertical_slash", 40, 100), ("block_sparse", 2, 0), ("a_shape", 600, 1)),)
    selection, _ = CausalMInference(head_patterns=table, block=16).select(call, None)
    assert [SHAPES[i] for i in selection.pattern[0]] == [
        "a_shape",
        "vertical_slash",
        "block_sparse",
        "a_shape",
    ]
    density = attend_selected(call, selection)
    assert float(density.mask.head_density[0, 3]) == 1
    assert selection.columns[0, 0].tolist() == [600] * 40
    candidates = (("a_shape", 16, 16), ("a_shape", 600, 1))
    run = Run(Recipe(CausalMInferenceSearch(candidates, block=16), DenseFirst(0, 0), min_tokens=0))
    run.attend(call, "model")
    assert best_patterns(run.states(), 2, candidates) == (
        (("a_shape", 600, 1),) * 4,
        (("vertical_slash", 1000, 6096),) * 4,
    )
    assert len(CANDIDATES) == 6
    with pytest.raises(RecipeError, match="one row for each of 1 layers"):
        CausalMInference(head_patterns=table + table).select(call, None)


def test_settings_files_of_the_authors_are_read(tmp_path):
    path = tmp_path / "best_pattern.json"
    layer = {"0": ["vertical_and_slash", 1000, 6096, 0.9], "1": ["stream_llm", 100, 800, 0.8]}
    path.write_text(json.dumps([layer]))
    table = read_published(path)
    assert table == ((("vertical_slash", 1000, 6096), ("a_shape", 100, 800)),)
    recipe = Recipe(CausalMInference(head_patterns=table), DenseFirst(0, 0))
    assert Recipe.from_toml(recipe.to_toml()).method == recipe.method
    for bad in (
        [],
        {},
        [{}],
        [{"1": layer["0"]}],
        [{"0": ["spiral", 1, 1, 1]}],
        [{"0": ["stream_llm", -1, 1, 1]}],
    ):
        path.write_text(json.dumps(bad))
        with pytest.raises(RecipeError, match="must be a list with an object per layer"):
            read_published(path)


def test_no_output_depends_on_a_later_token():
    call = draw()
    method = CausalMInference("vertical_slash", columns=40, slashes=100, block=16)
    selection, _ = method.select(call, None)
    before = attend_selected(call, selection).output.clone()
    call.k[:, :, 200:].normal_()
    call.v[:, :, 200:].normal_()
    after = attend_selected(call, selection).output
    torch.testing.assert_close(after[:, :, :200], before[:, :, :200], rtol=0, atol=0)


def test_its_name_on_a_language_model_is_that_of_the_video_method():
    assert causal_recipe("minference").method == CausalMInference()
    assert causal_recipe("minference-llm").method.budget == 0.3
    with pytest.raises(RecipeError, match="the method for language models is 'minference_causal'"):
        causal_recipe(METHODS["minference"](density=0.2))


@pytest.mark.parametrize("name", ["oracle_top_k", "random_blocks"])
@pytest.mark.parametrize("density", [0.1, 0.3, 1.0])
def test_bounds_spend_a_share_of_the_causal_half(name, density):
    call = draw(320, 400)
    method = causal_recipe(name, density=density, block=16).method
    selection, _ = method.select(call, None)
    result = attend_selected(call, selection)
    assert (selection.mask.keep & selection.mask.diagonal).any(-1).all()
    spent = float(result.mask.head_density.mean())
    assert spent <= max(density, 0.2)
    assert spent == pytest.approx(density, abs=0.06)
    if name == "oracle_top_k":
        k = call.k.repeat_interleave(2, 1)
        scores = (call.q @ k.mT * call.scale).masked_fill(torch.ones(320, 400).triu(81) > 0, -torch.inf)
        kept = (scores.softmax(-1) * selection.mask.to_dense()).sum((-1, -2)) / 320
        torch.testing.assert_close(selection.recall, kept)
        random_keep = causal_recipe("random_blocks", density=density, block=16).method.select(call, None)[0]
        chance = (scores.softmax(-1) * random_keep.mask.to_dense()).sum((-1, -2)) / 320
        assert density == 1 or (selection.recall > chance).all()
