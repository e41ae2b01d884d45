"""The parameters of saliency: a sight for all layers, or one by layer."""

from typing import Any

import pytest

from videosieve import SaliencyMethod
from videosieve.errors import RecipeError


def test_a_sight_by_layer_is_kept_in_the_order_of_the_layers():
    method = SaliencyMethod(sight={3: "none", 0: "both"})
    assert method.sight == ((0, "both"), (3, "none"))
    assert method.sights == {0: "both", 3: "none"}
    assert method == SaliencyMethod(sight=((0, "both"), (3, "none")))
    assert hash(method) == hash(SaliencyMethod(sight={0: "both", 3: "none"}))
    assert SaliencyMethod(sight="video").sights == {}


@pytest.mark.parametrize(
    ("sight", "message"),
    [
        ("all", "sight must be 'both', 'video', 'concepts' or 'none', got sight='all'"),
        (None, "sight must be one of 'both', 'video', 'concepts', 'none', or layers with one each"),
        ({}, "or layers with one each"),
        (3, "or layers with one each.*got 3"),
        ({0: "all"}, r"sight\[0\]\[1\] must be 'both', 'video', 'concepts' or 'none', got .*'all'"),
        ({-1: "both"}, "must be a whole number >= 0"),
        ({"0": "both"}, "must be a whole number"),
        (["both", "none"], "must be a list of 2"),
        (((0, "both"), (0, "none")), "a layer must have one sight"),
        (([[], "both"],), "must be a whole number"),
    ],
)
def test_another_sight_is_refused(sight: Any, message: str):
    with pytest.raises(RecipeError, match=message):
        SaliencyMethod(sight=sight)
