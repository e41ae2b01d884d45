"""Links of Markdown pages, as the site and the link test read them."""

import re
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"(\]\()(?!https?:|mailto:)([^)\s#]*)(#[^)\s]*)?(\))")
CODE = re.compile(r"^(```|~~~).*?^\1[ \t]*$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def links(text: str) -> list[tuple[str, str]]:
    """Target and anchor of every link that stays in the repository, outside of code; either may be empty.

    Args:
        text: Markdown.
    """
    prose = CODE.sub("", text)
    return [(match[2], (match[3] or "").removeprefix("#")) for match in LINK.finditer(prose)]


def replace_targets(text: str, moved: Callable[[str], str]) -> str:
    """The same text with other targets; anchors and code stay as they are.

    Args:
        text: Markdown.
        moved: From a target to what shall stand there; not asked about anchors alone.
    """

    def one(match: re.Match[str]) -> str:
        return f"{match[1]}{moved(match[2]) if match[2] else ''}{match[3] or ''}{match[4]}"

    kept, last = [], 0
    for code in CODE.finditer(text):
        kept += [LINK.sub(one, text[last : code.start()]), code[0]]
        last = code.end()
    return "".join([*kept, LINK.sub(one, text[last:])])
