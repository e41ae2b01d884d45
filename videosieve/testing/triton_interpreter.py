"""Triton kernels on a CPU: `with interpreted(): …` runs every kernel of videosieve in Triton's interpreter.

    with interpreted():
        output, lse = block_sparse_attention(q, k, v, mask, backend="triton")   # CPU tensors, fp32 or fp16

Setting TRITON_INTERPRET=1 decides once per process, before Triton is imported: the compiler is then out of reach,
and whoever imported Triton earlier breaks it. Here the jitted functions are exchanged for interpreted ones while the
context lasts and put back afterwards, so that one pytest run may interpret a kernel, compile it ahead of time
(`triton_compile`) and, where there is a GPU, run it.

Limits of the interpreter: `tl.dot` on bf16 operands returns garbage, so bf16 is left to tests marked `gpu`; programs
run one after another, so races do not show; expect milliseconds per program. It needs private parts of Triton, so it
follows the version that the tests pin.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FunctionType, ModuleType
from typing import Any

from videosieve import kernels


def import_kernels() -> None:
    """Import every module of videosieve that holds Triton kernels: files named `triton*.py` in an op's folder."""
    for found in pkgutil.walk_packages(kernels.__path__, f"{kernels.__name__}."):
        if found.name.rsplit(".", 1)[1].startswith("triton") and found.name.count(".") > 2:
            importlib.import_module(found.name)


@contextmanager
def interpreted(*modules: ModuleType) -> Iterator[None]:
    """Run kernels in Triton's interpreter inside the context; may be nested.

    Args:
        *modules: Modules outside videosieve whose kernels are to be interpreted as well.
    """
    import triton.language as tl

    interpreter: Any = importlib.import_module("triton.runtime.interpreter")
    knobs: Any = importlib.import_module("triton.knobs")

    if knobs.runtime.interpret:  # nested, or the whole process interprets
        yield
        return
    import_kernels()
    ours = [
        module for name, module in sys.modules.items() if name.startswith(("triton.language", "videosieve."))
    ]
    with ExitStack() as undo:
        for owner in [*ours, *modules, tl.tensor]:
            undo.callback(_restore, owner, dict(vars(owner)))
            _exchange(owner)
        undo.enter_context(knobs.runtime.scope())
        knobs.runtime.interpret = True
        patch = interpreter._patch_lang
        # Once and up front: the interpreter patches what it finds among the globals of a function.
        everything = FunctionType(_exchange.__code__, {"tl": tl, "core": tl.core})
        undo.callback(patch(everything).restore)
        yield


def _exchange(owner: Any) -> None:
    from triton.runtime import JITFunction

    for name, value in list(vars(owner).items()):
        if isinstance(value, JITFunction):
            setattr(owner, name, _interpret(value.fn))


def _interpret(function: Any) -> Any:
    """An interpreted function that trusts the context to have patched the language: many times faster when nested."""
    from triton.runtime.interpreter import InterpretedFunction

    class Interpreted(InterpretedFunction):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return self.rewrite()(*args, **kwargs)

    return Interpreted(function)


def _restore(owner: Any, before: dict[str, Any]) -> None:
    """Put changed attributes back; names that the interpreter added stay, its rewritten functions need them."""
    for name, value in before.items():
        if vars(owner).get(name) is not value:
            setattr(owner, name, value)
