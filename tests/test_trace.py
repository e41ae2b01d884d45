import weakref
from pathlib import Path

import pytest
import torch

from videosieve import OutputError, RecipeError, Site, Trace
from videosieve.records import Outcome


def example() -> Trace:
    trace = Trace()
    trace.add(Site(0, 2, 0, 2), Outcome("dense", "sdpa", 100, 1.0, "warm-up"), lambda: 4.0)
    trace.add(
        Site(1, 2, 1, 2),
        Outcome(
            "sparse",
            "cpu",
            300,
            0.2,
            recall=torch.tensor([[0.9, 0.5], [0.7, 0.3]]),
            patterns=("spatial", "temporal"),
            pattern=torch.tensor([[1, 0], [0, 0]]),
        ),
        lambda: 1.0,
    )
    return trace


def test_records_hold_plain_numbers():
    record = example().records[1]
    assert record.recall == pytest.approx([0.8, 0.4])
    assert record.pattern == ["temporal", "spatial"]
    assert (record.layer, record.step, record.branch, record.milliseconds) == (1, 1, "cond", 1.0)


def test_summary_weights_density_by_pairs():
    summary = example().summary()
    assert summary.run_density == pytest.approx((100 * 1.0 + 300 * 0.2) / 400)
    assert summary.sparse_density == pytest.approx(0.2)
    assert summary.recall == pytest.approx(0.6)
    assert summary.attention_seconds == pytest.approx(0.005)
    assert summary.pattern_shares == {"spatial": 0.5, "temporal": 0.5}
    assert summary.dense_reasons == {"warm-up": 1}
    assert "run density 0.400" in str(summary)
    assert "sparse density 0.200 at recall 0.600" in str(summary)


def test_an_empty_trace_has_a_summary():
    summary = Trace().summary()
    assert (summary.calls, summary.run_density, summary.sparse_density, summary.recall) == (
        0,
        1.0,
        None,
        None,
    )


def test_timers_are_read_once_and_only_when_somebody_looks():
    reads = []
    trace = Trace()
    trace.add(Site(), Outcome("dense", "sdpa", 1, 1.0, "x"), lambda: reads.append(1) or 2.0)
    assert not reads
    assert trace.records == trace.records
    assert len(reads) == len(trace) == 1


def test_a_call_whose_time_is_known_leaves_no_tensors_behind():
    trace, recall = Trace(), torch.tensor([[0.9, 0.5]])
    left = weakref.ref(recall)
    trace.add(Site(), Outcome("sparse", "cpu", 1, 0.5, recall=recall), 2.0)
    del recall
    assert left() is None
    assert (trace.records[0].milliseconds, trace.records[0].recall) == (2.0, pytest.approx([0.9, 0.5]))


def test_records_stay_in_the_order_of_calls_where_some_are_not_known_yet():
    trace = Trace()
    for step, milliseconds in enumerate((1.0, lambda: 2.0, 3.0)):
        trace.add(Site(step=step, steps=3), Outcome("dense", "sdpa", 1, 1.0, "x"), milliseconds)
    assert [(record.step, record.milliseconds) for record in trace.records] == [(0, 1.0), (1, 2.0), (2, 3.0)]


def test_json_lines_read_back(tmp_path: Path):
    trace = example()
    trace.save(tmp_path / "trace.jsonl")
    assert Trace.load(tmp_path / "trace.jsonl").records == trace.records


@pytest.mark.parametrize(
    ("text", "message"), [("{}", ":1 is no Record: it lacks layer"), ("{", "line 1: it is not JSON")]
)
def test_files_that_are_no_trace_are_refused(tmp_path: Path, text: str, message: str):
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises(RecipeError, match=message):
        Trace.load(tmp_path / "t.jsonl")


def test_missing_files_and_folders_are_said(tmp_path: Path):
    with pytest.raises(RecipeError, match="cannot read trace"):
        Trace.load(tmp_path / "none.jsonl")
    with pytest.raises(OutputError, match=r"cannot write .*t\.jsonl"):
        example().save(tmp_path / "none" / "t.jsonl")


def test_a_density_per_head_is_read_with_the_record():
    trace = Trace()
    trace.add(Site(), Outcome("sparse", "triton", 100, torch.tensor([[0.25, 0.75]])), lambda: 1.0)
    assert trace.records[0].density == 0.5
    assert type(trace.records[0].density) is float


def test_what_is_done_to_the_list_of_records_leaves_the_trace_whole():
    trace = example()
    trace.records.clear()
    assert len(trace.records) == 2
    trace.clear()
    assert not trace.records
