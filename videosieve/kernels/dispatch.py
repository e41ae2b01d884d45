"""Who can run a kernel call, and why the others cannot.

Every op lists its implementations fastest first. An implementation answers `refuse(call arguments)` with a sentence
or None; the first that does not refuse runs. The automatic choice, the error message and `videosieve doctor` all ask
the same question, so they cannot disagree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from videosieve.errors import BackendError
from videosieve.fields import nearest, shown


def anything(*_args: Any) -> str | None:
    """Never refuses: what the reference implementations answer."""
    return None


@dataclass(frozen=True, slots=True)
class Implementation:
    """One way to compute an op.

    Attributes:
        name: "reference", "cpu", "triton", …
        refuse: Takes the op's arguments; a sentence why it cannot run them, or None.
        run: Computes the op.
        automatic: Whether it may be taken unasked; otherwise only by name.
        verify: Takes the op's arguments; a self-test at first use, a sentence if it failed. Not asked until it matters,
            for it may compile.
    """

    name: str
    refuse: Callable[..., str | None]
    run: Callable[..., Any]
    automatic: bool = True
    verify: Callable[..., str | None] = anything


def known_backend(op: str, implementations: Sequence[Implementation], backend: str | None) -> str | None:
    """The name of an implementation as it was given, or None.

    Raises:
        BackendError: The op has none of that name.
    """
    names = [implementation.name for implementation in implementations]
    if backend is not None and backend not in names:
        hint = nearest(str(backend), names)
        raise BackendError(f"{op} has no backend {shown(backend)}{hint}; there are {', '.join(names)}")
    return backend


def choose(
    op: str, implementations: Sequence[Implementation], backend: str | None, *args: Any
) -> Implementation:
    """Pick the implementation that runs a call.

    Args:
        op: Name of the op, for messages.
        implementations: Fastest first.
        backend: Name of the implementation asked for; None takes the first that can.
        *args: The op's arguments, handed to `refuse`.

    Returns:
        The implementation.

    Raises:
        BackendError: The one asked for is unknown or refuses, or all refuse.
    """
    known_backend(op, implementations, backend)
    wanted = [i for i in implementations if i.name == backend or (backend is None and i.automatic)]
    reasons = {}
    for implementation in wanted:
        reason = implementation.refuse(*args) or implementation.verify(*args)
        if reason is None:
            return implementation
        reasons[implementation.name] = reason
    if backend is None:
        text = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        raise BackendError(f"no backend can run this {op}: {text}")
    able = [i.name for i in implementations if i.automatic and i.refuse(*args) is None]
    others = ", ".join(able) or "none"
    raise BackendError(f"{backend} cannot run this {op}: {reasons[backend]}. Backends that can: {others}")
