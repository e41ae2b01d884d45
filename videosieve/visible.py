"""Text of other people where a terminal, a chart or a page shows it: what steers these is shown and does nothing."""

import unicodedata

_STEERING = frozenset(
    "\u2028\u2029\ufeff\u200e\u200f\u061c"
    + "".join(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
)


def visible(text: str, keep: str = "\n\t") -> str:
    """A text whose control characters, half characters and marks of direction are written as escapes.

    Args:
        text: Any text.
        keep: Control characters that stay.

    Returns:
        The text; an escape character, which moves a terminal's cursor and colours its text, becomes \\x1b.
    """
    return "".join(map(lambda character: character if character in keep else _shown(character), text))


def plot_text(text: str) -> str:
    """A text for matplotlib, which takes what stands between two dollars for a formula."""
    return visible(text).replace("$", r"\$")


def _shown(character: str) -> str:
    if unicodedata.category(character) not in ("Cc", "Cs") and character not in _STEERING:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
