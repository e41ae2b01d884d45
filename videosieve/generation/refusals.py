"""What a pipeline says when it cannot make a video, as one line that names the cause."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from videosieve.errors import ModelError, VideosieveError

TOO_LARGE = (
    *(
        "can't allocate memory",
        "not enough memory",
        "Storage size calculation overflowed",
        "Invalid buffer size",
    ),
    "array is too big",
)
"""What torch and NumPy say on a CPU where a tensor has no room; none of it has a class of its own."""

MISFIT = (
    *("cannot be multiplied", "must match the size", "Sizes of tensors must match", "size mismatch"),
    *("expected input", "index out of range", "Expected size", "is invalid for input of size"),
)
"""What torch says where the shapes of two parts do not fit."""


@contextmanager
def told_as_model_error(pipe: Any) -> Iterator[None]:
    """Turn what a pipeline refuses in the block into a ModelError; faults of other kinds stay what they are.

    Raises:
        ModelError: The request is too large, is none that this pipeline takes, or parts of the model do not fit.
    """
    name = type(pipe).__name__
    try:
        yield
    except VideosieveError:
        raise
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise ModelError(
            f"{pipe.device} has too little memory for this request; lower height, width or frames, or take bfloat16"
        ) from error
    except (ValueError, TypeError) as error:
        raise ModelError(f"{name} refuses this request: {_line(error)}") from error
    except (RuntimeError, IndexError) as error:
        if any(words in str(error) for words in TOO_LARGE):
            raise ModelError(
                f"this request is too large for {pipe.device}: {_line(error)}; lower height, width or frames"
            ) from error
        if any(words in str(error) for words in MISFIT):
            raise ModelError(
                f"the parts of {name} do not fit together, or not with this request: {_line(error)}; take all parts of "
                f"one model (--debug shows where)"
            ) from error
        raise


def why_not_finite(pipe: Any) -> str:
    """What is likely wrong with a pipeline whose videos are no numbers."""
    dtype = str(getattr(pipe, "dtype", torch.float32)).removeprefix("torch.")
    narrow = "" if dtype == "float32" else f", or {dtype} is too narrow for the model: take float32 (--dtype)"
    return f"its weights are likely damaged: load or copy the model again{narrow}"


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
