"""Interpreter and ahead-of-time compiler in one process, in any order."""

import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton")

import triton_probe

from videosieve.errors import BackendError
from videosieve.kernels.launch import SHARED_MEMORY, Launch, LaunchTable
from videosieve.kernels.triton_support import interpreting, refuse_triton, refuse_version
from videosieve.testing.triton_compile import compile_for
from videosieve.testing.triton_interpreter import interpreted


def make_arguments(blocks=2):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(64, 64, generator=generator).half()
    k = torch.randn(blocks * 64, 64, generator=generator).half()
    out = torch.full((64, 64), torch.nan)
    return {
        "q": q,
        "k": k,
        "out": out,
        "blocks": blocks,
        "row_stride": 64,
        "BM": 64,
        "BN": 64,
        "D": 64,
    }


def expected(q, k, **_):
    blocks = [(q.double() @ keys.double().mT, keys.double()) for keys in k.split(64)]
    return sum(torch.exp2(scores - scores.amax(1, keepdim=True)) @ keys for scores, keys in blocks)


@pytest.mark.parametrize("attempt", [1, 2])
def test_a_kernel_is_interpreted_then_compiled_then_interpreted_again(attempt):
    arguments = make_arguments()
    assert not interpreting()
    with interpreted(triton_probe):
        assert interpreting()
        triton_probe.attend_unnormalised[(1,)](**arguments)
    assert not interpreting()
    torch.testing.assert_close(arguments["out"].double(), expected(**arguments), rtol=2e-3, atol=2e-2)
    compiled = compile_for(triton_probe.attend_unnormalised, arguments, 90, num_stages=1 + attempt)
    assert compiled.wgmma
    assert compiled.asynchronous_copies


@pytest.mark.parametrize(
    ("arch", "wgmma", "tcgen05"), [(80, False, False), (90, True, False), (100, False, True)]
)
def test_compiling_says_what_the_kernel_costs(arch, wgmma, tcgen05):
    compiled = compile_for(triton_probe.attend_unnormalised, make_arguments(), arch, num_stages=3)
    assert (compiled.wgmma, compiled.tcgen05) == (wgmma, tcgen05)
    assert 30 < compiled.registers < 256
    assert 64 * 64 * 2 < compiled.shared < SHARED_MEMORY[arch]
    assert compiled.spills == compiled.loop_spills == 0


def test_spills_in_the_main_loop_are_seen():
    arguments = {**make_arguments(), "BM": 256, "BN": 256}
    compiled = compile_for(triton_probe.attend_unnormalised, arguments, 80, num_warps=4, num_stages=1)
    assert compiled.spills > 0
    assert compiled.loop_spills > 0


def test_a_forgotten_argument_is_named():
    arguments = make_arguments()
    del arguments["blocks"]
    with pytest.raises(ValueError, match="these differ: {'blocks'}"):
        compile_for(triton_probe.attend_unnormalised, arguments, 80)


def test_a_launch_is_that_of_the_newest_known_architecture_not_newer_than_the_device():
    old, new = Launch((64, 64), 4, 2), Launch((128, 128), 8, 3)
    table = LaunchTable("attend", "made up", {(80, 64): old, (90, 64): new})
    assert table.find(80, 64) == table.find(89, 64) == old
    assert table.find(90, 64) == table.find(120, 64) == new
    with pytest.raises(BackendError, match=r"attend has no launch for sm75 and \(64,\)"):
        table.find(75, 64)
    with pytest.raises(
        BackendError, match=r"attend has no launch for sm90 and \(96,\); there are \[\(64,\)\]"
    ):
        table.find(90, 96)


def test_a_cpu_tensor_is_refused_outside_the_interpreter_only():
    x = torch.zeros(2)
    assert refuse_triton(x) == "it needs CUDA tensors, got cpu"
    with interpreted():
        assert refuse_triton(x) is None
        assert refuse_triton(x.double()) == "it needs bfloat16, float16, float32, got float64"
        assert "no backward" in (refuse_triton(x.requires_grad_()) or "")


def test_asking_whether_triton_can_run_does_not_import_it():
    program = (
        "import sys, torch, videosieve\n"
        "from videosieve.kernels.triton_support import refuse_triton\n"
        "print(refuse_triton(torch.zeros(1, device='meta')), 'triton' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "it needs CUDA tensors, got meta False"


@pytest.mark.parametrize("version", ["2.3.1", "3.2.0", "3.4.9+git1"])
def test_an_older_triton_is_refused_in_a_sentence(version):
    reason = f"it needs triton 3.5 or newer, which comes with torch 2.9, got {version}"
    assert refuse_version(version) == reason


@pytest.mark.parametrize("version", ["3.5.0", "3.10.0+gitab", "4.0"])
def test_a_newer_triton_is_not_refused(version):
    assert refuse_version(version) is None
