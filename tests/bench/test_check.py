"""`videosieve doctor --check`: a wrong kernel shows, a refusal is told, a process that dies costs its own rows only."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from typer.testing import CliRunner

from videosieve.bench import check
from videosieve.bench.check import CheckReport, check_kernels
from videosieve.bench.check_calls import SIZES, CheckCall, check_calls
from videosieve.bench.check_rows import CheckRow, check_one
from videosieve.cli.app import app
from videosieve.kernels import block_sparse_attention as attend
from videosieve.kernels.block_sparse_attention import IMPLEMENTATIONS
from videosieve.kernels.native_library import refuse_library
from videosieve.testing.kernel_inputs import OPS

CALLS = check_calls(SIZES["cpu"])
RIGHT = CheckRow("reorder_tokens", "cpu", "some heads", "bfloat16", "right", ms=0.5, dense_ms=2.0)
RIGHT_FIELDS = asdict(RIGHT)


class Spoiled:
    """A call of block-sparse attention by a kernel with a fault."""

    def __init__(self, call: CheckCall, fault) -> None:
        self.built = call.build("cpu")
        self.arguments, self.judge, self.fault = self.built.arguments, self.built.judge, fault

    def run(self, name):
        return self.fault(*attend(**self.arguments, backend=name))


def raise_error(*_):
    raise IndexError("somewhere inside a kernel")


FAULTS = {
    "dropped rows": (lambda out, lse: (out.index_fill(2, torch.arange(16), 0.0), lse), "wrong"),
    "another scale": (lambda out, lse: (out * 1.1, lse), "wrong"),
    "an LSE in base 2": (lambda out, lse: (out, lse / 0.6931), "wrong"),
    "NaN": (lambda out, lse: (out * torch.nan, lse), "wrong"),
    "a result of another shape": (lambda out, lse: (out[:, :, 1:], lse), "wrong"),
    "only an output": (lambda out, _: (out,), "wrong"),
    "an error from inside": (raise_error, "raised"),
    "nothing": (lambda out, lse: (out, lse), "right"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", CALLS[:3], ids=lambda call: call.title)
def test_a_fault_of_a_kernel_shows(fault, call):
    change, verdict = FAULTS[fault]
    reference = IMPLEMENTATIONS[-1]
    with torch.no_grad():
        row = check_one(call, Spoiled(call, change), reference, None)  # pyright: ignore[reportArgumentType]
    assert row.verdict == verdict, row.detail
    assert bool(row.detail) == (verdict != "right")


def test_a_refusal_is_told_without_what_every_refusal_says():
    call = next(call for call in CALLS if call.title.startswith("ragged"))
    cpu = next(i for i in IMPLEMENTATIONS if i.name == "cpu")
    row = check_one(call, call.build("cpu"), cpu, None)
    assert (row.verdict, row.detail) == ("refused", "it needs blocks of one size, got a ragged mask")


def test_every_op_is_among_the_calls_with_every_kind_of_mask_and_dtype():
    for size in SIZES.values():
        assert {call.op for call in check_calls(size)} == set(OPS)
    assert {call.dtype for call in CALLS} == {torch.bfloat16, torch.float16, torch.float32}
    assert len(CALLS) >= 12


def test_the_rows_of_a_device_come_from_a_process_of_its_own(monkeypatch):
    monkeypatch.setattr(check, "_processes", lambda device: [(device, ("reorder_tokens",))])
    told: list[str] = []
    report = check_kernels("cpu", told.append)
    assert [row.verdict for row in report.rows] == ["right", "right"]
    assert [row.implementation for row in report.rows] == ["cpu", "reference"]
    assert told[0] == "reorder_tokens / cpu: some heads"
    assert report.is_right
    assert all(row.ms and row.dense_ms for row in report.rows)


@pytest.mark.parametrize(
    ("program", "end"),
    [
        ("import os; os.kill(os.getpid(), 11)", "ended by signal 11"),
        ("import sys; sys.exit('no such thing here')", "ended with code 1: no such thing here"),
    ],
)
def test_a_process_that_ends_early_is_no_answer(tmp_path, monkeypatch, program, end):
    (tmp_path / "ending.py").write_text(
        f"import json\nprint(json.dumps({RIGHT_FIELDS!r}), flush=True)\n{program}\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(check, "MODULE", "ending")
    monkeypatch.setattr(check, "_processes", lambda device: [(device, ("reorder_tokens",))])
    report = check_kernels("cpu")
    assert report.rows[0] == RIGHT
    assert report.rows[1].verdict == "no answer"
    assert end in report.rows[1].detail
    assert not report.is_right


def test_a_process_that_hangs_is_ended(tmp_path, monkeypatch):
    (tmp_path / "hanging.py").write_text("import time\ntime.sleep(600)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(check, "MODULE", "hanging")
    monkeypatch.setitem(check.SECONDS, "cpu", 0.5)
    monkeypatch.setattr(check, "_processes", lambda device: [(device, ())])
    report = check_kernels("cpu")
    assert [(row.op, row.verdict) for row in report.rows] == [("every op", "no answer")]


def report_of(*rows):
    return CheckReport("cpu", {"videosieve": "0"}, list(rows), 1.0)


@pytest.mark.parametrize("columns", [80, 120])
def test_the_table_says_what_is_right_and_the_exit_code_too(tmp_path, monkeypatch, columns):
    wrong = replace(RIGHT, implementation="triton", verdict="wrong", detail="[red]off by 3[/red]")
    refused = replace(RIGHT, implementation="native", verdict="refused", detail="it was not built", ms=None)
    monkeypatch.setattr("videosieve.cli.verbs.doctor.out.width", columns, raising=False)
    for rows, code in (((RIGHT, refused), 0), ((RIGHT, refused, wrong), 1), ((refused,), 1)):
        monkeypatch.setattr(check, "check_kernels", lambda *_, rows=rows: report_of(*rows))
        path = tmp_path / "deep" / "check.json"
        result = CliRunner().invoke(app, ["doctor", "--check", "--json", str(path)])
        assert result.exit_code == code, result.output
        assert ("NOT RIGHT" in result.output) == (code == 1)
        words = "".join(result.output.split())  # narrow columns break them
        assert "itwasnotbuilt" in words
        assert ("[red]offby3[/red]" in words) == (wrong in rows)
        saved = json.loads(path.read_text(encoding="utf-8"))
        assert [CheckRow(**row) for row in saved["rows"]] == list(rows)
        assert "".join(saved["verdict"].split()) in words


@pytest.mark.parametrize("options", [["--json", "x"], ["--device", "cpu"], ["--check", "--device", "tpu"]])
def test_options_that_belong_to_the_check_alone_are_refused(options):
    assert CliRunner().invoke(app, ["doctor", *options]).exit_code == 2


@pytest.mark.skipif(refuse_library() is not None, reason="the native kernels cannot run here")
def test_bench_makes_both_tables_and_their_files(tmp_path, monkeypatch):
    asked = {}

    def measure(_console, **options):
        return asked.update(options) or {"rows": []}

    monkeypatch.setattr("videosieve.bench.cpu.measure", measure)
    monkeypatch.setattr("videosieve.bench.native.main", lambda *given: asked.update(native=given))
    result = CliRunner().invoke(
        app, ["bench", "--quick", "--flex", "--minutes", "2", "--json", str(tmp_path / "t")]
    )
    assert result.exit_code == 0, result.output
    assert asked["quick"] is asked["with_flex"] is True
    arguments, output = asked["native"]
    assert arguments[:3] == ["--flex", "--minutes", "2.0"]
    assert output == tmp_path / "t" / "native.json"
    assert json.loads((tmp_path / "t" / "cpu.json").read_text()) == {"rows": []}
