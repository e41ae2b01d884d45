"""MInference for video: its shapes as loops, the dense limit, planted shapes, the head search, refusals."""

import math
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import videosieve
from videosieve import AttentionCall, DenseFirst, Recipe, RecipeError, Run, Site, VideoLayout
from videosieve.methods import MInference, attend_selected
from videosieve.methods.estimates.exact_mass import exact_mass
from videosieve.methods.estimates.sampled_rows import sample_rows, stratified_rows
from videosieve.methods.geometry.minference_patterns import (
    PATTERNS,
    VERTICAL_SHARES,
    block_sparse,
    forced_blocks,
    pattern_blocks,
    sampled_mass,
    vertical_slash,
)
from videosieve.methods.searches.minference import MInferenceSearch, best_patterns
from videosieve.testing.factories import make_call

LAYOUTS = {
    "video only": VideoLayout.of(5, 6, 10),
    "text last": VideoLayout.of(5, 6, 10, text_last=9),
    "text first": VideoLayout.of(5, 6, 10, text_first=20),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
patterns = pytest.mark.parametrize("pattern", PATTERNS)
CPU = torch.device("cpu")
SIDE = 10


def kept(call, pattern, density=0.4, **parameters):
    method = MInference(density, pattern, block=SIDE, **parameters)
    return method.select(call, None)[0].mask.keep


@layouts
def test_sampled_mass_is_the_softmax_of_the_sampled_rows(layout):
    call = make_call(layout, batch=2)
    mass, query_block = sampled_mass(call, SIDE, 7, 3)
    rows = sample_rows(call, stratified_rows, 7, 3).tolist()
    weights = (call.q.double() @ call.k.double().mT * call.scale).softmax(-1)
    assert query_block.tolist() == [row // SIDE for row in rows]
    for i, row in enumerate(rows):
        assert row in range(layout.tokens)[layout.video]
        for j in range(mass.shape[-1]):
            expected = weights[:, :, row, j * SIDE : (j + 1) * SIDE].sum(-1)
            torch.testing.assert_close(mass[:, :, i, j], expected.float())


@layouts
@pytest.mark.parametrize("share", VERTICAL_SHARES.values())
@pytest.mark.parametrize("density", [0.3, 0.6])
def test_columns_and_diagonals_are_the_heaviest_that_fit(layout, share, density):
    call = make_call(layout, batch=2)
    forced = forced_blocks(layout, SIDE, CPU)
    mass, query_block = sampled_mass(call, SIDE, 16, 0)
    keep = vertical_slash(mass, query_block, density, share, forced)
    n = len(forced)
    for b, h in ((0, 0), (1, 1)):
        rows = [(int(query_block[r]), mass[b, h, r].tolist()) for r in range(len(query_block))]
        expected = forced.tolist()
        budget = density * n * n
        open_columns = [j for j in range(n) if not all(expected[i][j] for i in range(n))]
        height = max(sum(not expected[i][j] for i in range(n)) for j in open_columns)
        columns = round(share * (budget - sum(map(sum, expected))) / height)
        weight = {j: sum(row[j] for _, row in rows) for j in open_columns}
        best = sorted(open_columns, key=lambda j: -weight[j])[: max(columns, 0)]
        for i in range(n):
            for j in best:
                expected[i][j] = True
        gain = {
            d: sum(row[i - d] for i, row in rows if 0 <= i - d < n and i - d not in best)
            for d in range(1 - n, n)
        }
        gain[0] = math.inf
        left = budget - sum(map(sum, expected))
        for d in sorted(gain, key=lambda d: -gain[d]):
            cells = [(i, i - d) for i in range(n) if 0 <= i - d < n]
            left -= sum(not expected[i][j] for i, j in cells)
            if left < 0 and d != 0:
                break
            for i, j in cells:
                expected[i][j] = True
        assert keep[b, h].tolist() == expected


@layouts
def test_block_sparse_is_top_k_of_mean_pooled_scores(layout):
    call = make_call(layout, batch=2)
    forced = forced_blocks(layout, SIDE, CPU)
    keep = block_sparse(call, SIDE, 0.4, forced)
    n = len(forced)
    means = [
        [x[1, 1, i * SIDE : (i + 1) * SIDE].double().mean(0) for i in range(n)] for x in (call.q, call.k)
    ]
    for i in range(n):
        ranked = sorted(range(n), key=lambda j: (not bool(forced[i, j]), -float(means[0][i] @ means[1][j])))
        expected = {*ranked[: round(0.4 * n)], *forced[i].nonzero().flatten().tolist()}
        assert expected == set(keep[1, 1, i].nonzero().flatten().tolist())


@layouts
def test_the_a_shape_is_the_first_block_a_band_and_the_text(layout):
    keep = kept(make_call(layout), "a_shape", 0.5)[0, 0]
    forced = forced_blocks(layout, SIDE, CPU)
    distance = (torch.arange(len(keep))[:, None] - torch.arange(len(keep))).abs()
    width = int(distance[keep & ~forced].max())
    assert torch.equal(keep, forced | (distance <= width))


@layouts
@patterns
def test_density_one_is_dense_attention(layout, pattern):
    call = make_call(layout)
    result = videosieve.attention(
        call.q, call.k, call.v, layout, "minference", density=1.0, pattern=pattern, block=16
    )
    torch.testing.assert_close(result.output, scaled_dot_product_attention(call.q, call.k, call.v))


@layouts
@patterns
@pytest.mark.parametrize("density", [0.45, 0.7])
def test_every_shape_spends_about_the_same(layout, pattern, density):
    call = make_call(layout)
    selection, _ = MInference(density, pattern, block=SIDE).select(call, None)
    n = -(-layout.tokens // SIDE)
    # Shapes come in whole diagonals, columns, or band steps of two diagonals; block-sparse rows beside text are extra.
    assert density - 2.5 / n <= selection.mask.keep.double().mean() <= density + 5 / n


@layouts
@patterns
def test_text_the_first_block_and_the_diagonal_are_kept(layout, pattern):
    keep = kept(make_call(layout), pattern)
    assert (keep | ~forced_blocks(layout, SIDE, CPU)).all()
    if pattern != "block_sparse":
        assert keep.diagonal(dim1=-2, dim2=-1).all()


def planted(bias):
    """A call whose scores are a wanted [300, 300] bias, by letting the queries be one-hot and the keys the bias."""
    tokens = bias.shape[-1]
    layout = VideoLayout.of(5, 6, 10)
    q = torch.eye(tokens).expand(1, len(bias), -1, -1)
    return AttentionCall(
        q, bias.mT[None].contiguous(), torch.randn(1, len(bias), tokens, tokens), layout, scale=1.0
    )


PLACE = torch.arange(300)
OFFSET = PLACE[:, None] - PLACE


def test_planted_slashes_on_both_sides_and_planted_columns_are_found():
    slashes = 9.0 * ((OFFSET == 70) | (OFFSET == -150))
    columns = 9.0 * ((PLACE == 123) | (PLACE == 287)).expand(300, 300)
    call = planted(torch.stack([slashes, columns]))
    slash = kept(call, "slash", 0.25)[0, 0]
    assert slash.diagonal(-7).all()  # query block − key block = 7
    assert slash.diagonal(15).all()
    vertical = kept(call, "vertical", 0.12)[0, 1]
    assert vertical[:, 12].all()
    assert vertical[:, 28].all()
    assert not vertical[:, 20].all()


def test_the_search_gives_every_planted_head_its_shape():
    near = 6.0 * (OFFSET.abs() < 60)
    slashes = 9.0 * ((OFFSET == 70) | (OFFSET == -150) | (OFFSET == 200))
    columns = 9.0 * torch.isin(PLACE, torch.tensor([55, 123, 205, 287])).expand(300, 300)
    scattered = 9.0 * torch.rand(30, 30, generator=torch.Generator().manual_seed(0)).le(0.1).double()
    blocks = scattered.float().repeat_interleave(10, 0).repeat_interleave(10, 1)
    # Lines that the mean over a block shows as less than nothing: what pooling loses.
    lines = torch.stack([slashes, columns]).unflatten(-1, (30, 10)).unflatten(1, (30, 10))
    slashes, columns = (lines - 1.1 * lines.mean((2, 4), keepdim=True)).flatten(3, 4).flatten(1, 2)
    call = planted(torch.stack([near, slashes, columns, blocks]))
    run = Run(Recipe(MInferenceSearch(0.3, block=SIDE), DenseFirst(0, 0), min_tokens=0))
    output = run.attend(call)
    torch.testing.assert_close(output, scaled_dot_product_attention(call.q, call.k, call.v, scale=1.0))
    ((a_shape, slash, vertical, sparse),) = best_patterns(run.states(), 1)
    assert (a_shape, sparse) == ("a_shape", "block_sparse")
    assert slash in ("slash", "vertical_slash")
    assert vertical in ("vertical", "vertical_slash")
    recall = MInference(0.3, head_patterns=((a_shape, slash, vertical, sparse),), block=SIDE)
    selection, _ = recall.select(call, None)
    found = (exact_mass(call, SIDE) * selection.mask.keep).sum((-1, -2)) / 300
    for pattern in PATTERNS:
        other = (exact_mass(call, SIDE) * kept(call, pattern, 0.3)).sum((-1, -2)) / 300
        assert (found >= other - 1e-5).all()


def test_the_search_adds_up_calls_and_leaves_unseen_layers_alone():
    run = Run(Recipe(MInferenceSearch(0.4, block=SIDE), DenseFirst(0, 1), min_tokens=0))
    total = torch.zeros(len(PATTERNS), 2)
    for step in range(2):
        call = make_call(
            LAYOUTS["text last"],
            batch=2,
            site=Site(1, 2, step, 2),
            generator=torch.Generator().manual_seed(step),
        )
        run.attend(call)
        blocks = pattern_blocks(call, PATTERNS, 0.4, SIDE, 64, 0)
        mass = exact_mass(call, SIDE)
        total += torch.stack([(mass * keep).sum((-1, -2)).mean(0) for keep in blocks.values()]) / call.tokens
    torch.testing.assert_close(run.states()[("", 1, "cond")], total)
    table = best_patterns(run.states(), 2)
    assert table[0] == ("vertical_slash",) * 2
    assert table[1] == tuple(PATTERNS[i] for i in total.argmax(0))


def test_a_search_without_calls_says_what_to_do():
    with pytest.raises(RecipeError, match="no attention call was searched; use dense_steps=0"):
        best_patterns({}, 2)


def test_heads_get_their_own_shapes_and_the_trace_their_names():
    call = make_call(LAYOUTS["text last"], heads=3, site=Site(1, 2))
    table = (("a_shape",) * 3, ("block_sparse", "a_shape", "vertical"))
    selection, _ = MInference(0.4, head_patterns=table, block=SIDE).select(call, None)
    for head, name in enumerate(table[1]):
        assert torch.equal(selection.mask.keep[:, head], kept(call, name)[:, head])
        assert selection.patterns[int(selection.pattern[0, head])] == name
    with pytest.raises(RecipeError, match="each of 2 layers and one entry for each of 2 heads"):
        MInference(head_patterns=table).select(make_call(site=Site(0, 2)), None)


def test_a_table_survives_the_recipe_file():
    recipe = Recipe(MInference(head_patterns=(("a_shape", "slash"), ("vertical", "block_sparse"))))
    assert Recipe.from_toml(recipe.to_toml()) == recipe


@patterns
def test_every_batch_element_gets_what_it_gets_alone(pattern):
    call = make_call(LAYOUTS["text last"], batch=2)
    together = kept(call, pattern)
    for b in range(2):
        alone = AttentionCall(*(x[b : b + 1] for x in (call.q, call.k, call.v)), call.layout)
        assert torch.equal(kept(alone, pattern)[0], together[b])


def test_the_sample_depends_on_seed_layer_and_step_alone():
    call = make_call(LAYOUTS["text last"])
    torch.manual_seed(1)
    first = kept(call, "slash", rows=4)
    torch.manual_seed(2)
    assert torch.equal(kept(call, "slash", rows=4), first)
    others = [kept(call, "slash", rows=4, seed=seed) for seed in range(1, 5)]
    assert any(not torch.equal(other, first) for other in others)


@patterns
@pytest.mark.parametrize("value", [0.0, 1.0, 1e4, torch.nan])
def test_constant_and_nan_inputs_give_a_selection_without_empty_rows(pattern, value):
    call = make_call(LAYOUTS["text last"])
    call.q.fill_(value)
    selection, _ = MInference(0.4, pattern, block=SIDE).select(call, None)
    assert selection.mask.keep.any(-1).all()
    if not math.isnan(value):
        assert attend_selected(call, selection).output.isfinite().all()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"density": 0.0}, r"share of query–key blocks to keep and must lie in \(0, 1\], got density=0.0"),
        ({"pattern": "vertical-slash"}, "pattern is one of a_shape, slash, .*, got pattern='vertical-slash'"),
        ({"head_patterns": (("a_shape", "b"),)}, r"got head_patterns\[0\]\[1\]='b'"),
        ({"head_patterns": ("a_shape",)}, "list with one list per layer"),
        ({"rows": 0}, "rows must be a whole number >= 1, got rows=0"),
        ({"rows": 0.5}, "rows must be a whole number >= 1"),
        ({"seed": "x"}, "seed must be a whole number"),
        ({"block": True}, "at least 1, got block=True"),
    ],
)
def test_values_outside_their_range_are_refused(parameters, message):
    with pytest.raises(RecipeError, match=message):
        MInference(**parameters)
    if "pattern" not in parameters and "head_patterns" not in parameters:
        with pytest.raises(RecipeError, match=message):
            MInferenceSearch(**parameters)


LONG = """
import torch
from videosieve import AttentionCall, VideoLayout
from videosieve.methods import MInference
from videosieve.methods.geometry.minference_patterns import PATTERNS
layout = VideoLayout.of(33, 45, 80, text_last=256)
q, k, v = torch.randn(3, 1, 5, layout.tokens, 32, dtype=torch.bfloat16)
selection, _ = MInference(head_patterns=(PATTERNS,)).select(AttentionCall(q, k, v, layout), None)
assert (selection.mask.head_density - 0.3).abs().max() < 0.01, selection.mask.head_density
from videosieve.testing.peak import peak_resident_gib
print(peak_resident_gib())
"""


def test_119056_tokens_need_less_than_two_gib():
    run = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 2
