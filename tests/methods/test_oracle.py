"""The two bounds: no selection of as many pairs beats the oracle, and chance holds its density's worth of mass."""

import itertools
import math
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import videosieve
from videosieve import AttentionCall, RecipeError, Site, VideoLayout
from videosieve.methods import OracleTopK, RandomBlocks, XAttention
from videosieve.methods.estimates.exact_mass import exact_mass
from videosieve.methods.oracle import spend
from videosieve.testing.factories import ODD_LAYOUT, make_call

LAYOUTS = {"odd": ODD_LAYOUT, "text last": VideoLayout.of(4, 4, 5, text_last=9)}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
scopes = pytest.mark.parametrize("scope", ["call", "head", "row"])


@layouts
def test_the_exact_mass_is_the_softmax_summed_by_loops(layout):
    call = make_call(layout, batch=2)
    weights = (call.q.double() @ call.k.double().mT * call.scale).softmax(-1)
    mass = exact_mass(call, 16)
    for i in range(mass.shape[2]):
        for j in range(mass.shape[3]):
            part = weights[:, :, i * 16 : (i + 1) * 16, j * 16 : (j + 1) * 16]
            torch.testing.assert_close(mass[:, :, i, j], part.sum((-1, -2)).float())


@pytest.mark.parametrize("density", [0.2, 0.5, 0.8])
def test_no_other_choice_of_as_many_blocks_holds_more(density):
    mass = torch.rand(9, generator=torch.Generator().manual_seed(0))
    pairs, first = torch.full((9,), 4), torch.zeros(9, dtype=torch.bool)
    keep = spend(mass, pairs, first, density)
    count = int(keep.sum())
    assert count == int(density * 9)
    best = max(sum(choice) for choice in itertools.combinations(mass.tolist(), count))
    assert float(mass[keep].sum()) == pytest.approx(best)


def test_partial_blocks_cost_what_they_are():
    mass, pairs = torch.tensor([4.0, 3.0, 2.0]), torch.tensor([16, 16, 4])
    first = torch.zeros(3, dtype=torch.bool)
    assert spend(mass, pairs, first, 20 / 36).tolist() == [True, False, True]
    assert spend(mass, pairs, first, 19 / 36).tolist() == [False, False, True]
    assert spend(mass, pairs, torch.tensor([False, True, False]), 0.1).tolist() == [False, True, False]


@layouts
@scopes
@pytest.mark.parametrize("density", [0.2, 0.5])
def test_the_density_is_spent_and_the_recall_is_exact(layout, scope, density):
    call = make_call(layout, batch=2, heads=3)
    selection, _ = OracleTopK(density, scope, block=16).select(call, None)
    keep, mask = selection.mask.keep, selection.mask
    n = keep.shape[-1]
    assert density - 1.5 / n < mask.density <= density + 1.5 / n
    assert keep.any(-1).all()
    weights = (call.q @ call.k.mT * call.scale).softmax(-1)
    expected = (weights * mask.to_dense()).sum(-1).mean(-1)
    torch.testing.assert_close(selection.recall, expected)
    if scope == "row":
        assert (keep.sum(-1) == round(density * n)).all()
    elif density > 0.3 and scope == "head":  # below, the one block that every row keeps is already more
        assert (mask.head_density <= density).all()


def test_wider_scopes_hold_more():
    call = make_call(VideoLayout.of(1, 8, 10), heads=4)
    call.q[:, 1] *= 4  # 80 tokens, whole blocks: all three scopes spend the same
    recalls = [
        float(OracleTopK(0.4, scope, block=16).select(call, None)[0].recall.mean())
        for scope in ("call", "head", "row")
    ]
    assert recalls[0] > recalls[1] > recalls[2]


@layouts
def test_methods_lie_below_the_oracle_of_their_density(layout):
    call = make_call(layout, batch=2)
    mass = exact_mass(call, 16)
    for method in (XAttention(0.5, stride=4, block=16), RandomBlocks(0.4, block=16)):
        mask = method.select(call, None)[0].mask
        recall = float((mass * mask.keep).sum() / mass.sum())
        oracle, _ = OracleTopK(mask.density + 1 / mask.keep.numel(), "call", block=16).select(call, None)
        assert recall <= float(oracle.recall.mean()) + 1e-6


@layouts
@scopes
def test_density_one_is_dense_attention(layout, scope):
    call = make_call(layout)
    expected = scaled_dot_product_attention(call.q, call.k, call.v)
    for options in ({"method": "oracle_top_k", "scope": scope}, {"method": "random_blocks"}):
        result = videosieve.attention(call.q, call.k, call.v, layout, density=1.0, block=16, **options)
        torch.testing.assert_close(result.output, expected)


