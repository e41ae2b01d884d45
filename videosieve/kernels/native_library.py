"""The native CPU kernels: a plain shared library with a C interface, built at install where a compiler is present.

It links neither Python nor PyTorch, so one build serves every version of both. `videosieve/native/abi.h` is its
interface; the structures here mirror it. What keeps it from being used is a sentence, never an exception.
"""

import ctypes
import os
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videosieve.errors import BackendError
from videosieve.kernels.native_threads import team

ABI = 9
PATH = Path(__file__).parents[1] / "native" / "videosieve_native.so"
SWITCH = "VIDEOSIEVE_NATIVE"
ELEMENTS = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
MOST_HEAD_DIM = 256
PRODUCTS = {"amx_bf16": "tiles of AMX", "avx512_bf16": "registers of AVX-512"}
"""What multiplies bf16, by instruction set."""
PAIRED = tuple(PRODUCTS)
"""Instruction sets with products of bf16."""
SETS = (*PAIRED, "avx512", "avx2", "neon", "portable")
"""All instruction sets that a build may have."""


class TensorPointer(ctypes.Structure):
    """A tensor [batch, heads, tokens, head_dim]; strides in elements, 1 along head_dim."""

    _fields_ = [
        ("data", ctypes.c_void_p),
        ("batch_stride", ctypes.c_int64),
        ("head_stride", ctypes.c_int64),
        ("token_stride", ctypes.c_int64),
        ("head_group", ctypes.c_int64),
    ]

    @classmethod
    def of(cls, x: Tensor, heads: int | None = None) -> "TensorPointer":
        """Point at a tensor, which must outlive the call.

        Args:
            x: [batch, heads, tokens, head_dim].
            heads: Heads of the call where several of them share a head of x; None: as many as x has.
        """
        return cls(x.data_ptr(), *x.stride()[:3], 1 if heads is None else heads // x.shape[1])


SIZES = [
    ("batch", ctypes.c_int64),
    ("heads", ctypes.c_int64),
    ("queries", ctypes.c_int64),
    ("keys", ctypes.c_int64),
    ("head_dim", ctypes.c_int32),
    ("element", ctypes.c_int32),
    ("threads", ctypes.c_int32),
    ("scale", ctypes.c_float),
    ("team", ctypes.c_void_p),
]
"""Fields with which every call structure ends."""


def sizes(q: Tensor, keys: int, scale: float) -> dict[str, int | float | None]:
    """Values of `SIZES`.

    Args:
        q: Queries [batch, heads, queries, head_dim].
        keys: Key tokens.
        scale: Factor on every q·k.

    Returns:
        Keyword arguments of a call structure.
    """
    batch, heads, queries, head_dim = q.shape
    return {
        "batch": batch,
        "heads": heads,
        "queries": queries,
        "keys": keys,
        "head_dim": head_dim,
        "element": ELEMENTS[q.dtype],
        "threads": torch.get_num_threads(),
        "scale": scale,
        "team": team(),
    }


def shared_strides(x: Tensor) -> tuple[int, int]:
    """Strides of the batch and head axes; 0 where one entry serves all.

    Args:
        x: [batch|1, heads|1, …].

    Returns:
        Two strides, in elements.
    """
    batch, heads = (x.stride(axis) if x.shape[axis] > 1 else 0 for axis in (0, 1))
    return batch, heads


def token_table(order: Tensor | None) -> Tensor | None:
    """A token order as the library reads it: [batch|1, heads|1, tokens], the last axis contiguous.

    Args:
        order: int64 [tokens] or [batch|1, heads|1, tokens]; None stays None.
    """
    if order is None:
        return None
    order = order[None, None] if order.ndim == 1 else order
    return order if order.stride(-1) == 1 else order.contiguous()


@dataclass(frozen=True)
class NativeLibrary:
    """The loaded library.

    Attributes:
        handle: Its functions.
        instruction_sets: Those that it has and this processor runs, fastest first; the first is used.
        first: How many faster ones it has that are not to be used.
    """

    handle: ctypes.CDLL
    instruction_sets: tuple[str, ...]
    first: int = 0
    _functions: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def call(self, function: str, arguments: ctypes.Structure, instruction_set: str | None = None) -> None:
        """Run a function of the library; other Python threads go on meanwhile.

        Args:
            function: Its name without the prefix.
            arguments: What it takes.
            instruction_set: One of `instruction_sets`; the fastest where left out.

        Raises:
            BackendError: The library refused; nothing was written.
        """
        number = self.first
        if instruction_set is not None:
            number += self.instruction_sets.index(instruction_set)
        run = self._functions.get(function) or self._find(function)
        reason = run(ctypes.byref(arguments), ctypes.c_int32(number))
        if reason is not None:
            raise BackendError(f"the native kernel refused {function}: {reason.decode()}")

    def _find(self, function: str) -> Any:
        run = getattr(self.handle, f"videosieve_{function}")
        run.restype = ctypes.c_char_p
        self._functions[function] = run
        return run


def load() -> NativeLibrary:
    """The library.

    Raises:
        BackendError: It cannot be used here; `refuse_library` gives the same reason as a sentence.
    """
    loaded = _load(PATH, os.environ.get(SWITCH, "").lower())
    if isinstance(loaded, str):
        raise BackendError(loaded)
    return loaded


def refuse_library() -> str | None:
    """Why the native kernels cannot be used in this process, or None."""
    if os.environ.get(SWITCH, "").lower() in ("0", "off", "no", "false"):
        return f"the environment variable {SWITCH} turns it off"
    loaded = _load(PATH, os.environ.get(SWITCH, "").lower())
    return loaded if isinstance(loaded, str) else None


def refuse_products() -> str | None:
    """Why there are no products of bf16 in this process, or None."""
    if (reason := refuse_library()) is not None:
        return reason
    fastest = load().instruction_sets[0]
    if fastest not in PAIRED:
        needed = "it needs products of bf16 (AMX or AVX-512 BF16)"
        return f"{needed}, and the fastest set of this processor and build is {fastest}"
    return None


def refuse_rounding(q: Tensor) -> str | None:
    """Why a call cannot round its tensors to bf16, or None.

    Args:
        q: Queries, of the dtype of all tensors.
    """
    if q.dtype is not torch.float32:
        return f"it rounds fp32 to bf16, got {q.dtype}; bf16 needs no rounding, leave the choice to the op"
    return refuse_products()


def refuse_tensors(*tensors: Tensor) -> str | None:
    """Why the native kernels cannot read these tensors [batch, heads, tokens, head_dim], or None.

    Args:
        *tensors: Of one dtype, with values along head_dim next to one another.
    """
    reasons = (_refuse_values(x, tensors[0]) or _refuse_memory(x) for x in tensors)
    if (reason := next(filter(None, reasons), None)) is not None:
        return reason
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        return "it has no backward; detach the tensors or use torch.no_grad()"
    return "torch.compile cannot trace it" if torch.compiler.is_compiling() else None


def _refuse_values(x: Tensor, first: Tensor) -> str | None:
    if x.device.type != "cpu":
        return f"it needs CPU tensors, got {x.device}"
    if x.dtype not in ELEMENTS or x.dtype != first.dtype:
        return f"it needs fp32, bf16 or fp16, the same for all tensors; got {first.dtype} and {x.dtype}"
    if not x.numel():
        return f"it needs at least one value in every tensor, got {list(x.shape)}"
    if x.shape[-1] > MOST_HEAD_DIM:
        return f"it needs a head_dim of at most {MOST_HEAD_DIM}, got {x.shape[-1]}"
    return None


def _refuse_memory(x: Tensor) -> str | None:
    if x.layout != torch.strided or x.is_neg():
        return f"it needs plain strided tensors, got {x.layout}{' with a pending negation' * x.is_neg()}"
    if x.stride(-1) != 1 and x.shape[-1] != 1:
        return f"it needs head_dim contiguous in memory, got stride {x.stride(-1)}"
    if x.data_ptr() % x.element_size():
        return f"it needs tensors aligned to their {x.element_size()}-byte values"
    return None


@cache
def _load(path: Path, wanted: str) -> "NativeLibrary | str":
    if not path.exists():
        return f"it was not built: {path.name} is missing; install a C++17 compiler, then videosieve again"
    try:
        handle = ctypes.CDLL(str(path))
        abi = int(handle.videosieve_abi())
    except (OSError, AttributeError) as error:
        return f"{path.name} cannot be loaded here, it may be built for another machine: {error}"
    if abi != ABI:
        return f"{path.name} has interface {abi}, this videosieve needs {ABI}; install videosieve again"
    name = handle.videosieve_instruction_set
    name.restype = ctypes.c_char_p
    names = []
    while (found := name(ctypes.c_int32(len(names)))) is not None:
        names.append(found.decode())
    if not names:
        return f"{path.name} has no kernel for this processor"
    if wanted in SETS and wanted not in names:
        return f"{SWITCH} asks for {wanted}, and this processor and build have {', '.join(names)}; unset it"
    first = names.index(wanted) if wanted in names else 0
    return NativeLibrary(handle, tuple(names[first:]), first)
