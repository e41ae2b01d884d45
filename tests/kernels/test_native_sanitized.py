"""The native library under address and undefined-behaviour sanitizers, with all warnings as errors."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from native_sources import (  # type: ignore[import-not-found]
    EMULATED,
    SOURCES,
    compile_sources,
    compiler,
)

DRIVER = Path(__file__).with_name("native_driver.cpp")
CALLS = Path(__file__).with_name("sanitized_calls.py")
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
WARN = [
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-uninitialized",
    "-Wno-maybe-uninitialized",
]  # GCC 12's own intrinsics
FLAGS = ["-O1", "-g", *SANITIZE, *WARN]


@pytest.mark.slow
@pytest.mark.parametrize("tiles", [[], [EMULATED]], ids=["processor", "emulated"])
def test_random_calls_stay_inside_their_memory(tmp_path, tiles):
    """Emulated tiles are plain memory, whose ends the sanitizer sees; those of the processor are not looked into."""
    objects = compile_sources(
        tmp_path, [*sorted(SOURCES.glob("*.cpp")), DRIVER], *FLAGS, *tiles, vectors=not tiles
    )
    driver = tmp_path / "driver"
    subprocess.run([compiler(), *SANITIZE, *objects, "-o", driver, "-pthread"], check=True)
    result = subprocess.run([driver], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(result.stdout.split()[0]) >= 320


@pytest.mark.slow
def test_calls_as_python_makes_them_stay_inside_the_tensors(tmp_path):
    """Strided, expanded, sliced and spoiled arguments, through the checks of the ops and the pointers they hand on."""
    objects = compile_sources(tmp_path, sorted(SOURCES.glob("*.cpp")), "-fPIC", *FLAGS)
    library = tmp_path / "videosieve_native.so"
    subprocess.run([compiler(), "-shared", *SANITIZE, *objects, "-o", library, "-pthread"], check=True)
    found = subprocess.run(
        [compiler(), "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
    )
    runtime = Path(found.stdout.strip())
    if not runtime.is_file():
        pytest.skip("the compiler has no shared runtime of its sanitizer")
    # Python and torch leave memory to the end of the process, and free what others allocated; that is not looked for.
    options = "detect_leaks=0:alloc_dealloc_mismatch=0:detect_odr_violation=0"
    environment = {**os.environ, "LD_PRELOAD": str(runtime), "ASAN_OPTIONS": options, "OMP_NUM_THREADS": "2"}
    command = [sys.executable, CALLS, library, "150"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert result.returncode == 0, result.stdout + result.stderr[-5000:]
    answered, refused = map(int, result.stdout.split())
    assert answered > 100
    assert refused > 100
