"""What is known of a table of places: a law that it was held against and has not been changed since.

Orders and offsets of one selection pass through many checks, and each would read all of them again. Where one has
passed, the tensor remembers it with its version, which every change by PyTorch counts up.
"""

from torch import Tensor

Law = tuple[str | int | bool, ...]
_MARK = "_videosieve_upholds"


def upholds(x: Tensor, law: Law) -> bool:
    """Whether `note_upheld` was called with this law, and x is as it was then."""
    return not x.is_inference() and (x._version, law) in getattr(x, _MARK, ())


def note_upheld(x: Tensor, law: Law) -> None:
    """Remember that x was held against a law and fits. Tensors of inference mode count no changes: nothing is noted."""
    if not x.is_inference():
        known = [(version, one) for version, one in getattr(x, _MARK, ()) if version == x._version]
        setattr(x, _MARK, (*known, (x._version, law)))
