"""The floors of the house: a module imports from its own room or from a floor below."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from videosieve.methods import METHODS

PACKAGE = Path(__file__).parent.parent / "videosieve"

# A room may import from its own floor's rooms listed together, and from every floor below. The top is the package face.
FLOORS = [
    ["errors", "version"],
    ["fields", "finite", "overrides", "visible"],
    ["files"],
    ["layout", "masks", "colours", "frame_rate", "forward", "timing", "records"],
    ["call"],
    ["dealing"],
    ["ranks"],
    ["kernels"],
    ["methods"],
    ["schedule", "concepts", "inspection", "plugins", "method_rules"],
    ["generations"],
    ["totals"],
    ["summary"],
    ["trace", "outputs", "lending", "states", "recall", "observation"],
    ["recipe", "metrics"],
    ["reports"],
    ["run", "tuning.search"],
    ["functional"],
    ["testing"],
    ["integrations", "shapes", "report"],
    ["planning", "bench"],
    ["generation"],
    ["judging", "atlas", "scenes"],
    ["comparison", "tuning", "prefill"],
    ["batch"],
    ["cli"],
    ["__main__", "__init__"],
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}


def room_of(module: str) -> str:
    """The innermost room on a floor of its own that holds a module, given without "videosieve."."""
    parts = module.split(".")
    names = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((name for name in names if name in LEVEL), parts[0])


def imported_modules(path: Path) -> list[str]:
    """Every videosieve module that a file imports, also inside functions."""
    modules = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            if node.module == "videosieve":
                modules += [f"videosieve.{alias.name}" for alias in node.names if alias.name in LEVEL] or [
                    "videosieve"
                ]
            else:
                modules.append(node.module or "")
    return [module for module in modules if module.split(".")[0] == "videosieve"]


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path):
    own = room_of(".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    for module in imported_modules(path):
        room = room_of(module.partition(".")[2] or "__init__")
        assert room in LEVEL, f"{module} is on no floor"
        assert room == own or LEVEL[room] < LEVEL[own], f"{own} must not import {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_small(path: Path):
    assert len(path.read_text().splitlines()) <= 300


ROOMS = sorted({path.parent for path in FILES} - {PACKAGE})  # a file beside the rooms is a room of its own


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(PACKAGE)))
def test_rooms_stay_small(room: Path):
    """At most 16 files of its own; papers do not count, a method is a file and there are as many as there are."""
    papers = {method.__module__ for method in METHODS.values()}
    files = {f"{'.'.join(room.relative_to(PACKAGE.parent).parts)}.{path.stem}" for path in room.glob("*.py")}
    assert len(files - papers) <= 16, f"{room.name} is a store; take it apart by subject"


def test_import_videosieve_loads_nothing_heavy():
    program = (
        "import sys, videosieve\n"
        "heavy = {'triton', 'diffusers', 'transformers', 'matplotlib', 'typer', 'PIL', 'accelerate'}\n"
        "heavy |= {'safetensors', 'tokenizers', 'rich', 'imageio_ffmpeg', 'ftfy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_every_public_name_exists():
    import videosieve

    assert sorted(videosieve.__all__) == sorted(set(videosieve.__all__))
    for name in videosieve.__all__:
        assert hasattr(videosieve, name)
