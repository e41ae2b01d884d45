"""What becomes of a file on its way: other encodings, which say the same, and damage, which says nothing."""

import copy
import json
import random
from collections.abc import Iterator
from typing import Any


def encodings(content: bytes) -> Iterator[tuple[str, bytes, bool]]:
    """What programs make of a text file: name, bytes, and whether it still says the same."""
    text = content.decode()
    windows = text.replace("\n", "\r\n")
    yield "byte order mark", b"\xef\xbb\xbf" + content, True
    yield "Windows line ends", windows.encode(), True
    yield "both", b"\xef\xbb\xbf" + windows.encode(), True
    yield "UTF-16, little end first", b"\xff\xfe" + windows.encode("utf-16-le"), True
    yield "UTF-16, big end first", b"\xfe\xff" + text.encode("utf-16-be"), True
    yield "no line end at the end", content.rstrip(b"\n"), True
    yield "UTF-16 without a mark", text.encode("utf-16-le"), False
    yield "UTF-32", text.encode("utf-32"), False
    yield "Latin-1", content + b"\xe9t\xe9\n", False
    yield "a torn character", content + "猫".encode()[:2], False
    yield "a NUL", content + b"\0\n", False
    yield "a half character", content + b"\xed\xa0\x80\n", False
    yield "half a UTF-16 character", b"\xff\xfe" + text.encode("utf-16-le") + b"a", False


WRONG = (
    None,
    True,
    -1,
    0,
    1.5,
    10**30,
    1e999,
    float("nan"),
    "",
    "x",
    "\ud800",
    [],
    {},
    [[]],
    {"a": None},
    [None],
)


def damages(content: bytes, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Damage: cut, turned bits, other bytes, nothing, other formats, nested without end, other values in JSON."""
    draw = random.Random(seed)
    fixed = {
        "empty": b"", "one byte": content[:1], "blank": b" \n\n", "other text": b"hello\n", "zeros": bytes(64),
        "a pickle": b"\x80\x04\x95\x00cos\nsystem\n", "a zip": b"PK\x03\x04" + bytes(40), "nested": b"[" * 100_000,
        "nested tables": b'{"a":' * 100_000, "nested TOML": b"a = " + b"[" * 50_000, "digits": b"9" * 5000,
        "null": b"null", "a list": b"[]\n", "a number": b"5\n", "a text": b'"x"\n', "long": b"x" * 300_000,
        "twice": content + content,
    }  # fmt: skip
    yield from fixed.items()
    for _ in range(count):
        place = draw.randrange(max(len(content), 1))
        yield "cut", content[:place]
        yield (
            "a turned bit",
            _with(content, place, content[place] ^ 1 << draw.randrange(8)) if content else b"",
        )
        yield "another byte", _with(content, place, draw.randrange(256)) if content else b""
    yield from (("another value", changed) for changed in _other_values(content, draw, count))


def _with(content: bytes, place: int, byte: int) -> bytes:
    return content[:place] + bytes([byte]) + content[place + 1 :]


def _other_values(content: bytes, draw: random.Random, count: int) -> Iterator[bytes]:
    try:
        lines = [json.loads(line) for line in content.decode().split("\n") if line]
        whole = False
    except ValueError:
        try:
            lines, whole = [json.loads(content)], True
        except ValueError:
            return
    for _ in range(count):
        changed = copy.deepcopy(lines)
        places = [*_places(changed)]
        holder, key = draw.choice(places)
        if draw.random() < 0.2 and isinstance(holder, dict):
            del holder[key]
        elif draw.random() < 0.1 and isinstance(holder, dict):
            holder["another"] = 1
        else:
            holder[key] = draw.choice(WRONG)
        text = "\n".join(json.dumps(line, indent=1 if whole else None) for line in changed)
        yield text.encode() + b"\n"


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from _places(value[key])
