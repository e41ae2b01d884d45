"""The native kernel's table: order of the rows, the budget, going on after a stop."""

import json
from argparse import Namespace

import pytest

from videosieve.bench import native, native_rows
from videosieve.bench.cases import Shape
from videosieve.bench.native_bf16 import MASKS, bf16_table
from videosieve.bench.native_rows import jobs
from videosieve.bench.native_summary import summary
from videosieve.kernels.native_library import refuse_library, refuse_products
from videosieve.layout import VideoLayout

if (reason := refuse_library()) is not None:
    pytest.skip(f"the native kernels cannot run here: {reason}", allow_module_level=True)

SHORT, LONG = (Shape(f"{tokens}", VideoLayout.of(1, 1, tokens), 2, 16) for tokens in (256, 512))
MACHINE: dict[str, object] = {"peak_gflops": 100.0}


def run(work, path, **options):
    defaults = {"output": path, "resume": False, "repeats": 1, "minutes": None}
    return native.run(work, MACHINE, Namespace(**(defaults | options)), native.time.perf_counter)


def test_the_most_telling_rows_come_first_and_short_calls_before_long_ones():
    work = jobs([LONG, SHORT], [1.0, 0.5, 0.25], flex=True)
    assert len({(job.key, job.flex) for job in work}) == len(work) == 2 * 11 + 2 * 4
    densities = [job.density for job in work if not job.flex]
    assert densities == [1.0, *[0.25] * 5] * 2 + [0.5] * 10
    assert [job.shape for job in work[:12]] == [SHORT] * 6 + [LONG] * 6
    assert [job.flex for job in work] == [False] * 12 + [True] * 8 + [False] * 10


def test_every_row_is_written_when_it_is_there_and_a_stopped_run_goes_on(tmp_path, monkeypatch):
    path, work = tmp_path / "native.json", jobs([SHORT], [1.0, 0.25], flex=False)
    timed, original = [], native.time_row

    def stop_at_the_fourth(job, *arguments):
        if len(timed) == 3:
            raise KeyboardInterrupt
        timed.append(job.key)
        return original(job, *arguments)

    monkeypatch.setattr(native, "time_row", stop_at_the_fourth)
    with pytest.raises(KeyboardInterrupt):
        run(work, path)
    rows = json.loads(path.read_text())["rows"]
    assert [(row["shape"], row["mask"], row["asked"]) for row in rows] == timed
    timed.clear()
    resumed = run(work, path, resume=True)
    assert timed == [job.key for job in work[3:]]
    assert json.loads(path.read_text())["rows"] == resumed
    assert resumed[:3] == rows
    for row in resumed:
        assert row["of_ideal"] == pytest.approx(row["dense_ms"] / row["native_ms"] * row["density"])


def test_a_row_that_would_not_end_in_time_is_left_out(tmp_path):
    work = jobs([SHORT, LONG], [1.0], flex=False)
    between = (work[0].seconds(1e-3, 1) + work[1].seconds(1e-3, 1)) / 2
    options = Namespace(output=tmp_path / "x.json", resume=False, repeats=1, minutes=between / 60)
    rows = native.run(work, {"peak_gflops": 1e-3}, options, native.time.perf_counter)
    assert [row["shape"] for row in rows] == [SHORT.name]


def test_a_long_dense_call_is_timed_once_for_its_shape(tmp_path, monkeypatch):
    monkeypatch.setattr("videosieve.bench.native_rows.LONG_CALL", 0.0)
    rows = run(jobs([SHORT], [1.0, 0.25], flex=False), tmp_path / "x.json")
    assert [row["dense_of_another_row"] for row in rows] == [False, *[True] * 5]
    assert len({row["dense_ms"] for row in rows}) == 1


def test_a_wrong_kernel_is_not_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(native_rows, "block_sparse_attention", lambda q, *_, **__: (q * 2, q[..., 0]))
    with pytest.raises(AssertionError, match="is off by"):
        run(jobs([SHORT], [0.25], flex=False), tmp_path / "x.json")
    assert not (tmp_path / "x.json").exists()


def test_the_summary_has_the_extremes_of_every_shape():
    def row(mask, of_ideal, native_ms=2.0, **other):
        return {
            "shape": "a", "mask": mask, "of_ideal": of_ideal, "native_ms": native_ms, "dense_ms": 3.0, "speedup": 1.5,
            "gflops": 50.0, "operations_ms": None, "flex_ms": None, **other,
        }  # fmt: skip

    rows = [
        row("dense", 1.5),
        row("band, 128", 1.2, operations_ms=3.0, flex_ms=5.0),
        row("random per head, 128", 1.0, operations_ms=4.0),
        row("random per head, 64", 0.9, gflops=40.0),
        {**row("dense", 1.0), "shape": "b"},
    ]
    lines = summary(rows, {"peak_gflops": 100.0}).splitlines()
    assert lines[2] == "| a | 0.00 | 0.00 | 1.50 | 1.00–1.20 | 0.90 |  | 1.50–2.00 | 2.50 | 0.40–0.50 |"
    assert lines[3].startswith("| b |")


@pytest.mark.skipif(refuse_products() is not None, reason="there are no products of bf16")
def test_what_bf16_brings_has_a_row_for_every_mask():
    lines = bf16_table([SHORT], 1, native.time.perf_counter).splitlines()
    assert len(lines) == 2 + len(MASKS)
    titles = [cell.strip() for cell in lines[0].split("|")[1:-1]]
    for line, (name, *_) in zip(lines[2:], MASKS, strict=True):
        row = dict(zip(titles, (cell.strip() for cell in line.split("|")[1:-1]), strict=True))
        assert row.pop("mask").startswith(name)
        assert bool(row.pop("of SDPA")) == (name == "dense")
        assert 0 < float(row["error"]) < 0.1
        # One pair of columns for every set with products of bf16 comes last, as many as this machine has.
        assert all(float(number) > 0 for title, number in row.items() if title != titles[0])
