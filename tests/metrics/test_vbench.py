"""VBench's aggregation against a published row of its leaderboard, and its refusals."""

import json
from pathlib import Path

import pytest

from videosieve.errors import MetricError
from videosieve.metrics.vbench import (
    QUALITY,
    SEMANTIC,
    read_vbench_results,
    vbench_quality,
    vbench_semantic,
    vbench_total,
)

# LaVie on the leaderboard, percent; published with it: quality 78.78, semantic 70.31, total 77.08.
LAVIE = {
    "subject consistency": 91.41, "background consistency": 97.47, "temporal flickering": 98.30,
    "motion smoothness": 96.38, "dynamic degree": 49.72, "aesthetic quality": 54.94, "imaging quality": 61.90,
    "object class": 91.82, "multiple objects": 33.32, "human action": 96.80, "color": 86.39,
    "spatial relationship": 34.09, "scene": 52.69, "appearance style": 23.56, "temporal style": 25.93,
    "overall consistency": 26.41,
}  # fmt: skip


def lavie() -> dict[str, float]:
    return {name: percent / 100 for name, percent in LAVIE.items()}


def test_a_published_row_gets_its_published_totals():
    assert 100 * vbench_quality(lavie()) == pytest.approx(78.78, abs=0.005)
    assert 100 * vbench_semantic(lavie()) == pytest.approx(70.31, abs=0.005)
    assert 100 * vbench_total(lavie()) == pytest.approx(77.08, abs=0.01)


def test_extremes_count_as_zero_and_one():
    everything = QUALITY | SEMANTIC
    assert len(everything) == 16
    assert vbench_total({name: d.most for name, d in everything.items()}) == pytest.approx(1)
    assert vbench_total({name: d.least for name, d in everything.items()}) == pytest.approx(0)


@pytest.mark.parametrize("missing", [*QUALITY, *SEMANTIC])
def test_a_subset_gets_no_total(missing: str):
    scores = {name: score for name, score in lavie().items() if name.replace(" ", "_") != missing}
    with pytest.raises(
        MetricError, match=f"total score needs all of its 16 dimensions, 1 are missing: {missing}"
    ):
        vbench_total(scores)
    group = vbench_quality if missing in QUALITY else vbench_semantic
    with pytest.raises(MetricError, match=f"are missing: {missing}"):
        group(scores)


def test_quality_needs_no_semantic_dimension():
    scores = {name: lavie()[name.replace("_", " ")] for name in QUALITY}
    assert vbench_quality(scores) == pytest.approx(vbench_quality(lavie()))


def test_percentages_and_unknown_names_are_refused():
    with pytest.raises(MetricError, match=r"lie in \[0, 1\], got .*91.41.*divide percentages"):
        vbench_quality(LAVIE)
    with pytest.raises(MetricError, match="no dimension beauty"):
        vbench_total(lavie() | {"beauty": 0.5})


def test_results_are_read_from_vbenchs_files(tmp_path: Path):
    files = []
    for name, score in lavie().items():
        files.append(tmp_path / f"{name}_eval_results.json")
        files[-1].write_text(json.dumps({name.replace(" ", "_"): [score, [{"video_path": "x.mp4"}]]}))
    assert vbench_total(read_vbench_results(files)) == pytest.approx(vbench_total(lavie()))
    files[0].write_text(json.dumps({"scene": [0.1, []]}))
    with pytest.raises(MetricError, match="gives scene 0.5268.*, another file gave 0.1"):
        read_vbench_results(files)
    files[0].write_text(json.dumps(["scene"]))
    with pytest.raises(MetricError, match="no result of `vbench evaluate`"):
        read_vbench_results(files[:1])
