"""Token orders of other methods: the same method on permuted tokens, orders per head, refusals."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve import Recipe, RecipeError, Run, VideoLayout
from videosieve.call import AttentionCall
from videosieve.forward import Site
from videosieve.kernels import reorder_tokens
from videosieve.layout import inverse_order
from videosieve.methods import TokenOrder, attend_selected, make_method
from videosieve.methods.cubes import cube_orders
from videosieve.methods.token_orders import Reordered, in_order, orders_of
from videosieve.schedule import DenseFirst
from videosieve.testing.factories import make_call

LAYOUTS = {
    "text last": VideoLayout.of(4, 8, 10, text_last=9),
    "text first": VideoLayout.of(4, 8, 10, text_first=9),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
ORDERS = ["token_major", "hilbert", "2x4x4"]
OPTIONS = {
    "xattention": {"threshold": 0.4, "stride": 4, "block": 16},
    "oracle_top_k": {"density": 0.3, "block": 16},
    "random_blocks": {"density": 0.3, "block": 16},
    "adaspa": {"density": 0.3, "block": 16},
    "sparge": {"density": 0.3, "block": 16},
}


@layouts
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", OPTIONS)
def test_it_is_the_method_on_permuted_tokens(name, order, layout):
    call = make_call(layout, batch=2)
    method = make_method(name, **OPTIONS[name])
    chooser = Recipe.of(method, token_order=order).chooser
    _, (index,) = orders_of(order, layout, 16, torch.device("cpu"))
    assert index[: layout.grid.tokens].sort().values.tolist() == list(
        range(layout.video.start, layout.video.stop)
    )
    moved, state, inner = in_order(call, index), None, None
    assert moved.layout.video.start == 0
    for _ in range(2):  # AdaSpa learns from its first call
        selection, state = chooser.select(call, state)
        expected, inner = method.select(moved, inner)
        assert selection.mask.block == chooser.method.block_size(call)
        assert torch.equal(selection.mask.keep, expected.mask.keep)
        actual, wanted = attend_selected(call, selection), attend_selected(moved, expected)
        back = inverse_order(index)
        torch.testing.assert_close(actual.output, reorder_tokens(wanted.output, back))
        state, inner = chooser.observe(call, actual, state), method.observe(moved, wanted, inner)


@layouts
def test_every_head_gets_the_order_in_which_its_keys_are_alike(layout):
    call = make_call(layout, heads=7)
    names, orders = orders_of("head", layout, 64, torch.device("cpu"))
    assert names == ("model", "token_major", "hilbert", "4×4×4", "2×4×8", "8×4×2", "2×8×4")
    for head, order in enumerate(orders):
        for block in order.split(64):
            for x in (call.k, call.v):
                x[:, head, block] = x[:, head, block[:1]]
    chooser = Recipe.of(
        "random_blocks", density=0.3, block=64, token_order="head", compensate="centroids"
    ).chooser
    selection, state = chooser.select(call, None)
    picked = [names[i] for i in state.chosen[0].tolist()]
    # A grid of 4 × 8 × 10 holds few blocks: where two orders cut it alike, either is right.
    for head, name in enumerate(picked):
        assert name == names[head] or torch.equal(
            orders[names.index(name)].view(-1)[:64].sort().values, orders[head][:64].sort().values
        )
    assert selection.patterns == names
    again, kept = chooser.select(call, state)
    assert torch.equal(kept.chosen, state.chosen)
    assert torch.equal(again.query_order.order, selection.query_order.order)


def test_orders_of_heads_are_chosen_by_every_batch_element():
    layout = LAYOUTS["text last"]
    call = make_call(layout, batch=2)
    chooser = Reordered(make_method("oracle_top_k", density=0.2, block=16), "head")
    together, state = chooser.select(call, None)
    output = attend_selected(call, together).output
    for b in range(2):
        alone = AttentionCall(*(x[b : b + 1] for x in (call.q, call.k, call.v)), layout)
        single, own = chooser.select(alone, None)
        assert torch.equal(own.chosen, state.chosen[b : b + 1])
        torch.testing.assert_close(attend_selected(alone, single).output, output[b : b + 1])


@pytest.mark.parametrize("answered", [False, True])
def test_orders_are_tried_in_the_methods_own_blocks(answered):
    """sparge's key blocks are half its query blocks; every head gets the order of least error on the sampled rows."""
    layout = LAYOUTS["text first"]
    call = make_call(layout, heads=3)
    method = make_method("sparge", density=0.3, block=16)
    chooser = Reordered(method, "head", answered)
    selection, state = chooser.select(call, None)
    assert (selection.mask.block.query, selection.mask.block.key) == (16, 8)
    names, orders = orders_of("head", layout, 16, torch.device("cpu"))
    dense = scaled_dot_product_attention(call.q, call.k, call.v)
    rows = torch.linspace(0, layout.tokens - 1, 32).long()
    errors = []
    for order in orders:
        tried, _ = method.select(in_order(call, order), None)
        token_order = TokenOrder(order)
        tried = replace(tried, query_order=token_order, key_order=token_order, compensate=answered)
        output = attend_selected(call, tried).output
        errors.append((output - dense)[:, :, rows].abs().sum((-1, -2)))
    assert torch.equal(torch.stack(errors).argmin(0), state.chosen)
    assert selection.patterns == names


