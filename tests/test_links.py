"""Every link of the documentation that stays in the repository leads to a file, and its anchor to a heading of it."""

import re
import sys
import unicodedata
from pathlib import Path

import pytest

from docs.links import ROOT, links

PAGES = sorted(
    page
    for place in ("*.md", "docs/**/*.md", "comfyui/**/*.md", "videosieve/**/*.md")
    for page in ROOT.glob(place)
)
FENCE = re.compile(r"^(```|~~~).*?^\1[ \t]*$", re.MULTILINE | re.DOTALL)


def anchor(heading: str) -> str:
    """As GitHub makes one of a heading, and pymdownx.slugs.slugify for the site."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "")
    text = unicodedata.normalize("NFC", text).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.*?) *#*$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE):
        name = anchor(heading)
        found[name] = found.get(name, -1) + 1
    return {
        name if not count else f"{name}-{count}" for name, last in found.items() for count in range(last + 1)
    }


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere."""
    wrong = []
    for target, fragment in links(page.read_text("utf-8")):
        path = (page.parent / target).resolve() if target else page
        if not path.exists() or not path.is_relative_to(ROOT):
            wrong.append(target)
        elif fragment and path.suffix == ".md" and fragment not in anchors(path):
            wrong.append(f"{target}#{fragment}")
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    assert broken(page) == []


def test_a_link_that_leads_nowhere_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "there.md").write_text(
        "# A `word`, and more\n\n```\n# not a heading\n```\n\n## Twice\n\n## Twice\n"
    )
    page = tmp_path / "page.md"
    page.write_text(
        "# Here\n[a](there.md) [b](there.md#a-word-and-more) [c](#here) [d](there.md#twice-1) [web](https://x.org/y)\n"
        "[e](gone.md) [f](there.md#not-a-heading) [g](#gone) [h](there.md#twice-2)\n"
        "```\n[i](code.md)\n```\n`[j](inline.md)`\n"
    )
    assert broken(page) == ["gone.md", "there.md#not-a-heading", "#gone", "there.md#twice-2"]


def test_pages_are_found():
    names = {page.relative_to(ROOT).as_posix() for page in PAGES}
    assert {"README.md", "docs/start.md", "docs/methods/svg_ear.md"} <= names