def test_the_oracle_finds_planted_blocks():
    call = make_call(VideoLayout.of(1, 8, 10), heads=1, head_dim=8)
    target = torch.tensor([2, 0, 4, 1, 3])
    call.q[:], call.k[:] = 0, 0
    for row, column in enumerate(target.tolist()):
        call.q[:, :, row * 16 : row * 16 + 16, row] = 8
        call.k[:, :, column * 16 : column * 16 + 16, row] = 8
    keep = OracleTopK(0.2, block=16).select(call, None)[0].mask.keep
    assert keep[0, 0].nonzero()[:, 1].tolist() == target.tolist()


def test_random_blocks_hold_their_density_of_mass_on_average():
    call = make_call(VideoLayout.of(4, 8, 10), heads=8)
    mass = exact_mass(call, 16)
    recalls = []
    for seed in range(20):
        mask = RandomBlocks(0.25, block=16, seed=seed).select(call, None)[0].mask
        assert (mask.keep.sum(-1) == 5).all()
        recalls.append(float((mass * mask.keep).sum() / mass.sum()))
    assert sum(recalls) / 20 == pytest.approx(0.25, abs=0.01)


def test_random_blocks_depend_on_seed_layer_step_and_head_alone():
    def draw(site=None, seed=0, tensors=0):
        call = make_call(site=site, generator=torch.Generator().manual_seed(tensors))
        return RandomBlocks(0.4, block=16, seed=seed).select(call, None)[0].mask.keep

    first = draw()
    torch.manual_seed(5)
    assert torch.equal(draw(tensors=1), first)
    assert not torch.equal(first[:, 0], first[:, 1])
    for other in (draw(seed=1), draw(Site(1, 2)), draw(Site(0, 1, 1, 2))):
        assert not torch.equal(other, first)


def test_every_batch_element_gets_what_it_gets_alone():
    call = make_call(batch=2)
    for method in (OracleTopK(0.4, block=16), RandomBlocks(0.4, block=16)):
        together = method.select(call, None)[0].mask.keep.expand(2, -1, -1, -1)
        for b in range(2):
            alone = AttentionCall(*(x[b : b + 1] for x in (call.q, call.k, call.v)), call.layout)
            assert torch.equal(method.select(alone, None)[0].mask.keep[0], together[b])


@scopes
@pytest.mark.parametrize("value", [0.0, 1e4, torch.nan])
def test_constant_and_nan_inputs_give_a_selection_without_empty_rows(scope, value):
    call = make_call()
    call.q.fill_(value)
    selection, _ = OracleTopK(0.3, scope, block=16).select(call, None)
    assert selection.mask.keep.any(-1).all()
    assert selection.recall.isfinite().all()
    if not math.isnan(value):
        assert (
            videosieve.attention(call.q, call.k, call.v, call.layout, "random_blocks").output.isfinite().all()
        )


@pytest.mark.parametrize(
    ("cls", "parameters", "message"),
    [
        (OracleTopK, {"density": 1.5}, r"pairs to keep and must lie in \(0, 1\], got density=1.5"),
        (OracleTopK, {"scope": "batch"}, "scope must be 'call', 'head' or 'row', got scope='batch'"),
        (OracleTopK, {"block": 0}, "at least 1, got block=0"),
        (RandomBlocks, {"density": 0}, r"blocks to keep and must lie in \(0, 1\], got density=0"),
        (RandomBlocks, {"seed": 0.5}, "seed must be a whole number >= 0 and below 2\\^63, got seed=0.5"),
        (RandomBlocks, {"block": 2.0}, "at least 1, got block=2.0"),
    ],
)
def test_values_outside_their_range_are_refused(cls, parameters, message):
    with pytest.raises(RecipeError, match=message):
        cls(**parameters)


LONG = """
import torch
from videosieve import AttentionCall, VideoLayout
from videosieve.methods import OracleTopK, RandomBlocks
layout = VideoLayout.of(33, 45, 80, text_last=256)
q, k, v = torch.randn(3, 1, 1, layout.tokens, 16, dtype=torch.bfloat16)
for method in (RandomBlocks(), OracleTopK(0.3, "call")):
    selection, _ = method.select(AttentionCall(q, k, v, layout), None)
    assert abs(selection.mask.density - 0.3) < 0.001
from videosieve.testing.peak import peak_resident_gib
print(peak_resident_gib())
"""


@pytest.mark.slow
def test_119056_tokens_need_less_than_two_gib():
    run = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 2