def test_full_density_is_dense_attention_in_any_order():
    call = make_call(LAYOUTS["text first"])
    for order in (*ORDERS, "head"):
        method = make_method("oracle_top_k", density=1.0, block=16)
        output = Run(Recipe(method, DenseFirst(0, 0), min_tokens=0, token_order=order)).attend(call)
        torch.testing.assert_close(output, scaled_dot_product_attention(call.q, call.k, call.v))


def test_a_run_says_which_order_every_head_got():
    recipe = Recipe(
        make_method("random_blocks", density=0.3, block=16),
        DenseFirst(0, 0),
        min_tokens=0,
        token_order="head",
        compensate="centroids",
        shared_selection=True,
    )
    run = Run(recipe)
    for branch in ("cond", "uncond"):
        run.attend(make_call(LAYOUTS["text last"], site=Site(0, 1, 0, 4, branch)))
    first, second = run.trace.records
    assert len(first.pattern) == 2
    assert first.pattern == second.pattern
    assert second.source == (0, "cond")
    assert all(value > 0 for value in second.compensated)


def test_a_recipe_keeps_its_order():
    recipe = Recipe.of("xattention", token_order="2x4x4")
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert "token_order" not in Recipe.of("xattention").to_toml()
    assert Recipe.of("xattention").chooser == recipe.method


def test_a_cube_is_read_with_either_sign():
    layout = LAYOUTS["text last"]
    ascii_names, letters = orders_of("2x4x4", layout, 32, torch.device("cpu"))
    sign_names, signs = orders_of("2×4×4", layout, 32, torch.device("cpu"))
    assert ascii_names == sign_names == ("2×4×4",)
    assert torch.equal(letters, signs)
    assert torch.equal(letters, cube_orders(layout, ((2, 4, 4),), torch.device("cpu")))


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("xattention", {"token_order": "spiral"}, "token_order is one of model, token_major, hilbert, head"),
        ("xattention", {"token_order": "4x4"}, "or a cube"),
        ("xattention", {"token_order": "0x4x4"}, "or a cube"),
        (
            "svg",
            {"token_order": "hilbert"},
            "'svg' with these parameters puts the tokens in an order of its own",
        ),
        ("xattention", {"token_order": "hilbert", "causal": True}, "queries and keys alone"),
        ("adaspa", {"token_order": "head"}, "learns from the call before"),
        ("sparge", {"token_order": "4x4x4", "order": "hilbert"}, "an order of its own or needs theirs"),
        ("sparge", {"token_order": "4x4x4", "sink": True}, "queries and keys alone"),
        ("radial", {"token_order": "4x4x4"}, "queries and keys alone"),
        ("sliding_tile", {"token_order": "hilbert"}, "queries and keys alone"),
        ("dense", {"token_order": "hilbert"}, "queries and keys alone"),
    ],
)
def test_what_makes_no_sense_is_refused(source, options, message):
    with pytest.raises(RecipeError, match=message):
        Recipe.of(source, **options)
