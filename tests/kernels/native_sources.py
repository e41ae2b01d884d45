"""Compiles the native library's sources for tests, with the flags that `setup.py` gives them."""

import os
import platform
import runpy
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "videosieve" / "native"
EMULATED = "-DVIDEOSIEVE_EMULATED_TILES"
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")


def setup_names():
    """What `setup.py` defines; nothing is built."""
    with mock.patch("setuptools.setup"):
        return runpy.run_path(str(ROOT / "setup.py"))


def compiler():
    """A C++ compiler, or the test is skipped."""
    found = shutil.which("g++") or shutil.which("clang++")
    if found is None:
        pytest.skip("there is no C++ compiler")
    return found


def compile_sources(folder, sources, *flags, vectors=True):
    """Object files of sources, each with the flags of its instruction set unless `vectors` is false."""
    own = {stem: own for stem, (own, _) in setup_names()["X86"].items()} if IS_X86 and vectors else {}
    command = [compiler(), "-std=c++17", "-ffp-contract=off", f"-I{SOURCES}", *flags, "-c"]

    def compile_one(source):
        target = folder / f"{source.stem}.o"
        subprocess.run([*command, *own.get(source.stem, []), source, "-o", target], check=True)
        return target

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(compile_one, sources))


def build_library(folder, *flags, vectors=True):
    """The shared library, in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    objects = compile_sources(folder, sorted(SOURCES.glob("*.cpp")), "-fPIC", *flags, vectors=vectors)
    library = folder / "videosieve_native.so"
    subprocess.run([compiler(), "-shared", *objects, "-o", library, "-pthread"], check=True)
    return library
