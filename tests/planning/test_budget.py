"""Costs counted from configs alone."""

import json
from pathlib import Path

import pytest

from videosieve.errors import ModelError, RecipeError
from videosieve.planning.blueprints import BLUEPRINTS
from videosieve.planning.budget import make_budget, read_blueprint
from videosieve.recipe import Recipe

PETA = 1e15


def svg(**changes: float) -> Recipe:
    return Recipe.of("svg", **changes)


@pytest.mark.parametrize(
    ("model", "tokens", "attention", "rest", "share"),
    [
        # Published or derived per-step figures: linear layers 12 · width² per token and block, 4 · tokens² · width.
        ("hunyuanvideo", 119_056, 10.45, 1.618, 0.866),
        ("cogvideox-1.5-5b", 45_106, 2.100, 0.858, 0.710),
        ("wan2.1-14b", 75_600, 9.364, 3.678, 0.718),
        ("wan2.1-1.3b", 32_760, 0.396, 0.170, 0.699),
        # 48 and 40 self-attentions of 40 heads of 128; the rest of VACE is 48 blocks of Wan's 40 and a projection each.
        ("wan2.1-vace-14b", 75_600, 2 * 4 * 75_600**2 * 5120 * 48 / PETA, 4.58, 0.710),
        ("skyreels-v2-14b", 51_000, 2 * 4 * 51_000**2 * 5120 * 40 / PETA, 2.48, 0.632),
        # 28 · width² per token and block: self-attention 8, queries and output of cross-attention 4, MLP 16.
        ("ltx-video-2b", 7_392, 0.0251, 0.0490, 0.338),
    ],
)
def test_real_models_cost_what_the_field_says(
    model: str, tokens: int, attention: float, rest: float, share: float
):
    budget = make_budget(model, svg(density=0.3))
    assert budget.work.tokens == tokens
    assert budget.attention_per_step / PETA == pytest.approx(attention, rel=0.01)
    assert budget.rest_per_step / PETA == pytest.approx(rest, rel=0.02)
    assert budget.work.share == pytest.approx(share, abs=0.005)


def test_the_bound_is_amdahls_with_the_warm_up_counted():
    budget = make_budget("shapes-s", svg(density=0.25, dense_steps=0.5))
    assert budget.run_density == pytest.approx(0.5 + 0.5 * 0.25)
    share = budget.work.share
    assert budget.bound == pytest.approx(1 / (1 - share + share * budget.run_density))
    assert make_budget("shapes-s", Recipe.of("dense")).bound == 1
    assert make_budget("shapes-s", svg(density=0.25, min_tokens=5000)).run_density == 1


def test_shapes_m_is_long_enough_that_attention_dominates():
    budget = make_budget("shapes-m", svg())
    assert budget.work.tokens == 4096 + 24
    assert budget.work.head_dim == 64
    assert budget.work.share > 0.7


@pytest.mark.parametrize(("model", "tokens"), [("shapes-s", 1024), ("shapes-m", 4096)])
def test_the_bundled_models_are_their_own_blueprints(model: str, tokens: int):
    folder = Path(__file__).parents[2] / "videosieve" / "shapes" / "weights" / model
    from_folder, known = make_budget(str(folder), svg()), make_budget(model, svg())
    assert from_folder.work == known.work
    assert from_folder.size == known.size
    assert known.work.tokens == tokens + 24
    weights = sum(file.stat().st_size for file in (folder / "transformer").glob("*.safetensors"))
    assert known.weight_bytes == pytest.approx(weights, rel=0.01)


def test_bad_input_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="did you mean 'wan2.1-14b'"):
        read_blueprint("wan2.1-14")
    with pytest.raises(ModelError, match="1, then 4 each: 125 frames do, 128 do not"):
        BLUEPRINTS["hunyuanvideo"].latents(128, 720, 1280)
    with pytest.raises(ModelError, match="divide"):
        BLUEPRINTS["hunyuanvideo"].latents(129, 721, 1280)
    with pytest.raises(RecipeError, match=r"\(0, 1\]"):
        make_budget("shapes-s", svg(), density=0.0)
    (tmp_path / "transformer").mkdir()
    (tmp_path / "transformer" / "config.json").write_text(json.dumps({"_class_name": "Other"}))
    with pytest.raises(ModelError, match="Other"):
        read_blueprint(str(tmp_path))
