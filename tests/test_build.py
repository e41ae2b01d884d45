"""The optional extension: where a compiler is present it must have been built, and nothing may hide that it was not."""

import os
import platform
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from setuptools import Distribution, Extension

from videosieve.kernels.native_library import PATH, SWITCH, load, refuse_library

SOURCES = Path(__file__).parent.parent / "videosieve" / "native"
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")
OLD_COMPILER = """#!/bin/sh
for flag; do
    case $flag in -mavx512bf16|-mamx-*) echo "unrecognized option $flag" >&2; exit 1;; esac
done
exec {compiler} "$@"
"""


def find_compiler():
    found = shutil.which("g++") or shutil.which("clang++")
    if found is None or not IS_X86:
        pytest.skip("there is no C++ compiler for x86-64")
    return found


def old_compiler(folder):
    """A compiler that knows neither products of bf16 nor tiles."""
    path = folder / "old-compiler"
    path.write_text(OLD_COMPILER.format(compiler=find_compiler()))
    path.chmod(0o755)
    return path


@pytest.fixture
def command(monkeypatch):
    """Makes the command of `setup.py` that builds, with a compiler."""
    with mock.patch("setuptools.setup"):
        setup = runpy.run_path(str(SOURCES.parents[1] / "setup.py"))

    def make(compiler):
        for name in ("CC", "CXX"):
            monkeypatch.setenv(name, str(compiler))
        build = setup["BuildNative"](Distribution({"ext_modules": [Extension("nothing", [])]}))
        monkeypatch.setattr(build, "build_extensions", lambda: None)
        build.ensure_finalized()
        build.run()  # finds the compiler
        return build

    return make


def test_flags_and_instructions_are_tried_before_they_are_used(command):
    build = command(find_compiler())
    assert build.flags_of("kernels_avx2") == ["-mavx2", "-mfma", "-mf16c"]
    assert build.understands(["-mavx2"], "vfmadd213ps %ymm2, %ymm1, %ymm0")
    assert not build.understands(["-mavx1024"], "nop")
    assert not build.understands([], "vmultiplyeverything %zmm0")
    assert build.flags_of("library") == []


def test_what_an_older_compiler_does_not_know_is_left_out(command, tmp_path, caplog):
    build = command(old_compiler(tmp_path))
    assert build.flags_of("kernels_avx512")
    assert build.flags_of("kernels_avx512_bf16") == []
    assert build.flags_of("kernels_amx_bf16") == []
    assert "kernels_amx_bf16 is left out: the compiler does not know" in caplog.text


@pytest.mark.slow
def test_an_older_compiler_builds_the_other_sets(tmp_path):
    root, compiler = SOURCES.parents[1], str(old_compiler(tmp_path))
    folders = ["--build-temp", str(tmp_path / "objects"), "--build-lib", str(tmp_path)]
    command = [sys.executable, "setup.py", "-q", "build_ext", *folders]
    subprocess.run(command, cwd=root, env={**os.environ, "CC": compiler, "CXX": compiler}, check=True)
    library = tmp_path / "videosieve" / "native" / PATH.name
    print_sets = (
        "from pathlib import Path; from videosieve.kernels import native_library as x; "
        f"x.PATH = Path({str(library)!r}); print(x.load().instruction_sets)"
    )
    found = subprocess.run(
        [sys.executable, "-c", print_sets], cwd=root, capture_output=True, text=True, check=True
    )
    assert "portable" in found.stdout
    assert "bf16" not in found.stdout


def test_the_native_kernels_are_there_where_a_compiler_is():
    if not PATH.is_relative_to(SOURCES):
        pytest.skip("videosieve is not imported from this checkout")
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        pytest.skip("there is no C++ compiler")
    if os.environ.get(SWITCH):
        pytest.skip(f"{SWITCH} is set")
    assert refuse_library() is None
    assert load().instruction_sets[-1] == "portable"


def test_every_source_of_the_kernels_is_shipped_in_a_source_distribution():
    manifest = (SOURCES.parents[1] / "MANIFEST.in").read_text()
    suffixes = {path.suffix for path in SOURCES.iterdir() if path.suffix != ".so"}
    assert suffixes
    assert all(f"videosieve/native/*{suffix}" in manifest for suffix in suffixes)
