"""What was tried to lift concept maps: variants are means over the sites that they name, and the table says so."""

from typing import Any

import pytest

from benchmarks import saliency_better
from benchmarks.saliency_better import METHODS, VARIANTS, Variant, score_variants, table
from videosieve.concepts import SaliencyMethod
from videosieve.scenes import rendered_scenes, score_scenes


def test_a_variant_is_the_mean_over_its_sites(nano: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(saliency_better, "LEVELS", (1, 2))
    monkeypatch.setattr(saliency_better, "STEPS", 3)
    methods = METHODS | {"by layer": SaliencyMethod(sight={0: "both", 1: "none"})}
    monkeypatch.setattr(saliency_better, "METHODS", methods)
    mine = {
        "alone": Variant({"none": (1,)}, (2,)),
        "several": Variant({"both": (0, 1)}, (1, 2)),
        "mixed": Variant({"both": (0,), "none": (1,)}, (1, 2)),
        "one call": Variant({"by layer": ()}),
    }
    monkeypatch.setattr(saliency_better, "VARIANTS", mine)
    found = score_variants(nano, 1, 5)
    scenes = list(rendered_scenes(1, nano.vae.sample_size, 5))
    alone = score_scenes(
        nano, scenes, SaliencyMethod(sight="none"), layers=[1], steps=[2], num_inference_steps=3
    )
    assert found["alone"].total.counts == alone.total.counts
    several = score_scenes(nano, scenes, layers=[0, 1], steps=[1, 2], num_inference_steps=3)
    assert found["several"].total.counts == several.total.counts
    assert found["one call"].total.counts == found["mixed"].total.counts != several.total.counts
    lines = table({name: report.as_json() for name, report in found.items()}).splitlines()
    assert len(lines) == 6
    assert f"{alone.total.figures()['miou']:.3f}" in lines[2]


def test_every_variant_names_layers_of_the_bundled_model():
    for variant in VARIANTS.values():
        assert all(set(layers) <= set(range(8)) for layers in variant.parts.values())
        assert set(variant.levels) <= set(saliency_better.LEVELS)
    assert set(METHODS["by layer"].sights) <= set(range(8))
