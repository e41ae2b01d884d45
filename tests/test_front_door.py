"""What stands at the door agrees with the package: versions, templates, what a wheel says of itself."""

import re
from pathlib import Path

import yaml

from videosieve.version import __version__

ROOT = Path(__file__).parent.parent


def test_every_version_is_the_same():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert str(citation["version"]) == __version__
    assert re.search(
        rf"^## {re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )


def test_the_citation_has_what_the_format_asks_for():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors", "license"} <= set(citation)
    assert all("name" in author or "family-names" in author for author in citation["authors"])


def test_forms_for_issues_are_forms():
    forms = [path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml"]
    assert len(forms) == 3
    for path in forms:
        form = yaml.safe_load(path.read_text("utf-8"))
        assert {"name", "description", "body"} <= set(form), path
        named = [part["id"] for part in form["body"]]
        assert len(set(named)) == len(named)
        assert {part["type"] for part in form["body"]} <= {"textarea", "input", "checkboxes"}


def test_every_command_of_the_readme_is_a_verb():
    from videosieve.cli import app

    verbs = {command.callback.__name__ for command in app.registered_commands if command.callback} | {
        "shapes"
    }
    text = (ROOT / "README.md").read_text("utf-8")
    named = set(re.findall(r"(?:^ {4}|`)videosieve ([a-z]+)\b", text, re.MULTILINE))
    assert named - verbs == set()
    assert {"compare", "generate", "tune"} <= named


def test_the_picture_of_the_readme_is_there_and_small():
    shown = re.search(
        r"!\[[^\]]+\]\((docs/images/[^)]+\.(?:gif|webp))\)", (ROOT / "README.md").read_text("utf-8")
    )
    assert shown is not None
    assert 10_000 < (ROOT / shown[1]).stat().st_size < 2_000_000
