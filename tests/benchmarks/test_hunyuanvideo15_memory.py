"""The memory of HunyuanVideo-1.5 grows like tokens through videosieve, and like their square without."""

import pytest

from benchmarks.hunyuanvideo15_memory import coefficients, measure


def test_coefficients_are_those_of_a_parabola():
    rows = [(n, (3000 * n + 5 * n**2) / 2**20) for n in (100, 1000, 2000)]
    assert coefficients(rows) == pytest.approx((3000, 5))


def test_only_the_stock_processor_has_memory_for_every_pair_of_tokens():
    """Counted, not timed: from 3,009 to 4,033 tokens the mask of one byte per pair alone grows by 7 MiB."""
    (n, few), (m, many) = measure(1), measure(2)
    assert (n, m) == (3009, 4033)
    mask = (m**2 - n**2) / 2**20
    assert many["stock"] - few["stock"] > mask
    for name in ("dense", "svg"):
        assert many[name] / few[name] < m / n  # not even like tokens: the text's part does not grow
        assert many[name] < m**2 / 2**20 * 2
