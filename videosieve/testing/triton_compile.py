"""Triton kernels compiled without a GPU: what a launch would run on sm80, sm90 or sm100, and what it costs there.

    compiled = compile_for(kernel, arguments, 90, num_warps=8, num_stages=3)
    assert not compiled.spills and compiled.shared <= SHARED_MEMORY[90] and compiled.wgmma

`arguments` are those of the launch itself, by name, constants included; tensors may be small or on the meta device,
only dtypes count. Integers are specialised as Triton does at run time: 1 becomes a constant, multiples of 16 are known
to be so, pointers are taken to be aligned to 16 bytes. So pass strides and counts of the size that real calls have.
Triton caches what it compiled; a changed kernel or launch is compiled anew, at about three seconds each.
"""

import importlib
import re
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from videosieve.kernels.launch import COMPILER_OPTIONS

POINTERS = {
    torch.bfloat16: "*bf16",
    torch.float16: "*fp16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
    torch.float8_e4m3fn: "*fp8e4nv",
    torch.bool: "*i1",
    torch.uint8: "*u8",
    torch.int8: "*i8",
    torch.int16: "*i16",
    torch.int32: "*i32",
    torch.int64: "*i64",
}
ALIGNMENT = 16


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the assembler made of a kernel.

    Attributes:
        arch: Compute capability, major · 10 + minor.
        registers: Per thread.
        spills: Bytes of registers per thread that do not fit and live in local memory; 0 wanted.
        loop_spills: Loads and stores of local memory inside loops.
        shared: Shared memory of one thread block, bytes.
        ptx: The assembly text.
    """

    arch: int
    registers: int
    spills: int
    loop_spills: int
    shared: int
    ptx: str

    @property
    def wgmma(self) -> bool:
        """Whether Hopper's warp-group matrix instructions are used."""
        return "wgmma.mma_async" in self.ptx

    @property
    def tcgen05(self) -> bool:
        """Whether Blackwell's tensor-memory matrix instructions are used."""
        return "tcgen05.mma" in self.ptx

    @property
    def asynchronous_copies(self) -> bool:
        """Whether the main loop's loads are pipelined through cp.async or the tensor memory accelerator."""
        return "cp.async" in self.ptx


def compile_for(
    kernel: Any, arguments: Mapping[str, Any], arch: int, *, num_warps: int = 4, num_stages: int = 2
) -> Compiled:
    """Compile a kernel for one architecture as a launch with these arguments would.

    Args:
        kernel: A `@triton.jit` function.
        arguments: Every argument by name: tensors, numbers, None, and constants for `tl.constexpr` parameters.
        arch: 80, 86, 89, 90, 100, 120 …
        num_warps: Warps per program.
        num_stages: Depth of the software pipeline.

    Returns:
        The compiled kernel's costs.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    special = _Specialization(kernel, arguments)
    source = ASTSource(kernel, special.signature, special.constants, special.attributes)
    options = {"num_warps": num_warps, "num_stages": num_stages, **COMPILER_OPTIONS}
    compiled = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder) / "kernel.cubin"
        cubin.write_bytes(compiled.asm["cubin"])
        usage = _tool("cuobjdump", "-res-usage", str(cubin))
        sass = _tool("cuobjdump", "-sass", str(cubin))
    found = {name: int(value) for name, value in re.findall(r"(REG|STACK|LOCAL):(\d+)", usage)}
    return Compiled(
        arch=arch,
        registers=found["REG"],
        spills=found["STACK"] + found["LOCAL"],
        loop_spills=_local_memory_in_loops(sass),
        shared=compiled.metadata.shared,
        ptx=compiled.asm["ptx"],
    )


class _Specialization:
    """Signature, constants and attributes in Triton's terms; values inside tuples have a path of two positions."""

    def __init__(self, kernel: Any, arguments: Mapping[str, Any]) -> None:
        differ = {parameter.name for parameter in kernel.params} ^ set(arguments)
        if differ:
            raise ValueError(
                f"{kernel.__name__} and its arguments must have the same names, these differ: {differ}"
            )
        self.constants: dict[tuple[int, ...], Any] = {}
        self.attributes: dict[tuple[int, ...], list[list[Any]]] = {}
        self.signature = {
            parameter.name: self._type(arguments[parameter.name], (position,), parameter.is_constexpr)
            for position, parameter in enumerate(kernel.params)
        }

    def _type(self, value: Any, path: tuple[int, ...], constant: bool = False) -> Any:
        if constant or value is None or (type(value) is int and value == 1):
            self.constants[path] = value
            return "constexpr"
        if isinstance(value, tuple):
            return tuple(self._type(inner, (*path, i)) for i, inner in enumerate(value))
        if isinstance(value, torch.Tensor) or (type(value) is int and value % ALIGNMENT == 0):
            self.attributes[path] = [["tt.divisibility", ALIGNMENT]]
        return _type_of(value)


def _type_of(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return POINTERS[value.dtype]
    if isinstance(value, float):
        return "fp32"
    if hasattr(value, "block_shape"):  # a host-side tensor descriptor
        inner = ",".join(str(side) for side in value.block_shape)
        return f"tensordesc<{POINTERS[value.base.dtype][1:]}[{inner}]>"
    return "i32" if -(2**31) <= value < 2**31 else "i64"


def _tool(name: str, *words: str) -> str:
    knobs: Any = importlib.import_module("triton.knobs")
    path = getattr(knobs.nvidia, name).path
    return subprocess.run([path, *words], check=True, capture_output=True, text=True).stdout


def _local_memory_in_loops(sass: str) -> int:
    """Count STL and LDL between the target of a backward branch and the branch."""
    lines = [(int(address, 16), text) for address, text in re.findall(r"/\*([0-9a-f]{4,})\*/\s+(.*?);", sass)]
    loops = [
        (int(target.group(1), 16), address)
        for address, text in lines
        if (target := re.search(r"\bBRA\S*\s.*?0x([0-9a-f]+)", text)) and int(target.group(1), 16) < address
    ]
    local = [address for address, text in lines if re.search(r"\b(STL|LDL)\b", text)]
    return sum(any(start <= address <= stop for start, stop in loops) for address in local)
