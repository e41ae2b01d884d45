"""The optional extension: where a compiler is present it must have been built, and nothing may hide that it was not."""

import os
import shutil
from pathlib import Path

import pytest

from videosieve.kernels.native_library import PATH, SWITCH, load, refuse_library

SOURCES = Path(__file__).parent.parent / "videosieve" / "native"


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
