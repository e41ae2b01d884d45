import pytest
import torch

from videosieve import AttentionCall, NumericsError, ShapeError, Site, VideoLayout

LAYOUT = VideoLayout.of(3, 4, 5, text_last=7)


def tensors(tokens: int = 67, **options):
    return [torch.randn(2, 3, tokens, 8, **options) for _ in range(3)]


def test_scale_defaults_to_the_inverse_root_of_head_dim():
    assert AttentionCall(*tensors(), LAYOUT).scale == 8**-0.5
    assert AttentionCall(*tensors(), LAYOUT, scale=0.5).scale == 0.5


def test_sizes_are_read_from_q():
    call = AttentionCall(*tensors(), LAYOUT)
    assert (call.batch, call.heads, call.tokens, call.head_dim) == (2, 3, 67, 8)


def test_a_layout_that_does_not_add_up_is_refused():
    with pytest.raises(ShapeError, match=r"60 video \+ 7 text = 67, but q has 66 tokens"):
        AttentionCall(*tensors(66), LAYOUT)


def test_tensors_that_disagree_are_refused():
    q, k, v = tensors()
    with pytest.raises(ShapeError, match="share one shape"):
        AttentionCall(q, k[:, :, :-1], v, LAYOUT)
    with pytest.raises(ShapeError, match="share dtype"):
        AttentionCall(q, k.double(), v, LAYOUT)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_check_finite_names_the_first_bad_place(bad: float):
    q, k, v = tensors()
    k[1, 2, 40, 3] = bad
    call = AttentionCall(q, k, v, LAYOUT, Site(4, 9, 2, 5))
    with pytest.raises(
        NumericsError, match="k must be finite.* batch=1, head=2, token=40, layer=4, step=2; 1 such"
    ):
        call.check_finite()


@pytest.mark.parametrize("values", [(3, 3, 0, 1), (-1, 3, 0, 1), (0, 1, 5, 5)])
def test_a_site_outside_the_model_is_refused(values):
    with pytest.raises(ShapeError, match="0 <= layer < layers|must be a whole number >= "):
        Site(*values)


def test_conditional_items_are_half_of_a_batch_with_both():
    last, first = (
        AttentionCall(*tensors(), LAYOUT, guided=True, conditional_first=order) for order in (False, True)
    )
    alone, other = (AttentionCall(*tensors(), LAYOUT, conditional=own) for own in (True, False))
    rows = [list(call.conditional_rows) for call in (last, first, alone, other)]
    assert rows == [[1], [0], [0, 1], []]
    for call, place in ((last, 1), (first, 0)):
        cond, uncond = call.guided_halves()
        assert torch.equal(cond.q[0], call.q[place])
        assert torch.equal(uncond.v[0], call.v[1 - place])
        assert (cond.site.branch, uncond.site.branch) == ("cond", "uncond")
        assert [list(one.conditional_rows) for one in (cond, uncond)] == [[0], []]


def test_a_branch_is_about_the_prompt_or_not():
    names = ("cond", "cond_uncond", "uncond", "uncond_stg", "uncond_modality")
    assert [Site(branch=name).is_conditional for name in names] == [True, True, False, False, False]
