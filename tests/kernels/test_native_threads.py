"""Whose threads the native kernels run in: torch's OpenMP team where there is one, their own elsewhere."""

import ctypes
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from videosieve.kernels import block_sparse_attention, native_library, native_threads
from videosieve.kernels.native_library import refuse_library
from videosieve.kernels.native_threads import SWITCH, describe_threads, refuse_team, team
from videosieve.masks.block_mask import BlockSize
from videosieve.planning.doctor import examine
from videosieve.testing.factories import make_qkv, random_mask

if (reason := refuse_library()) is not None:
    pytest.skip(f"the native kernels cannot run here: {reason}", allow_module_level=True)

Work = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
Team = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)

needs_team = pytest.mark.skipif(refuse_team() is not None, reason=f"there is no team: {refuse_team()}")


def make_call(seed=0):
    """Enough work for several threads."""
    generator = torch.Generator().manual_seed(seed)
    q, k, v = make_qkv(200, 300, heads=3, head_dim=32, generator=generator)
    return q, k, v, random_mask(200, 300, BlockSize(32, 32), 0.5, heads=3, generator=generator)


def attend(call):
    return block_sparse_attention(*call, backend="native")


def same(one, other):
    return all(torch.equal(x, y) for x, y in zip(one, other, strict=True))


@pytest.fixture
def threads(monkeypatch):
    """Sets how many threads calls ask for, whatever torch has."""
    return lambda count: monkeypatch.setattr(torch, "get_num_threads", lambda: count)


@needs_team
def test_the_team_and_own_threads_give_the_same_bits(threads, monkeypatch):
    call = make_call()
    threads(1)
    expected = attend(call)
    for count in (2, 3, 5):
        threads(count)
        assert team()
        assert same(attend(call), expected)
        monkeypatch.setenv(SWITCH, "own")
        assert team() is None
        assert same(attend(call), expected)
        monkeypatch.delenv(SWITCH)


@pytest.mark.parametrize("comers", [1, 2, 4, 9])
def test_any_number_of_a_team_may_come_to_a_call_that_asked_for_four(comers, threads, monkeypatch):
    call, asked = make_call(), []
    threads(1)
    expected = attend(call)

    @Team
    def run(work, argument, count, flags):
        asked.append((count, flags))
        with ThreadPoolExecutor(comers) as pool:
            list(pool.map(lambda _: Work(work)(argument), range(comers)))

    threads(4)
    monkeypatch.setattr(native_library, "team", lambda: ctypes.cast(run, ctypes.c_void_p).value)
    assert same(attend(call), expected)
    assert asked == [(4, 0)]


def test_a_call_too_small_to_share_asks_no_team(threads, monkeypatch):
    monkeypatch.setattr(native_library, "team", lambda: 1)  # calling it would crash
    threads(4)
    q, k, v = make_qkv(64, 64, heads=1)
    attend((q, k, v, random_mask(64, 64, BlockSize(16, 16), 0.5)))
    threads(1)
    attend(make_call())


def test_calls_from_several_python_threads_share_nothing(threads):
    threads(3)
    calls = [make_call(seed) for seed in range(6)]
    expected = [attend(call) for call in calls]
    with ThreadPoolExecutor(3) as pool:
        actual = list(pool.map(attend, calls * 3))
    assert all(same(one, expected[i % 6]) for i, one in enumerate(actual))


@needs_team
def test_inside_an_openmp_region_every_thread_gets_the_whole_result(threads):
    threads(3)
    call, results = make_call(), []
    expected = attend(call)
    region = Work(lambda _: results.append(attend(call)))
    Team(team())(ctypes.cast(region, ctypes.c_void_p), None, 3, 0)
    assert results
    assert all(same(result, expected) for result in results)


FORKED = """
import os, signal, torch
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.kernels import block_sparse_attention
from videosieve.kernels.native_threads import describe_threads
from videosieve.testing.factories import make_qkv

q, k, v = make_qkv(200, 300, heads=2, head_dim=32)
mask = BlockMask.dense(200, BlockSize(32, 32), keys=300)
print(torch.get_num_threads(), describe_threads(), flush=True)
expected = block_sparse_attention(q, k, v, mask, backend="native")[0].numpy().tobytes()
child = os.fork()
if child == 0:
    signal.alarm(60)  # torch's own workers are gone here: waiting for them would never end
    print(describe_threads(), flush=True)
    os._exit(0 if block_sparse_attention(q, k, v, mask, backend="native")[0].numpy().tobytes() == expected else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@needs_team
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_process_goes_on_with_threads_of_its_own():
    environment = os.environ | {"OMP_NUM_THREADS": "2"}
    result = subprocess.run(
        [sys.executable, "-c", FORKED], env=environment, capture_output=True, text=True, check=False
    )
    parent, child, status = result.stdout.splitlines()
    assert parent.startswith("2 in torch's OpenMP team (")
    assert child == "in threads of their own, because " + (
        "this process was forked, and the threads of torch's team stayed behind"
    )
    assert status == "0", result.stderr


def test_a_torch_without_such_a_runtime_is_a_reason(threads, monkeypatch):
    call = make_call()
    threads(2)
    expected = attend(call)
    native_threads._find.cache_clear()
    monkeypatch.setattr(
        torch.__config__, "parallel_info", lambda: "ATen parallel backend: native thread pool"
    )
    try:
        assert describe_threads() == "in threads of their own, because " + (
            "the OpenMP runtime of this torch has no GOMP_parallel"
        )
        assert same(attend(call), expected)
    finally:
        native_threads._find.cache_clear()


def test_the_doctor_says_whose_threads_run(monkeypatch):
    def native_kernels():
        return next(finding.detail for finding in examine() if finding.name == "native kernels")

    assert describe_threads() in native_kernels()
    monkeypatch.setenv(SWITCH, "own")
    assert f"in threads of their own, because the environment variable {SWITCH} asks" in native_kernels()
