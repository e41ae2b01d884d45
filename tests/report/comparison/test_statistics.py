"""Medians, intervals and bounds, against numbers worked out by hand or by another road."""

import dataclasses
import itertools
from math import comb
from statistics import median

import pytest

from videosieve.report import Results
from videosieve.report.comparison.statistics import (
    FEWEST_SCENES,
    attention_share,
    estimate,
    summarise,
)
from videosieve.report.results import ClipResult


def test_few_scenes_have_a_median_and_no_interval():
    assert estimate([3.0]).median == 3.0
    found = estimate([1.0, 4.0, 2.0, 3.0])
    assert (found.median, found.low, found.high, found.scenes) == (2.5, None, None, 4)


def test_five_scenes_are_the_first_whose_range_comes_near_95_percent():
    # n values miss the true median where all lie on one side of it: 2 · 2^-n of all cases.
    assert 1 - 2 * 2**-FEWEST_SCENES == 0.9375
    assert estimate([1.0, 2.0, 3.0, 4.0, 5.0]).low == 1.0


def test_the_interval_is_that_of_all_resamples_there_are():
    values = [1.0, 2.0, 4.0, 8.0, 16.0]
    medians = sorted(median(drawn) for drawn in itertools.product(values, repeat=5))
    low, high = (medians[round(level * (len(medians) - 1))] for level in (0.025, 0.975))
    found = estimate(values)
    assert (found.low, found.median, found.high) == (low, 4.0, high)


def test_the_ends_are_those_of_the_exact_bootstrap_distribution():
    # P(median of a resample <= the k-th of n values) = P(Binomial(n, k / n) >= (n + 1) / 2)
    count = 17
    below = [
        sum(
            comb(count, hits) * (k / count) ** hits * (1 - k / count) ** (count - hits)
            for hits in range(9, 18)
        )
        for k in range(1, count + 1)
    ]
    expected = next(k for k, share in enumerate(below, start=1) if share >= 0.025)
    assert below[expected - 1] < 0.05  # so an interval of 90 % would end elsewhere
    found = estimate([float(value) for value in range(1, count + 1)])
    assert (found.low, found.median, found.high) == (expected, 9, count + 1 - expected)


def test_more_scenes_make_the_interval_narrower_and_the_seed_is_fixed():
    few, many = estimate([float(i % 10) for i in range(10)]), estimate([float(i % 10) for i in range(400)])
    assert few.low is not None
    assert few.high is not None
    assert many.low is not None
    assert many.high is not None
    assert few.low < many.low <= many.median <= many.high < few.high
    assert estimate([float(i % 10) for i in range(10)]) == few


def test_a_comparison_comes_to_one_line_a_method(two_seeds: tuple[Results, object]):
    results = two_seeds[0]
    svg = [index for index, clip in enumerate(results.clips) if clip.method == "svg"]
    results.clips[svg[1]] = dataclasses.replace(
        results.clips[svg[1]], seconds=3.5, speedup=2.0, psnr=None, accuracy={"all": 1.0}
    )
    dense, line, _ = summarise(results)
    assert attention_share(results) == 0.5  # 2 s of 4 s
    assert (dense.kind, dense.psnr, dense.bound, dense.reached) == ("baseline", None, 1.0, 1.0)
    assert (line.method, line.kind, line.scenes) == ("svg", "method", 2)
    assert line.seconds.median == 3.0
    assert line.speedup.median == pytest.approx(1.8)
    assert line.psnr is not None
    assert line.psnr.scenes == 1
    assert line.accuracy == 0.5
    assert line.bound == pytest.approx(4 / 3)  # run density 0.5
    assert line.free_bound == 2.0
    assert line.reached == pytest.approx(1.8 * 3 / 4)


def test_the_share_is_the_baselines_alone(two_seeds: tuple[Results, object]):
    results = two_seeds[0]
    slow = [_with_attention(clip, 0.9) if clip.kind == "baseline" else clip for clip in results.clips]
    assert attention_share(dataclasses.replace(results, clips=slow)) == pytest.approx(0.9)
    others = [clip for clip in results.clips if clip.kind != "baseline"]
    assert attention_share(dataclasses.replace(results, clips=others)) == 0.0


def _with_attention(clip: ClipResult, share: float) -> ClipResult:
    return dataclasses.replace(clip, attention_seconds=share * clip.seconds)
