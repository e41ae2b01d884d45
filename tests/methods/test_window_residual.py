"""DiTFastAttn's window attention with residual sharing: formula, limits, planted residual, invariance, bad values."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve import Dense, DenseFirst, Recipe, RecipeError, Run, Site, VideoLayout
from videosieve.methods.base import Selection, attend_selected
from videosieve.methods.window_residual import WindowResidual, WindowState, fit_batch, window_mask
from videosieve.schedule import Table
from videosieve.testing.factories import make_call

CPU = torch.device("cpu")
LAYOUTS = {
    "text first": VideoLayout.of(3, 4, 5, text_first=7),
    "text last": VideoLayout.of(3, 4, 5, text_last=7),
    "no text": VideoLayout.of(3, 5, 5),
}


def banded(call, window: int, block: int) -> torch.Tensor:
    """The executed mask in loops over tokens: a block is kept as soon as one of its pairs is."""
    video = range(*call.layout.video.indices(call.tokens))
    blocks = -(-call.tokens // block)
    kept = torch.zeros(blocks, blocks, dtype=torch.bool)
    for i in range(call.tokens):
        for j in range(call.tokens):
            if i not in video or j not in video or abs(i - j) <= window:
                kept[i // block, j // block] = True
    return kept.repeat_interleave(block, 0).repeat_interleave(block, 1)[: call.tokens, : call.tokens]


def attend(call, mask: torch.Tensor | None = None) -> torch.Tensor:
    return scaled_dot_product_attention(call.q, call.k, call.v, attn_mask=mask, scale=call.scale)


def calls(layout, steps: int, **sizes):
    generator = torch.Generator().manual_seed(3)
    site = (Site(0, 1, step, steps) for step in range(steps))
    return [make_call(layout, generator=generator, site=at, **sizes) for at in site]


@pytest.mark.parametrize("block", [1, 8, 16])
@pytest.mark.parametrize("window", [0, 1, 9, 40])
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_mask_is_the_band_of_the_formula_in_whole_blocks(name, window, block):
    (call,) = calls(LAYOUTS[name], 1)
    mask = window_mask(call.layout, window, block, False, CPU)
    assert torch.equal(mask.to_dense()[0, 0], banded(call, window, block))


def test_a_fraction_is_of_the_video_tokens_on_either_side():
    (call,) = calls(LAYOUTS["text last"], 1)
    selection, _ = WindowResidual(0.125, residual=False, block=1).select(call, None)
    row = selection.mask.to_dense()[0, 0, 30]
    assert row[:60].nonzero().flatten().tolist() == list(
        range(23, 38)
    )  # 7 = 60 / 8 tokens each side, ends included
    assert row[60:].all()


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_output_is_window_plus_residual_of_the_last_full_step(name):
    """O_k ≈ W_k + O_r − W_r with r the last full step, written with token masks."""
    method = WindowResidual(9, block=8)
    rows = ("F", "F", "W", "A", "W", "F", "W")
    run = Run(Recipe(method, Table(rows), min_tokens=0))
    full = window = None
    for call, row in zip(calls(LAYOUTS[name], len(rows), batch=2), rows, strict=True):
        mask = banded(call, 9, 8)
        if row == "A":
            continue
        output = run.attend(call)
        if row == "F":
            full, window = attend(call), attend(call, mask)
            torch.testing.assert_close(output, full)
        else:
            torch.testing.assert_close(output, attend(call, mask) + full - window, rtol=0, atol=2e-6)
    assert [record.action for record in run.trace.records] == [
        "dense",
        "dense",
        "sparse",
        "sparse",
        "dense",
        "sparse",
    ]


def test_only_a_full_step_that_a_window_step_follows_keeps_a_residual():
    run = Run(Recipe(WindowResidual(9, block=8), Table(("F", "F", "W", "F", "A", "F")), min_tokens=0))
    held = []
    for call in calls(LAYOUTS["text last"], 6):
        if call.site.step != 4:
            run.attend(call)
        held.append(next((state.step for state in run.states().values() if state), None))
    assert held == [None, 1, 1, 1, 1, 1]
    assert run.memory().states == 2 * 60 * 16 * 4  # heads × video tokens × head_dim × bytes


def test_a_window_of_everything_is_dense_attention():
    run = Run(Recipe(WindowResidual(1.0, block=8), Table(("F", "W")), min_tokens=0))
    for call in calls(LAYOUTS["text first"], 2):
        torch.testing.assert_close(run.attend(call), attend(call))
    assert run.trace.records[1].density == 1.0


def test_the_same_inputs_again_give_full_attention_again():
    """The paper's premise at its limit: where nothing changes between steps, W + R is O."""
    run = Run(Recipe(WindowResidual(3, block=8), DenseFirst(1, 0), min_tokens=0))
    (call,) = calls(LAYOUTS["text last"], 1)
    for step in range(3):
        output = run.attend(replace(call, site=Site(0, 1, step, 3)))
        torch.testing.assert_close(output, attend(call), rtol=0, atol=2e-6)
    assert run.trace.records[2].density < 0.7


