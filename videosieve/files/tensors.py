"""Tensors in safetensors files, and the JSON in their headers. Nothing is ever unpickled."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from videosieve.errors import OutputError, VideosieveError
from videosieve.files.json_text import parse_json
from videosieve.files.paths import is_file, is_folder, reason_of
from videosieve.files.writing import whole_file

_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


@contextmanager
def open_tensors(
    path: str | Path, key: str, what: str, error: type[VideosieveError]
) -> Iterator[tuple[Any, Any]]:
    """Open a safetensors file whose header carries JSON.

    Args:
        path: The file.
        key: Name of the JSON in the header's metadata.
        what: What it is to the reader: "the checkpoint", "saliency maps", …
        error: What to raise.

    Yields:
        The open file, with `get_tensor` and `keys`, and the JSON's value.

    Raises:
        VideosieveError: Of the class `error`: it is missing, incomplete, a pickle, of another kind, or its header is
            damaged; also for a tensor that is read inside the block.
    """
    from safetensors import SafetensorError, safe_open

    where = f"{what} {str(path)!r}"
    _check_file(path, where, error)
    try:
        with safe_open(str(path), framework="pt") as file:
            facts = (file.metadata() or {}).get(key)
            if facts is None:
                raise error(f"{where} is of another kind: its header has no {key!r}")
            yield file, parse_json(facts, f"the header of {where}", error)
    except (SafetensorError, OSError) as cause:
        raise error(f"{where} is damaged or incomplete: {reason_of(cause)}") from None


def tensor_names(path: str | Path, what: str, error: type[VideosieveError]) -> list[str]:
    """Names of the tensors in a safetensors file, from its header; its length is checked along.

    Args:
        path: The file.
        what: What it is to the reader.
        error: What to raise.

    Returns:
        The names.

    Raises:
        VideosieveError: Of the class `error`: it is missing, incomplete, a pickle or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    where = f"{what} {str(path)!r}"
    _check_file(path, where, error)
    try:
        with safe_open(str(path), framework="pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError, ValueError) as cause:
        raise error(f"{where} is damaged or incomplete: {reason_of(cause)}") from None


def read_tensors(path: str | Path, what: str, error: type[VideosieveError]) -> dict[str, Tensor]:
    """All tensors of a safetensors file.

    Args:
        path: The file.
        what: What it is to the reader.
        error: What to raise.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        VideosieveError: Of the class `error`: it is missing, incomplete, a pickle or of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    where = f"{what} {str(path)!r}"
    _check_file(path, where, error)
    try:
        return load_file(str(path))
    except (SafetensorError, OSError, ValueError) as cause:
        raise error(f"{where} is damaged or incomplete: {reason_of(cause)}") from None


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, str] | None = None,
    error: type[VideosieveError] = OutputError,
) -> None:
    """Write a whole safetensors file or none.

    Args:
        path: The file.
        tensors: By name, on any device, with any strides, none of which share memory.
        facts: Texts for the header.
        error: What to raise.

    Raises:
        VideosieveError: Of the class `error`: the system refused to write (disk full); a file that stood there is as
            it was.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole_file(path, error) as temporary:
        try:
            save_file(plain, temporary, metadata=dict(facts) if facts else None)
        except SafetensorError as cause:
            raise _as_os_error(cause) from None


def _as_os_error(cause: Exception) -> OSError:
    number = re.search(r"os error (\d+)", str(cause))
    return OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(cause))


def _check_file(path: str | Path, where: str, error: type[VideosieveError]) -> None:
    if not is_file(path):
        reason = "it is a folder" if is_folder(path) else "there is no such file"
        raise error(f"cannot read {where}: {reason}")
    try:
        with Path(path).open("rb") as file:
            begin = file.read(4)
    except OSError as cause:
        raise error(f"cannot read {where}: {reason_of(cause)}") from None
    if begin.startswith(_PICKLES):
        raise error(f"{where} is a pickle, which can run code and is never opened; save it as safetensors")
