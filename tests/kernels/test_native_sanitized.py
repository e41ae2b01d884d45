"""The native library under address and undefined-behaviour sanitizers, with all warnings as errors."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "videosieve" / "native"
DRIVER = Path(__file__).with_name("native_driver.cpp")
SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
WARN = [
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-uninitialized",
    "-Wno-maybe-uninitialized",
]  # GCC 12's own intrinsics
X86 = {
    "kernels_avx512": ["-mavx512f", "-mavx512dq", "-mfma", "-mf16c"],
    "kernels_avx2": ["-mavx2", "-mfma", "-mf16c"],
}


@pytest.mark.slow
def test_random_calls_stay_inside_their_memory(tmp_path):
    compiler = shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("there is no C++ compiler")
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    objects = []
    for source in [*sorted(SOURCES.glob("*.cpp")), DRIVER]:
        objects.append(tmp_path / f"{source.stem}.o")
        flags = [*SANITIZE, *WARN, *(X86.get(source.stem, []) if x86 else [])]
        command = [compiler, "-std=c++17", "-O1", "-g", "-ffp-contract=off", f"-I{SOURCES}", *flags]
        subprocess.run([*command, "-c", source, "-o", objects[-1]], check=True)
    driver = tmp_path / "driver"
    subprocess.run([compiler, *SANITIZE, *objects, "-o", driver, "-pthread"], check=True)
    result = subprocess.run([driver], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert int(result.stdout.split()[0]) >= 160
