"""Every class that can be made sparse has a plan at its usual size."""

import diffusers
import pytest

from videosieve.integrations.diffusers.models import MODELS
from videosieve.planning.blueprints import BLUEPRINTS, Blueprint
from videosieve.planning.budget import make_budget
from videosieve.planning.flops import count_work
from videosieve.recipe import Recipe

SPARSE = [row.name for row in MODELS.values() if not row.dense]
PETA = 1e15
BY_HAND = {  # tokens, layers, heads, head_dim and PFLOPs of a batch element's attention, from papers, cards, configs
    "hunyuanvideo": (119_056, 60, 24, 128, 10.45),
    "hunyuanvideo-1.5": (112_856, 54, 16, 128, 5.63),
    "framepack": (32_400 + 9_080 + 729 + 256, 60, 24, 128, 1.33),
    "cogvideox-1.5-5b": (45_106, 42, 48, 64, 1.05),
    "consisid": (17_776, 42, 48, 64, 0.163),
    "wan2.1-14b": (75_600, 40, 40, 128, 4.68),
    "wan2.1-vace-14b": (75_600, 48, 40, 128, 5.62),
    "wan2.2-animate-14b": (75_600, 40, 40, 128, 4.68),
    "chronoedit-14b": (12_480, 40, 40, 128, 0.128),
    "skyreels-v2-14b": (51_000, 40, 40, 128, 2.13),
    "anyflow-14b": (32_760, 40, 40, 128, 0.879),
    "ltx-video-2b": (7_392, 28, 32, 64, 0.0125),
    "ltx-2": (24_576, 48, 32, 128, 0.475),
    "cosmos2-2b": (84_480, 28, 16, 128, 1.64),
    "cosmos3": (44_160 + 512, 36, 32, 128, 1.16),  # text in the keys only
    "kandinsky5-lite": (47_616, 32, 28, 64, 0.52),
    "kandinsky6": (47_616, 60, 32, 128, 2.23),
    "minimax-h3": (37_296 + 512 + 2 * 207, 50, 56, 128, 2.09),
    "motif-video-2b": (114_080 + 512, 36, 24, 64, 4.82),  # 28 layers as long, 8 twice as long without text
    "mochi-1": (44_520 + 256, 48, 24, 128, 1.18),
    "helios-14b": (8_640 + 2_400, 40, 40, 128, 0.0998),
    "easyanimate-5.1-12b": (53_248 + 256, 48, 48, 64, 1.69),
    "allegro": (79_200, 32, 24, 96, 1.85),
}


def blueprint_of(name: str) -> Blueprint:
    """The first plan of a class: the one that its row's figures are of."""
    return next(one for one in BLUEPRINTS.values() if one.transformer == name)


@pytest.mark.parametrize("name", SPARSE)
def test_every_class_has_a_plan(name: str):
    plan = blueprint_of(name)
    assert plan.name in BY_HAND
    assert MODELS[name].break_even is not None
    assert plan.latents(*plan.size)


def test_latents_hold_as_many_frames_as_the_models_say():
    assert BLUEPRINTS["minimax-h3"].latents(124, 768, 1344)[0] == 37
    assert BLUEPRINTS["allegro"].latents(88, 720, 1280)[0] == 22
    assert BLUEPRINTS["wan2.2-animate-14b"].latents(77, 720, 1280)[0] == 20 + 1
    assert BLUEPRINTS["mochi-1"].latents(163, 480, 848)[0] == 28


@pytest.mark.slow
@pytest.mark.parametrize("name", SPARSE)
def test_the_plan_of_every_class_is_the_count_by_hand(name: str):
    if not hasattr(diffusers, name):
        pytest.skip(f"diffusers {diffusers.__version__} has no {name}")
    plan, row = blueprint_of(name), MODELS[name]
    work = count_work(name, plan.config, plan.latents(*plan.size), plan.text, plan.batch)
    tokens, layers, heads, head_dim, attention = BY_HAND[plan.name]
    assert (work.tokens, work.layers, work.heads, work.head_dim) == (tokens, layers, heads, head_dim)
    assert work.attention / plan.batch / PETA == pytest.approx(attention, rel=0.01)
    assert row.break_even == pytest.approx(work.break_even, rel=0.02)
    if row.name != "CogVideoXTransformer3DModel":  # 1.5 is larger than what is usual
        assert row.usual is not None
        assert work.grid == row.usual[0]


@pytest.mark.slow
def test_a_plan_with_history_says_what_the_other_tokens_are():
    from videosieve.planning.budget import tokens_in_words

    budget = make_budget("framepack", Recipe.of("svg"))
    assert tokens_in_words(budget.work.layout) == "42,465 (9 × 45 × 80 video, 985 text, 9,080 other)"