def test_a_planted_far_token_is_lost_by_the_window_and_kept_by_the_residual():
    """All queries look at one token out of the window's reach; a little noise comes on top at the window step."""
    full, later = calls(LAYOUTS["no text"], 2, heads=1)
    for call in (full, later):
        call.q.mul_(0.01)[..., 0] = 4.0
        call.k.mul_(0.01)[:, :, 70, 0] = 8.0
        call.v[:, :, 70] = 5.0
    near = {}
    for residual in (True, False):
        run = Run(Recipe(WindowResidual(4, residual, block=4), Table(("F", "W")), min_tokens=0))
        outputs = [run.attend(call) for call in (full, later)]
        near[residual] = (outputs[1][:, :, :50] - 5.0).abs().mean().item()
    assert near[True] < 0.5
    assert near[False] > 4.0


def test_each_batch_element_and_head_is_attended_as_if_alone():
    method = WindowResidual(9, block=8)
    both = calls(LAYOUTS["text last"], 2, batch=2, heads=3)
    together = Run(Recipe(method, Table(("F", "W")), min_tokens=0))
    output = [together.attend(call) for call in both][1]
    for batch in range(2):
        alone = Run(Recipe(method, Table(("F", "W")), min_tokens=0))
        for call in both:
            part = [x[batch : batch + 1, 1:2] for x in (call.q, call.k, call.v)]
            last = alone.attend(replace(call, q=part[0], k=part[1], v=part[2]))
        torch.testing.assert_close(last, output[batch : batch + 1, 1:2], rtol=0, atol=2e-6)


def test_a_residual_fits_a_call_with_one_or_both_guidance_branches():
    residual = torch.arange(4.0).view(4, 1, 1, 1)
    assert fit_batch(residual, 4).flatten().tolist() == [0, 1, 2, 3]
    assert fit_batch(residual, 2).flatten().tolist() == [2, 3]  # the conditional half
    assert fit_batch(residual[2:], 4).flatten().tolist() == [2, 3, 2, 3]


def test_without_a_full_step_before_it_the_first_call_is_full():
    run = Run(Recipe(WindowResidual(9, block=8), DenseFirst(0, 0), min_tokens=0))
    for call in calls(LAYOUTS["text last"], 2):
        run.attend(call)
    full, window = (record.density for record in run.trace.records)
    assert full == 1.0
    assert window < 0.75
    plain = Run(Recipe(WindowResidual(9, residual=False, block=8), DenseFirst(0, 0), min_tokens=0))
    (call,) = calls(LAYOUTS["text last"], 1)
    torch.testing.assert_close(plain.attend(call), attend(call, banded(call, 9, 8)))
    assert plain.memory().states == 0


def test_the_first_frame_can_be_a_sink():
    (call,) = calls(LAYOUTS["no text"], 1)
    mask = window_mask(call.layout, 5, 1, True, CPU).to_dense()[0, 0]
    assert mask[:, :25].all()
    assert not mask[60, 26:55].any()


def test_bfloat16_and_constant_inputs_stay_finite():
    run = Run(Recipe(WindowResidual(9, block=8), Table(("F", "W")), min_tokens=0))
    for call in calls(LAYOUTS["text last"], 2, dtype=torch.bfloat16):
        call.q.fill_(100.0)
        call.k.fill_(100.0)
        output = run.attend(call)
        assert output.dtype == torch.bfloat16
        assert torch.isfinite(output).all()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"window": -1}, "a count >= 0, got window=-1"),
        (
            {"window": 1.5},
            r"a fraction .* in \[0.0, 1.0\] or a count .*, got window=1.5; write a count without",
        ),
        ({"window": float("nan")}, "got window=nan"),
        ({"window": True}, "got window=True"),
        ({"window": "wide"}, "got window='wide'"),
        ({"block": 0}, "block"),
    ],
)
def test_bad_values_are_refused(values, message):
    with pytest.raises(RecipeError, match=message):
        WindowResidual(**values)


def test_a_window_wider_than_the_video_is_refused():
    (call,) = calls(LAYOUTS["no text"], 1)
    with pytest.raises(RecipeError, match="window=75 and 75 video tokens"):
        WindowResidual(75, residual=False).select(call, None)


def test_the_state_of_a_dense_method_is_never_asked_for():
    run = Run(Recipe(Dense(), Table(("F", "W")), min_tokens=0))
    for call in calls(LAYOUTS["no text"], 2):
        run.attend(call)
    assert not run.states()


def test_observing_uses_the_same_window_as_selecting():
    (call,) = calls(LAYOUTS["text last"], 1)
    method = WindowResidual(9, block=8)
    state = method.observe_dense(call, attend(call), None)
    assert isinstance(state, WindowState)
    call = replace(call, site=Site(0, 1, 1, 2))
    selection, _ = method.select(call, state)
    window = attend_selected(call, Selection(selection.mask)).output
    torch.testing.assert_close(method.correct(call, window, state), attend(call), rtol=0, atol=2e-6)
