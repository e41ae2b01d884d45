"""The examples of docs/measuring.md come out as the page says."""

import math
from pathlib import Path

import pytest
import torch

from videosieve.metrics import lse_error, psnr, recall, relative_l1, temporal_flicker
from videosieve.metrics.amdahl import amdahl_bound

PAGE = (Path(__file__).parents[2] / "docs" / "measuring.md").read_text(encoding="utf-8")


def test_psnr_of_nine_good_frames_and_a_bad_one():
    reference = torch.zeros(10, 3, 4, 4).double()
    video = reference + 0.01
    video[3] = 0.1
    result = psnr(video, reference)
    assert f"Mean {result.mean:.1f}; pooled {result.pooled:.1f}; worst {result.worst:.1f}" in PAGE


def test_recall_and_lse_error_of_the_examples():
    kept = torch.tensor([0.6, 0.3]).double().sum()
    assert recall(kept.log()[None], torch.zeros(1)) == pytest.approx(0.9)
    assert f"recall 0.9 is {lse_error(torch.tensor([0.9]).log(), torch.zeros(1)):.3f}" in PAGE
    two = torch.tensor([0.99, 0.01]).double().log()
    assert recall(two, torch.zeros(2)) == pytest.approx(0.5)
    assert f"and {lse_error(two, torch.zeros(2)):.2f} nats" in PAGE


def test_relative_l1_flicker_and_amdahl():
    value = relative_l1(torch.tensor([1.1, 1.9]), torch.tensor([1.0, 2.0]))
    assert f"0.2 ÷ 3 = {value:.3f}" in PAGE
    steps = torch.arange(5).view(-1, 1, 1, 1).expand(5, 3, 2, 2) * 0.02
    assert f"on average: {temporal_flicker(steps):.2f}" in PAGE
    density = (4 + 16 * 0.3) / 20
    assert f"÷ 20 = {density:.2f}" in PAGE
    bound = amdahl_bound(0.8, density)
    assert (
        f"= {bound:.2f}. A measured 1.6 is 1.6 ÷ {bound:.2f} = {1.6 / round(bound, 2):.0%}".replace("%", " %")
        in PAGE
    )
    assert math.isclose(amdahl_bound(0.8, 0), 5)


def test_every_metric_is_explained():
    from videosieve.metrics import METRICS

    headings = (
        " ".join(line for line in PAGE.splitlines() if line.startswith("###")).lower().replace("-", "_")
    )
    for name in METRICS:
        assert name in headings or name.replace("_", " ") in headings
