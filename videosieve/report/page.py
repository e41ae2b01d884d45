"""Head, stylesheet, title, footer and policy of every page: a page is one file, and nothing in it is fetched."""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from videosieve.colours import STYLE

SHEETS = ("layout.css", "table.css", "charts.css", "player.css", "inspection.css")
"""Behind the colours; every page has all of them, so that a class means one thing."""

WHOLE = 20
"""Letters up to which a word with hyphens is not broken: on a phone it fits beside a heading of the same line."""


@dataclass(frozen=True, slots=True)
class Colophon:
    """What made a page; it stands at its foot.

    Attributes:
        model: Name or folder; empty for none.
        seed: Of the noise, in words; empty where there is none.
        command: That wrote the page; empty for none.
        versions: Name and version of what it was made with; empty for unknown.
    """

    model: str = ""
    seed: str = ""
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def draw_page(
    template: str,
    title: str,
    colophon: Colophon,
    *,
    scripts: Sequence[str] = (),
    data: Any = None,
    **values: Any,
) -> str:
    """A page as text.

    Args:
        template: In `assets`; extends base.html.
        title: Of the window; the name of the library is put behind it.
        colophon: What stands at the foot.
        scripts: In `assets`, in this order; one script together, and the only one that the page's policy lets run.
        data: For the scripts, as JSON in the element `data`; None for none.
        **values: For the template.

    Returns:
        HTML.
    """
    environment = _environment()
    script = "".join(_source(environment, name) for name in ("page.js", *scripts))
    return environment.get_template(template).render(
        page_title=title,
        page_kind=template.removesuffix(".html"),
        colophon=colophon,
        css=Markup(stylesheet()),
        script=Markup(script),
        script_hash=_hash(script),
        data=None if data is None else embedded_json(data),
        **values,
    )


def stylesheet() -> str:
    """The one stylesheet: colours and type of every page."""
    environment = _environment()
    return STYLE + "".join(_source(environment, name) for name in SHEETS)


def embedded_json(values: Any) -> Markup:
    """Values as JSON that can stand inside a script element."""
    return Markup(json.dumps(values, separators=(",", ":")).replace("<", "\\u003c"))


def machine_fact(machine: Mapping[str, str]) -> tuple[str, str, str]:
    """A machine as a fact of a page: the device, and its processor and threads in small print.

    Args:
        machine: In words by topic, as results files hold it.
    """
    device, processor, threads = (machine.get(key, "–") for key in ("device", "processor", "threads"))
    return ("machine", device, f"{processor}, {threads} thread{'s' * (threads != '1')}")


def number_words(numbers: Iterable[int]) -> str:
    """Ascending numbers in words, runs as "3–7"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}–{run[-1]}" for run in runs)


def whole_words(text: Any) -> Markup:
    """Text whose short words with hyphens keep on one line; long names in CamelCase may break before a capital.

    Args:
        text: Plain text or a number; what is read from the page or copied stays as it is.
    """
    return Markup("").join(map(_word, re.split(r"(\s+)", str(text))))


def _word(word: str) -> Markup:
    if "-" in word and len(word) <= WHOLE:
        return Markup('<span class="whole">{}</span>').format(word)
    if len(word) > WHOLE:
        return Markup("<wbr>").join(re.split(r"(?<=[a-z])(?=[A-Z])", word))
    return escape(word)


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("videosieve.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"fixed": _fixed, "percent": _percent, "whole_words": whole_words}
    return environment


def _source(environment: Environment, name: str) -> str:
    loader: Any = environment.loader
    return loader.get_source(environment, name)[0]


def _hash(script: str) -> Markup:
    """Of the only script that the page's policy lets run."""
    return Markup(f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}")


def _fixed(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.0f} %"
