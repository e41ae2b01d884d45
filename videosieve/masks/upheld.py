"""What is known of a table of places: a law that it was held against and has not been changed since.

Orders and offsets of one selection pass through many checks, and each would read all of them again. Where one has
passed, the tensor remembers it with its version, which PyTorch counts up with every change, and where it lies. What
writes past PyTorch (`x.data[…]`, an array of NumPy on the same memory) is not noticed here; the native library looks
at what it follows by itself.
"""

from torch import Tensor

Law = tuple[str | int | bool, ...]
_MARK = "_videosieve_upholds"


def upholds(x: Tensor, law: Law) -> bool:
    """Whether `note_upheld` was called with this law, and x is as it was then."""
    return not x.is_inference() and (_state(x), law) in getattr(x, _MARK, ())


def note_upheld(x: Tensor, law: Law) -> None:
    """Remember that x was held against a law and fits. Tensors of inference mode count no changes: nothing is noted."""
    if not x.is_inference():
        known = [(state, one) for state, one in getattr(x, _MARK, ()) if state == _state(x)]
        setattr(x, _MARK, (*known, (_state(x), law)))


def _state(x: Tensor) -> tuple[int, int, int]:
    """What a change in place alters, and what a copy, which takes the mark along, does not share."""
    return x._version, id(x), x.data_ptr()
