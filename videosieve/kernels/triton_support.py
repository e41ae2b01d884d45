"""What every Triton implementation asks before it runs, without importing Triton until one does.

Kernels live in files named `triton*.py` of an op's folder and import Triton at the top. An op's `api.py` lists them
with `lazily(module, name)`, so that `import videosieve` stays free of Triton and a machine without it reads a sentence.
"""

import importlib
import importlib.util
import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor

LEAST_ARCH = 80
LEAST_TRITON = (3, 5)  # the oldest that the kernels are tested with; torch 2.9 brings it
MOST_LANES = 65535  # of the second and third axis of a launch
DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def lazily(module: str, name: str) -> Callable[..., Any]:
    """A function that imports `module` when it is first called and calls `name` of it."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), name)(*args, **kwargs)

    return call


@cache
def installed(package: str) -> bool:
    """Whether a package can be imported; of `a.b`, a is imported to see."""
    return importlib.util.find_spec(package) is not None


def interpreting() -> bool:
    """Whether kernels run in Triton's interpreter, on CPU tensors, by `TRITON_INTERPRET=1` or in a test."""
    if not installed("triton") or not installed("triton.knobs"):  # Triton before 3.4 has no knobs
        return False
    return bool(importlib.import_module("triton.knobs").runtime.interpret)


def debugging() -> bool:
    """Whether VIDEOSIEVE_DEBUG is set: values are checked on a GPU as well, where that makes the host wait."""
    return os.environ.get("VIDEOSIEVE_DEBUG", "") not in ("", "0")


@cache
def architecture(device: torch.device) -> int:
    """Compute capability of a CUDA device as major · 10 + minor: 80 for A100, 90 for H100, 100 for B200."""
    major, minor = torch.cuda.get_device_capability(device)
    return major * 10 + minor


def refuse_triton(
    *tensors: Tensor, dtypes: tuple[torch.dtype, ...] = DTYPES, least_arch: int = LEAST_ARCH
) -> str | None:
    """Why no Triton kernel can run on these tensors, or None. Asks for as little as every kernel needs.

    Args:
        *tensors: Inputs of one call; the first decides about device and dtype.
        dtypes: Of the inputs that the kernel knows.
        least_arch: Smallest compute capability that the kernel runs on, as `architecture` counts.

    Returns:
        A sentence without a full stop, or None.
    """
    return _refuse_device(tensors, least_arch) or _refuse_values(tensors, dtypes)


def refuse_version(version: str) -> str | None:
    """Why the kernels do not run with a version of Triton, such as "3.2.0", or None."""
    if tuple(map(int, version.split(".")[:2])) >= LEAST_TRITON:
        return None
    return f"it needs triton {'.'.join(map(str, LEAST_TRITON))} or newer, which comes with torch 2.9, got {version}"


def _refuse_device(tensors: tuple[Tensor, ...], least_arch: int) -> str | None:
    device = tensors[0].device
    if not installed("triton"):
        return "triton is not installed; it comes with torch for CUDA on Linux"
    if device.type != "cuda" and not (device.type == "cpu" and interpreting()):
        return f"it needs CUDA tensors, got {device}"
    if (reason := refuse_version(importlib.import_module("triton").__version__)) is not None:
        return reason
    if any(x.device != device for x in tensors):
        return (
            f"it needs all tensors on one device, got {', '.join(sorted({str(x.device) for x in tensors}))}"
        )
    if device.type == "cuda" and architecture(device) < least_arch:
        return f"it needs sm{least_arch} or newer, got sm{architecture(device)}"
    return None


def _refuse_values(tensors: tuple[Tensor, ...], dtypes: tuple[torch.dtype, ...]) -> str | None:
    if any(x.dtype not in dtypes for x in tensors):
        known = ", ".join(str(dtype).removeprefix("torch.") for dtype in dtypes)
        met = ", ".join(sorted({str(x.dtype).removeprefix("torch.") for x in tensors}))
        return f"it needs {known}, got {met}"
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        return "it has no backward; detach its inputs or use torch.no_grad()"
    return None


def launch_arch(device: torch.device) -> int:
    """Architecture whose launches a call takes: the device's, in the interpreter that of sm90."""
    return architecture(device) if device.type == "cuda" else 90


def on_device(x: Tensor) -> AbstractContextManager[Any]:
    """Launch where x is, which need not be the current device."""
    return torch.cuda.device(x.device) if x.device.type == "cuda" else nullcontext()


def lane_steps(x: Tensor | None) -> tuple[int, int]:
    """(batch, head) strides of [batch|1, heads|1, …], 0 along a shared axis; (0, 0) of [tokens] and of None."""
    if x is None or x.ndim == 1:
        return 0, 0
    batch, head = (0 if x.shape[axis] == 1 else x.stride(axis) for axis in (0, 1))
    return batch, head


def refuse_rows(*tensors: Tensor, most: int = 128) -> str | None:
    """Why a kernel that reads whole rows of head_dim values cannot read these tensors, or None."""
    head_dim = tensors[0].shape[-1]
    if not 1 <= head_dim <= most:
        return f"head_dim must be at most {most}, got {head_dim}"
    if tensors[0].shape[0] * tensors[0].shape[1] > MOST_LANES:
        return f"batch · heads must be at most {MOST_LANES}, got {' · '.join(map(str, tensors[0].shape[:2]))}"
    if any(x.stride(-1) != 1 and head_dim > 1 for x in tensors):
        return (
            "the head_dim values of a token must lie next to one another, got strides "
            f"{', '.join(str(list(x.stride())) for x in tensors)}; pass .contiguous()"
        )
    if any(x.dtype != tensors[0].dtype for x in tensors):
        return f"its inputs must share a dtype, got {', '.join(str(x.dtype) for x in tensors)}"
    return None


def refuse_products(*tensors: Tensor) -> str | None:
    """Why a kernel that multiplies matrices of tokens cannot run, or None.

    fp32 is left to the interpreter: its products take three passes of the matrix units and twice the registers, and the
    estimators that such kernels compute meet half precision in models.
    """
    dtypes = DTYPES if interpreting() else (torch.bfloat16, torch.float16)
    return refuse_triton(*tensors, dtypes=dtypes) or refuse_rows(*tensors)
