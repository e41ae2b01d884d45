"""The head atlas: planted heads are named, recalls are what loops give, and the model stays dense."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from videosieve.atlas.head_atlas import name_kinds, summarise_sightings, survey, untrained, write_atlases
from videosieve.atlas.probe import DENSITIES, Sighting, look
from videosieve.call import AttentionCall
from videosieve.errors import ModelError
from videosieve.forward import Site
from videosieve.generation.generate import generate
from videosieve.generation.request import Request
from videosieve.layout import VideoLayout
from videosieve.methods.geometry.band import band_patterns
from videosieve.recipe import Recipe
from videosieve.report.pictures.atlas import plot_atlas

LAYOUT = VideoLayout.of(8, 8, 8, text_last=5)


def planted_call() -> AttentionCall:
    """Head 0 looks inside its frame, head 1 at its place in all frames, head 2 everywhere."""
    tokens = torch.arange(LAYOUT.tokens)
    video = tokens < 512
    keys = torch.zeros(3, LAYOUT.tokens, 64)
    keys[0, video, tokens[video] // 64] = 12.0
    keys[1, video, tokens[video] % 64] = 12.0
    v = torch.randn(1, 3, LAYOUT.tokens, 64, generator=torch.Generator().manual_seed(0))
    return AttentionCall(keys[None], keys[None], v, LAYOUT, Site(0, 1, 0, 4), 0.25)


def test_planted_heads_are_seen_as_what_they_are():
    seen = look(planted_call())
    at = DENSITIES.index(0.3)
    assert seen.kind[at, :2].tolist() == [0, 1]
    assert seen.spatial[at, 0] > 0.9 > seen.spatial[at, 1] * 1.5
    assert seen.temporal[at, 1] > 0.9 > seen.temporal[at, 0] * 1.5
    assert seen.spatial[at, 2] == pytest.approx(float(seen.density[at]), abs=1e-3)
    assert (seen.oracle >= torch.maximum(seen.spatial, seen.temporal) - 1e-5).all()


def test_recall_is_the_softmax_mass_under_the_executed_mask():
    call = planted_call()
    seen = look(call)
    weights = (call.q @ call.k.mT * call.scale).softmax(-1)
    for row, density in enumerate(DENSITIES):
        patterns = band_patterns(LAYOUT, density, None, False, call.q.device)
        for pattern, recall in zip(patterns, (seen.spatial, seen.temporal), strict=True):
            kept = pattern.rows(torch.arange(LAYOUT.tokens))
            expected = (weights * kept).sum(-1).mean(-1)[0]
            torch.testing.assert_close(recall[row], expected, rtol=1e-4, atol=1e-5)


def test_kinds_follow_the_written_rule():
    share = torch.tensor([[0.2, 0.9, 0.9, 0.1]])
    band, oracle = torch.tensor([[0.8, 0.8, 0.5, 0.3]]), torch.tensor([[0.9, 0.9, 0.9, 0.3]])
    assert name_kinds(share, band, oracle, 0.3) == [["spatial", "temporal", "other", "spatial"]]


def sighting(step: int, layer: int, spatial: float, kind: int) -> Sighting:
    full = torch.full((len(DENSITIES), 2), spatial)
    return Sighting(
        layer, step, 8, torch.tensor(DENSITIES), full, 1 - full, full + 1, torch.full_like(full, kind)
    )


def test_averages_take_each_call_once_and_leave_unseen_quarters_open():
    seen = [sighting(step, layer, 0.2 + 0.1 * step, step % 2) for step in (0, 1, 2) for layer in (0, 1)]
    atlas = summarise_sightings(seen, "planted", 1)
    # SVG: spatial at steps 0 and 2, temporal at step 1; static: the better of the two means.
    torch.testing.assert_close(atlas.recall["svg"], torch.full((4,), (0.2 + 0.7 + 0.4) / 3))
    torch.testing.assert_close(atlas.recall["static"], torch.full((4,), 0.7))
    torch.testing.assert_close(atlas.recall["oracle"], torch.full((4,), 1.3))
    quarters = atlas.as_json()["recall_over_steps"]
    assert quarters == [pytest.approx([0.45, 0.45]), pytest.approx([0.4, 0.4]), [None, None], [None, None]]


def test_a_survey_leaves_the_video_as_it_is_and_draws_itself(nano: Any, tmp_path: Path):
    request = Request("a red circle moves left", steps=2)
    before = generate(nano, request, Recipe.of("dense")).frames
    atlas = survey(nano, [request], "nano")
    assert torch.equal(generate(nano, request, Recipe.of("dense")).frames, before)
    assert len(atlas.kinds) == 2
    write_atlases([atlas, atlas], tmp_path / "atlas.json")
    content = json.loads((tmp_path / "atlas.json").read_text())
    assert sum(content["atlases"][0]["shares"].values()) == pytest.approx(1, abs=1e-3)
    plot_atlas(content["atlases"], tmp_path / "atlas.svg")
    assert "Attention heads of nano" in (tmp_path / "atlas.svg").read_text()


def test_bad_requests_are_refused(nano: Any):
    with pytest.raises(ModelError, match="every step"):
        survey(nano, [Request("a red circle moves left", steps=2)], "nano", every=0)
    with pytest.raises(ModelError, match="one of shapes-s"):
        untrained("wan")
