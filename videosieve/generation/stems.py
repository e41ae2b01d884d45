"""Names of files from names that people gave."""

import re
from collections.abc import Iterable

LONGEST = (
    100  # bytes; what is added to a stem, and to a temporary's, fits into a file name with room to spare
)


def file_stem(name: str, others: Iterable[str]) -> str:
    """What the files of a method are called.

    Args:
        name: Of the method; any text.
        others: Names of all methods of the comparison, in its order, this one among them.

    Returns:
        Letters, digits, ".", "=", "_" and "-"; no two names of a comparison get the same, also where the system does
        not tell capitals from small letters.
    """
    twins = [other for other in others if _plain(other).lower() == _plain(name).lower()]
    place = twins.index(name) if name in twins else 0
    return f"{_plain(name)}-{place + 1}" if place else _plain(name)


def _plain(name: str) -> str:
    words = re.sub(r"[^\w.=-]+", "-", name).strip("-.")
    return words.encode()[:LONGEST].decode(errors="ignore").strip("-.") or "method"
