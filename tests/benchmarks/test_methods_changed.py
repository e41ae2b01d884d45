"""The changed rows are the table's recipes with one thing changed."""

from pathlib import Path

import pytest
import torch

from benchmarks.methods_changed import CHANGES, MAKERS, ON_TOP, SEARCHED, SHARED, WINDOWS, measure, table
from benchmarks.methods_rows import OPTIONS, Bench
from videosieve.methods import SlidingTile

KNOBS = dict.fromkeys(OPTIONS, 0.4)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(1, 1, 2, tmp_path_factory.mktemp("dense"))


def test_every_change_makes_a_recipe_for_its_methods(bench: Bench):
    knobs = KNOBS | {"svg": 0.2}
    for method, change in CHANGES:
        if change == SEARCHED:
            continue
        recipe = MAKERS[change](bench, knobs, method)
        plain = bench.recipe(method, knobs["svg" if change == ON_TOP else method])
        assert recipe.override(shared_selection=False) == plain
        assert recipe.shared_selection == (change == SHARED)


def test_windows_are_searched_for_every_head(bench: Bench):
    method = MAKERS[SEARCHED](bench, KNOBS, "sliding_tile").method
    assert isinstance(method, SlidingTile)
    found = {window for row in method.head_windows or () for window in row}
    assert len(found) > 1
    assert found <= set(WINDOWS)


def test_a_row_is_measured_and_stands_beside_the_old_one(bench: Bench, tmp_path: Path):
    row = measure(bench, KNOBS, "xattention", SHARED)
    assert (row.videos, row.method) == (1, "xattention")
    assert 0 < row.run_density < 1
    assert torch.isfinite(torch.tensor(row.psnr))
    old = {"method": "xattention", "run_density": 0.3, "psnr": 17.25, "accuracy": 0.5}
    new = {"method": "xattention", "change": SHARED, "run_density": 0.31, "psnr": 19.5, "accuracy": 0.75}
    assert f"| {SHARED} | `xattention` | 0.300 → 0.310 | 17.25 → 19.50 | 0.50 → 0.75 |" in table([old], [new])
