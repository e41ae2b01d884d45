"""AdaSpa: its two searches as loops, the dense limit, planted blocks, reuse and state, invariances, refusals."""

import math
import subprocess
import sys

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import videosieve
from videosieve import AttentionCall, DenseFirst, Recipe, RecipeError, Run, Site, VideoLayout
from videosieve.methods import AdaSpa, attend_selected
from videosieve.methods.adaspa import head_densities, heaviest_blocks, kept_share
from videosieve.testing.factories import make_call

LAYOUTS = {
    "video only": VideoLayout.of(4, 5, 5),
    "text last": VideoLayout.of(4, 5, 5, text_last=9),
    "text first": VideoLayout.of(4, 5, 5, text_first=20),
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
STEPS = 10


def calls(layout, steps, batch=2, heads=4, drift=0.2):
    """The same call drifting from step to step."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, batch, heads, layout.tokens, 8, generator=generator)
    for step in steps:
        yield AttentionCall(2 * q, k, v, layout, Site(0, 1, step, STEPS))
        q = q + drift * torch.randn(q.shape, generator=generator)
        k = k + drift * torch.randn(k.shape, generator=generator)


def make_run(dense_steps=0, search_stride=1, **parameters):
    method = AdaSpa(block=16, search_stride=search_stride, **parameters)
    return Run(Recipe(method, DenseFirst(dense_steps, 0), min_tokens=0))


def search_by_loops(call, lse, density, adaptive, stride=1):
    """Equations 13 and 14, row-wise, with text forced and the three tiers; one block at a time."""
    tokens, video = call.tokens, range(call.tokens)[call.layout.video]
    blocks = [range(start, min(start + 16, tokens)) for start in range(0, tokens, 16)]
    text = [any(token not in video for token in block) for block in blocks]
    weights = (call.q.double() @ call.k.double().mT * call.scale - lse.double().unsqueeze(-1)).exp()
    keep = torch.zeros(call.batch, call.heads, len(blocks), len(blocks), dtype=torch.bool)
    for b in range(call.batch):
        mass = [
            [
                [float(weights[b, h][list(rows)[::stride]][:, list(columns)].sum()) for columns in blocks]
                for rows in blocks
            ]
            for h in range(call.heads)
        ]

        def select(h, share, b=b, mass=mass):
            count = max(round(share * text.count(False)), 1)
            for i in range(len(blocks)):
                allowed = [j for j in range(len(blocks)) if not text[j]]
                best = sorted(allowed, key=lambda j: -mass[h][i][j])[:count]
                for j in range(len(blocks)):
                    keep[b, h, i, j] = text[i] or text[j] or j in best

        for h in range(call.heads):
            select(h, density)
        if adaptive:
            own = [i for i in range(len(blocks)) if not text[i]]
            recall = [
                sum(mass[h][i][j] for i in own for j in own if keep[b, h, i, j])
                / sum(mass[h][i][j] for i in own for j in own)
                for h in range(call.heads)
            ]
            ranked = sorted(range(call.heads), key=lambda h: -recall[h])
            n = min(sum(r > 0.8 for r in recall), call.heads // 2)
            for h in ranked[:n]:
                select(h, density / 2)
            for h in ranked[call.heads - n :]:
                select(h, 1.5 * density)
    return keep


@layouts
@pytest.mark.parametrize("adaptive", [False, True], ids=["uniform", "head-adaptive"])
@pytest.mark.parametrize(("search_stride", "looked_at"), [(1, 1), (None, 2), (4, 4)])
def test_both_searches_are_the_papers_and_masks_are_reused_between_them(
    layout, adaptive, search_stride, looked_at
):
    """Of every block, or of every second or fourth query of it."""
    run = make_run(density=0.4, head_adaptive=adaptive, search_steps=(0.2, 5), search_stride=search_stride)
    lse = expected = None
    for call in calls(layout, range(2, 8)):
        call.q[:, 0] *= 3  # a sharp head, so that the tiers come into play
        output = run.attend(call)
        (state,) = run.states().values()
        if call.site.step == 2:
            lse = (call.q @ call.k.mT * call.scale).logsumexp(-1)
            torch.testing.assert_close(output, scaled_dot_product_attention(call.q, call.k, call.v))
        if call.site.step in (2, 5):
            expected = search_by_loops(call, lse, 0.4, adaptive, looked_at)
        assert torch.equal(state.mask.unpack().keep, expected)
        if call.site.step > 2:
            scores = (call.q @ call.k.mT * call.scale).masked_fill(
                ~state.mask.unpack().to_dense(), -torch.inf
            )
            torch.testing.assert_close(output, scores.softmax(-1) @ call.v)
    densities = [record.density for record in run.trace.records]
    assert densities[0] == 1
    assert max(densities[1:]) < 0.8


def test_the_lse_is_kept_while_a_search_is_due_and_masks_take_a_bit_a_block():
    run = make_run(search_steps=(2, 5))
    layout = LAYOUTS["text last"]
    kept = {}
    for call in calls(layout, range(2, 8)):
        run.attend(call)
        (state,) = run.states().values()
        kept[call.site.step] = (state.step, state.lse is not None)
        assert state.mask.bits.numel() == 2 * 4 * 7
        assert state.mask.bits.dtype == torch.uint8
        lse = 4 * 2 * 4 * layout.tokens if call.site.step < 5 else 0
        assert run.memory().states == lse + state.mask.bits.numel()
    assert kept == {2: (2, True), 3: (2, True), 4: (2, True), 5: (5, False), 6: (5, False), 7: (5, False)}


def test_a_search_step_that_was_skipped_is_made_up_for():
    run = make_run(search_steps=(2, 5))
    steps = {}
    for call in calls(LAYOUTS["video only"], (3, 4, 7, 8)):
        run.attend(call)
        steps[call.site.step] = next(iter(run.states().values())).step
    assert steps == {3: 3, 4: 3, 7: 7, 8: 7}


def test_a_search_step_may_be_a_fraction_or_a_number():
    run = make_run(search_steps=(0.29, 0.6))
    steps = []
    for call in calls(LAYOUTS["video only"], range(10)):
        run.attend(call)
        steps.append(next(iter(run.states().values())).step)
    assert steps == [0, 0, 2, 2, 2, 2, 6, 6, 6, 6]


def test_reuse_with_unchanged_inputs_selects_what_a_search_would():
    run = make_run(search_steps=(2, 3))
    masks = []
    for call in calls(LAYOUTS["text last"], (2, 3, 4), drift=0.0):
        run.attend(call)
        masks.append(next(iter(run.states().values())).mask.bits)
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], masks[2])


@layouts
def test_density_one_is_dense_attention(layout):
    run = make_run(density=1.0)
    for call in calls(layout, range(3)):
        expected = scaled_dot_product_attention(call.q, call.k, call.v)
        torch.testing.assert_close(run.attend(call), expected)


def test_the_plain_function_starts_from_no_state_and_is_the_first_search():
    call = next(calls(LAYOUTS["text last"], [0]))
    result = videosieve.attention(call.q, call.k, call.v, call.layout, "adaspa")
    torch.testing.assert_close(result.output, scaled_dot_product_attention(call.q, call.k, call.v))
    assert result.mask.density == 1


def test_planted_blocks_are_found_and_stay():
    layout = VideoLayout.of(1, 8, 12)  # six blocks of 16
    target = torch.tensor([3, 5, 1, 0, 2, 4])
    code = torch.eye(6).repeat_interleave(16, 0)
    q, k = 20 * code[None, None], 20 * torch.eye(6)[target].repeat_interleave(16, 0)[None, None]
    run = make_run(density=1 / 6, search_steps=(0,))
    for step in range(3):
        run.attend(AttentionCall(q, k, torch.randn_like(q), layout, Site(0, 1, step, STEPS)))
    keep = next(iter(run.states().values())).mask.unpack().keep
    assert keep[0, 0].nonzero()[:, 1].tolist() == target.argsort().tolist()
    assert run.trace.records[-1].recall == pytest.approx([1.0], abs=1e-3)


def test_text_blocks_are_kept_whole_and_come_on_top():
    call = next(calls(LAYOUTS["text first"], [2]))  # 20 text tokens: blocks 0 and 1 of 8
    run = make_run(density=0.3, head_adaptive=False)
    run.attend(call)
    keep = next(iter(run.states().values())).mask.unpack().keep
    assert keep[..., :2].all()
    assert keep[..., :2, :].all()
    assert (keep[..., 2:, 2:].sum(-1) == round(0.3 * 6)).all()


def test_heads_of_high_recall_pay_for_those_of_low():
    recall = torch.tensor(
        [[0.95, 0.5, 0.85, 0.7, 0.3], [0.9, 0.9, 0.9, 0.9, 0.81], [0.1, 0.2, 0.3, 0.4, 0.5]]
    )
    tiers = head_densities(recall, 0.2, 0.8)
    expected = torch.tensor([[0.1, 0.3, 0.1, 0.2, 0.3], [0.1, 0.1, 0.2, 0.3, 0.3], [0.2, 0.2, 0.2, 0.2, 0.2]])
    torch.testing.assert_close(tiers, expected)
    torch.testing.assert_close(tiers.mean(-1), torch.full((3,), 0.2))


@pytest.mark.parametrize("density", [0.1, 0.6, 2 / 3, 0.8, 1.0])
def test_tiers_stay_possible_and_keep_their_mean(density):
    tiers = head_densities(torch.tensor([[0.9, 0.1]]), density, 0.8)
    assert ((tiers > 0) & (tiers <= 1 + 1e-6)).all()
    assert float(tiers.mean()) == pytest.approx(density)


def test_a_stale_lse_moves_no_block_within_a_row():
    mass = torch.rand(1, 2, 5, 5, generator=torch.Generator().manual_seed(0))
    factor = torch.rand(1, 2, 5, 1, generator=torch.Generator().manual_seed(1)) * 10
    text = torch.zeros(5, dtype=torch.bool)
    density = torch.tensor(0.4)
    assert torch.equal(heaviest_blocks(mass * factor, density, text), heaviest_blocks(mass, density, text))


def test_recall_is_a_share_of_the_same_estimate():
    mass = torch.tensor([[[[3.0, 1.0], [4.0, torch.inf]]]]) * 100
    keep = torch.tensor([[[[True, False], [True, False]]]])
    none = torch.zeros(2, dtype=torch.bool)
    finite = torch.tensor([[[[3.0, 1.0], [6.0, 2.0]]]])
    assert float(kept_share(finite, keep, none)) == 0.75
    assert float(kept_share(finite * 1e4, keep, none)) == 0.75
    assert kept_share(mass, keep, none).isfinite().all()


def test_recall_is_over_the_blocks_of_the_video_alone():
    mass = torch.tensor([[[[3.0, 1.0, 90.0], [2.0, 2.0, 90.0], [50.0, 50.0, 50.0]]]])
    keep = torch.tensor([[[[True, False, True], [True, False, True], [True, True, True]]]])
    text = torch.tensor([False, False, True])
    assert float(kept_share(mass, keep, text)) == 5 / 8
    assert float(kept_share(mass, keep, torch.tensor([True, True, True]))) == 0


def test_every_batch_element_gets_what_it_gets_alone():
    together, alone = make_run(density=0.3), [make_run(density=0.3) for _ in range(2)]
    for call in calls(LAYOUTS["text last"], (2, 3, 6)):
        output = together.attend(call)
        for b, run in enumerate(alone):
            part = AttentionCall(*(x[b : b + 1] for x in (call.q, call.k, call.v)), call.layout, call.site)
            torch.testing.assert_close(run.attend(part)[0], output[b])


def test_branches_have_searches_and_masks_of_their_own():
    run = make_run(density=0.3)
    for branch, seed in (("cond", 0), ("uncond", 1)):
        run.attend(
            make_call(site=Site(0, 1, 2, STEPS, branch), generator=torch.Generator().manual_seed(seed))
        )
    assert {key[2] for key in run.states()} == {"cond", "uncond"}
    cond, uncond = (state.mask.bits for state in run.states().values())
    assert not torch.equal(cond, uncond)
    assert [record.density for record in run.trace.records] == [1.0, 1.0]


@pytest.mark.parametrize("value", [0.0, 1.0, 1e4, torch.nan])
def test_constant_and_nan_inputs_give_a_selection_without_empty_rows(value):
    run = make_run(density=0.3)
    for call in calls(LAYOUTS["text last"], (2, 3, 6)):
        call.q.fill_(value)
        output = run.attend(call)
        keep = next(iter(run.states().values())).mask.unpack().keep
        assert keep.any(-1).all()
        assert output.isfinite().all() or math.isnan(value)


def test_scores_that_outgrow_the_cached_lse_still_give_a_selection():
    """exp(new score − old LSE) overflows fp32 here."""
    run = make_run(density=0.3, search_steps=(2, 3))
    for call in calls(LAYOUTS["text last"], (2, 3)):
        if call.site.step == 3:
            call.q.mul_(1e3)
        run.attend(call)
    keep = next(iter(run.states().values())).mask.unpack().keep
    assert keep.any(-1).all()
    assert run.trace.records[-1].density < 0.8


def test_the_selection_is_what_is_attended():
    call = next(calls(LAYOUTS["text last"], [2]))
    selection, state = AdaSpa(block=16).select(call, None)
    assert state.mask is None
    assert attend_selected(call, selection).mask.density == 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"density": 0}, r"video's key blocks .* must lie in \(0, 1\], got density=0"),
        ({"recall_split": 1.2}, "got recall_split=1.2"),
        ({"search_steps": (0.2, 1.5)}, r"fractions of all steps in \[0.0, 1.0\] or steps as ints >= 0"),
        ({"search_steps": (-1,)}, "without a decimal point"),
        ({"search_steps": ("a",)}, "search_steps are fractions"),
        ({"search_steps": (True,)}, "search_steps are fractions"),
        ({"search_steps": 5}, "search_steps are fractions"),
        ({"block": -1}, "at least 1, got block=-1"),
        ({"search_stride": 0}, "search_stride must be a whole number >= 1"),
        ({"search_stride": 3}, "must divide the block side .* got search_stride=3 and block=None"),
        ({"block": 9, "search_stride": 2}, "got search_stride=2 and block=9"),
    ],
)
def test_values_outside_their_range_are_refused(parameters, message):
    with pytest.raises(RecipeError, match=message):
        AdaSpa(**parameters)


LONG = """
import torch
from videosieve import AttentionCall, BlockMask, BlockSize, Site, VideoLayout
from videosieve.methods import AdaSpa
from videosieve.methods.adaspa import AdaSpaState
from videosieve.masks.packed_mask import PackedMask
layout = VideoLayout.of(33, 45, 80, text_last=256)
q, k, v = torch.randn(3, 1, 1, layout.tokens, 32, dtype=torch.bfloat16)
call = AttentionCall(q, k, v, layout, Site(0, 1, 30, 50))
lse = torch.full((1, 1, layout.tokens), 12.0)
old = PackedMask.of(BlockMask.dense(layout.tokens, BlockSize(128, 128)))
selection, _ = AdaSpa(search_steps=(30,)).select(call, AdaSpaState(10, lse, old))
assert selection.mask.keep.shape == (1, 1, 931, 931)
assert selection.mask.density < 0.3
from videosieve.testing.peak import peak_resident_gib
print(peak_resident_gib())
"""


@pytest.mark.slow
def test_119056_tokens_need_less_than_two_gib():
    run = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, check=True)
    assert float(run.stdout) < 2
