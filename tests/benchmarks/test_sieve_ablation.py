"""The ablation takes away what it says, and its table counts what it says."""

import pytest

from benchmarks.sieve_ablation import VARIANTS, interval, table
from videosieve.methods import Sieve, SvgEar


def test_every_variant_differs_from_sieve_in_what_its_name_says():
    recipes = {name: variant.recipe(0.3, 32, 1024) for name, variant in VARIANTS.items()}
    whole = recipes["sieve"]
    assert whole.method == Sieve(0.3, 32)
    assert whole.shared_selection
    assert whole.compensate == "none"  # it answers by itself
    assert len(
        {(recipe.method, recipe.shared_selection, recipe.compensate) for recipe in recipes.values()}
    ) == len(VARIANTS)
    assert recipes["each branch chooses"].method == whole.method
    assert not recipes["each branch chooses"].shared_selection
    assert recipes["svg"].compensate == "none"
    assert recipes["svg, centroids answer"].compensate == "centroids"
    assert recipes["clusters of whole tokens"].method == Sieve(0.3, 32, space="tokens")
    published = recipes["svg_ear"].method
    assert isinstance(published, SvgEar)
    assert (published.query_clusters, published.key_clusters) == (32, 64)


def test_the_table_counts_flips_apart_and_means_by_background():
    row = {
        "variant": "sieve",
        "target": 0.3,
        "run_density": 0.301,
        "psnr": [30.0, 17.0, 31.0],
        "backgrounds": ["plain", "noisy", "plain"],
        "accuracy": 2 / 3,
    }
    text = table([row])
    assert "| 0.3 | sieve | 0.301 | 26.0 ± 8.8 | 1 of 3 | 0.67 |" in text
    assert "| 0.3 | sieve | 17.0 | 30.5 |" in text


def test_an_interval_needs_two_values():
    assert interval([1.0, 3.0]) == pytest.approx(1.96)
    assert interval([1.0]) != interval([1.0])  # NaN
