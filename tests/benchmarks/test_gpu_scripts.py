"""The GPU scripts, dry-run on CPU: every line of them but the timing itself."""

import json
import runpy

import pytest
import torch

pytest.importorskip("triton")

from benchmarks import gpu, gpu_step, tune_launch
from benchmarks.gpu_cases import DRY_SHAPES, SHAPES
from videosieve.bench.cases import Case
from videosieve.kernels import block_sparse_attention
from videosieve.kernels.block_sparse_attention.launch import TABLE
from videosieve.kernels.launch import Launch, LaunchTable
from videosieve.masks.block_mask import BlockMask


def test_the_tables_are_written_and_every_kernel_was_checked(tmp_path, capsys):
    gpu.main(["--dry-run", "--repeats", "1", "--output", str(tmp_path / "gpu.json")])
    results = json.loads((tmp_path / "gpu.json").read_text())
    assert "dry run" in results["machine"]["device"]
    assert {row["kernel"] for row in results["attention"]} >= {"sdpa", "cpu"}
    assert all(row["problem"] == "" for row in results["attention"])
    assert any("norm + RoPE + reorder" in row["work"] for row in results["ops"])
    assert "milliseconds per call" in capsys.readouterr().out


def test_a_wrong_kernel_is_named_and_not_timed():
    shape = DRY_SHAPES[0]
    mask = Case(shape, "band + text", 16, 0.5).make_mask()
    inputs = [gpu.make_inputs(shape, torch.device("cpu"), torch.float32)]
    wrong = mask.keep.clone()
    wrong[..., 0, 0] = False
    calls = {
        "right": lambda q, k, v: block_sparse_attention(q, k, v, mask),
        "wrong": lambda q, k, v: block_sparse_attention(q, k, v, BlockMask(wrong, mask.block, mask.queries)),
        "broken": lambda q, k, v: torch.zeros(1) @ q,
    }
    rows = {row["kernel"]: row for row in gpu._time_set(calls, inputs, 1, torch.device("cpu"), mask)}
    assert rows["right"]["ms"] > 0
    assert rows["right"]["problem"] == ""
    assert rows["wrong"]["ms"] is None
    assert "is off by" in rows["wrong"]["problem"]
    assert rows["broken"]["ms"] is None
    assert "RuntimeError" in rows["broken"]["problem"]


def test_the_shapes_are_those_of_the_models():
    assert [(shape.tokens, shape.heads, shape.head_dim) for shape in SHAPES] == [
        (119_056, 24, 128),
        (75_600, 40, 128),
        (45_106, 48, 64),
    ]


@pytest.mark.filterwarnings("ignore")
def test_a_step_is_timed_dense_and_sparse_with_its_parts():
    pytest.importorskip("diffusers")
    with torch.inference_mode():
        rows = gpu_step.time_step(torch.device("cpu"), dry_run=True)
    assert [row["kernel"] for row in rows][:2] == ["dense", "svg 0.2"]
    assert rows[0]["density"] == 1.0 > rows[1]["density"]
    assert rows[0]["amdahl_bound"] == 1.0
    assert all(row["linear"] > 0 and row["attention"] > 0 for row in rows)


@pytest.mark.parametrize(
    ("kernel", "part"),
    [
        ("attend_blocks", "attention"),
        ("cudnn_generated_fort_native_sdpa_sm90_flash_fprop", "attention"),
        ("sampled_rows", "profile"),
        ("nvjet_tst_128x256", "linear"),
        ("norm_rope_kernel", "norm + RoPE"),
        ("elementwise_kernel", "rest"),
    ],
)
def test_kernels_are_sorted_into_parts_by_their_names(kernel, part):
    assert gpu_step.part_of(kernel) == part


def test_a_dry_tuning_writes_tables_elsewhere(tmp_path, capsys):
    before = dict(TABLE.rows)
    tune_launch.main(["--dry-run", "--repeats", "1", "--output", str(tmp_path), "reorder_tokens"])
    written = runpy.run_path(str(tmp_path / "reorder_tokens" / "launch.py"))
    rows = written["LAUNCHES"].rows
    assert {(80, 64), (80, 128), (90, 64), (90, 128)} == set(rows)
    assert "tuned by benchmarks.tune_launch" in written["LAUNCHES"].source
    assert before == TABLE.rows
    assert "reorder_tokens sm90 (64,)" in capsys.readouterr().out


def test_rows_of_other_architectures_and_the_rest_of_the_file_stay():
    text = (tune_launch.PACKAGE / "block_sparse_attention" / "launch.py").read_text()
    rows = {**TABLE.rows, (90, 128, 2, 128): Launch((64, 256), 4, 1)}
    namespace = {}
    exec(tune_launch.rewrite(text, rows, 'measured on "H100", by hand'), namespace)
    assert namespace["TABLE"].rows == rows
    assert namespace["TABLE"].source == 'measured on "H100", by hand'
    assert namespace["find_launch"](90, 128, 2, 128, 256).tile == (64, 128)


def test_the_fastest_candidate_that_is_right_is_kept(monkeypatch):
    """Three launches: the usual one, a faster one, and the fastest, which computes something else."""
    table = LaunchTable("toy", "made up", {(80, 64): Launch((64,), 4, 1)})
    speed = {4: 3.0, 8: 2.0, 2: 1.0}

    def prepare(_key, _device):
        return lambda: torch.tensor(0.0 if table.find(90, 64).num_warps == 2 else 1.0)

    sample = tune_launch.Sample("toy", prepare)
    monkeypatch.setitem(tune_launch.SAMPLES, "toy", sample)
    monkeypatch.setattr(tune_launch.Sample, "table", lambda _: table)
    monkeypatch.setattr(tune_launch, "STAGES", (1,))
    monkeypatch.setattr(tune_launch, "time_calls", lambda *_: {"": speed[table.find(90, 64).num_warps]})
    monkeypatch.setattr(tune_launch.itertools, "islice", lambda items, _: items)
    log = []
    _, rows = tune_launch.tune("toy", torch.device("cpu"), 1, log.append)
    assert rows[90, 64].num_warps == 8
    assert rows[80, 64] == Launch((64,), 4, 1)
    assert any("left out" in line for line in log)


def test_a_dry_run_does_not_touch_the_package():
    with pytest.raises(SystemExit, match="give --output"):
        tune_launch.main(["--dry-run"])
    with pytest.raises(SystemExit, match="no op nonsense"):
        tune_launch.main(["--dry-run", "nonsense"])
