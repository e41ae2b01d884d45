"""The pages of the methods say what the code says: every field with its default, every function by its file."""

import importlib
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from videosieve.methods import METHODS

DOCS = Path(__file__).parents[2] / "docs" / "methods"
PAGES = {
    name: DOCS / f"{stem}.md"
    for name, cls in METHODS.items()
    if (stem := cls.__module__.split(".")[-1]) != "dense"
}
FIELD = re.compile(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \| .+\|$", re.MULTILINE)


def parameter_table(page):
    return {name: default.strip(' `"') for name, default in FIELD.findall(page.read_text(encoding="utf-8"))}


@pytest.mark.parametrize("name", PAGES)
def test_every_field_is_documented_with_its_default(name):
    table = parameter_table(PAGES[name])
    for field in fields(METHODS[name]):
        default = str(field.default)
        assert table[field.name] == (default.lower() if default in ("None", "True", "False") else default)


@pytest.mark.parametrize("page", sorted(set(PAGES.values())), ids=lambda page: page.stem)
def test_no_field_is_documented_that_does_not_exist(page):
    known = {field.name for name, where in PAGES.items() if where == page for field in fields(METHODS[name])}
    assert set(parameter_table(page)) <= known


@pytest.mark.parametrize("page", sorted(set(PAGES.values())), ids=lambda page: page.stem)
def test_every_function_that_a_page_names_is_where_it_says(page):
    text = page.read_text(encoding="utf-8")
    mentions = re.findall(
        r"((?:`[\w.]+`(?:, | and )?)+) in `((?:kernels|methods|masks|schedule|planning)/[\w/]+?)(?:\.py|/)`",
        text,
    )
    assert mentions
    for names, path in mentions:
        module = importlib.import_module(f"videosieve.{path.replace('/', '.')}")
        for name in re.findall(r"`([\w.]+)`", names):
            value = sys.modules[module.__name__]
            for part in name.split("."):
                assert hasattr(value, part), f"{page.name} names {name} in {path}"
                value = getattr(value, part)
