"""Methods of your own: by code, by a file, by an installed package; and every way to get it wrong."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pytest

import videosieve
from videosieve import plugins
from videosieve.errors import PluginError, RecipeError
from videosieve.methods import METHODS, Method
from videosieve.plugins import load_entry_points, load_file, load_plugins, name_file, register_method
from videosieve.recipe import Recipe


@dataclass(frozen=True)
class Mine(Method):
    name: ClassVar[str] = "mine"
    density: float = 0.3

    def select(self, call, state):
        return None, state


FILE = """
from dataclasses import dataclass
from typing import ClassVar
import videosieve

@videosieve.register_method
@dataclass(frozen=True)
class Filed(videosieve.Method):
    name: ClassVar[str] = "filed"
    def select(self, call, state):
        return None, state
"""


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before, modules = dict(METHODS), set(sys.modules)
    monkeypatch.setattr(plugins, "_done", set())
    monkeypatch.delenv(plugins.FILES, raising=False)
    yield
    METHODS.clear()
    METHODS.update(before)
    for name in set(sys.modules) - modules:
        if name.startswith("videosieve_plugin_"):
            del sys.modules[name]


def test_a_registered_method_is_one_like_any_other():
    assert register_method(Mine) is Mine
    assert Recipe.of("mine", density=0.2).method == Mine(0.2)
    assert Recipe.from_toml(Recipe.of("mine").to_toml()) == Recipe.of("mine")
    register_method(Mine)  # once more is no harm: a notebook cell runs twice
    assert videosieve.register_method is register_method


class Bare(Method):
    name = "bare"

    def select(self, call, state):
        return None, state


def without_a_name():
    @dataclass(frozen=True)
    class Nameless(Mine):
        pass

    return Nameless


def with_a_taken_name():
    @dataclass(frozen=True)
    class Svg(Mine):
        name: ClassVar[str] = "svg"

    return Svg


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: 3, "must be a subclass of videosieve.Method, got 3"),
        (lambda: Mine(), "must be a subclass of videosieve.Method"),
        (lambda: Bare, "Bare must be a frozen dataclass"),
        (without_a_name, "Nameless must have a name of its own"),
        (with_a_taken_name, "the name 'svg' is taken by videosieve.methods"),
    ],
)
def test_what_cannot_be_used_is_refused(make, words):
    before = dict(METHODS)
    with pytest.raises(PluginError, match=words):
        register_method(make())
    assert before == METHODS


def test_a_file_is_imported_once(tmp_path: Path):
    path = tmp_path / "my methods.py"
    path.write_text(FILE)
    load_file(path)
    first = METHODS["filed"]
    load_file(str(path))
    assert METHODS["filed"] is first
    assert sys.modules[first.__module__].__file__ == str(path)


def test_a_named_file_is_known_to_worker_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "filed.py"
    path.write_text(FILE)
    monkeypatch.setenv(plugins.FILES, "")
    name_file(path)
    name_file(path)
    assert plugins.os.environ[plugins.FILES] == str(path)
    del METHODS["filed"]
    plugins._done.clear()  # as in a fresh process
    assert Recipe.from_toml('[method]\nname = "filed"').method.name == "filed"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("missing.py", None, "missing.py' is no file"),
        ("text.txt", "", "must be a Python file"),
        ("broken.py", "1 / 0", "cannot be imported: ZeroDivisionError"),
        ("wrong.py", "import videosieve\nvideosieve.register_method(int)", "must be a subclass"),
    ],
)
def test_a_file_that_does_not_work_is_named(tmp_path: Path, name: str, text: str | None, words: str):
    path, before = tmp_path / name, set(sys.modules)
    if text is not None:
        path.write_text(text)
    for _ in range(2):  # it is not taken for imported
        with pytest.raises(PluginError, match=words):
            load_file(path)
    assert not any(module.startswith("videosieve_plugin_") for module in set(sys.modules) - before)


def offer(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    point = EntryPoint("mine", value, "videosieve.methods")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [point] if group == point.group else [])


def test_an_installed_package_brings_methods(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(RecipeError, match="unknown method or recipe 'mine'"):
        Recipe.of("mine")
    monkeypatch.setattr(plugins, "_done", set())
    offer(monkeypatch, f"{__name__}:Mine")
    assert Recipe.of("mine").method == Mine()


def test_an_entry_point_may_hold_several(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys.modules[__name__], "ALL", [Mine], raising=False)
    offer(monkeypatch, f"{__name__}:ALL")
    load_plugins()
    assert METHODS["mine"] is Mine


def test_an_entry_point_that_cannot_be_imported_is_named(monkeypatch: pytest.MonkeyPatch):
    offer(monkeypatch, "no_such_package:Mine")
    with pytest.raises(
        PluginError, match=r"mine = no_such_package:Mine in videosieve\.methods cannot be imported"
    ):
        load_entry_points("videosieve.methods", register_method)
