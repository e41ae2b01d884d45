"""The dense kernels there may be: FlashAttention 3 and 4, cuDNN, torch's own.

Order and limits follow published figures for H100 at 16k tokens and head_dim 128: FlashAttention-3 648 TFLOPS, cuDNN
595, FlashAttention-2, which torch carries, 370 (flash-attention, assets/flash3_fp16_fwd.png).
"""

import importlib
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from videosieve.kernels.dense_attention import reference
from videosieve.kernels.triton_support import architecture, installed

HALVES = (torch.bfloat16, torch.float16)
FLASH3_MODULES = ("flash_attn_interface", "fa3_fwd_interface")  # built from source, and the wheel fa3-fwd
TESTED_TOKENS, ROUNDINGS = 200, 8
ROWS = 1024  # queries whose mask is in memory at a time, where torch needs one
RAISED = (
    AssertionError,
    AttributeError,
    ImportError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


def refuse_flash3(q: Tensor, k: Tensor, v: Tensor, _scale: float, causal: bool) -> str | None:
    """Why FlashAttention-3 cannot run a call, or None."""
    if not any(installed(module) for module in FLASH3_MODULES):
        return "FlashAttention-3 is not installed (pip install fa3-fwd)"
    if q.device.type != "cuda" or architecture(q.device) // 10 != 9:
        return f"it needs sm90, got {_where(q)}"
    return (
        _refuse_halves(q, 256)
        or _refuse_shape(q, k, causal)
        or _refuse_rows(q, k, v)
        or _refuse_grad(q, k, v)
    )


def refuse_flash4(q: Tensor, k: Tensor, v: Tensor, _scale: float, causal: bool) -> str | None:
    """Why FlashAttention-4 cannot run a call, or None."""
    if not installed("flash_attn") or not installed("flash_attn.cute"):
        return "FlashAttention-4 is not installed (pip install --pre flash-attn-4)"
    if q.device.type != "cuda" or architecture(q.device) // 10 not in (9, 10):
        return f"it needs sm90 or sm100, got {_where(q)}"
    return (
        _refuse_halves(q, 128)
        or _refuse_shape(q, k, causal)
        or _refuse_rows(q, k, v)
        or _refuse_grad(q, k, v)
    )


def refuse_cudnn(q: Tensor, k: Tensor, v: Tensor, _scale: float, causal: bool) -> str | None:
    """Why cuDNN's attention cannot run a call or is not worth it, or None."""
    if q.device.type != "cuda" or architecture(q.device) < 90:
        return f"it is preferred from sm90 on, got {_where(q)}"
    reason = _refuse_halves(q, 128) or _refuse_shape(q, k, causal)
    return reason or _ask_torch("can_use_cudnn_attention", q, k, v, causal)


def refuse_flash(q: Tensor, k: Tensor, v: Tensor, _scale: float, causal: bool) -> str | None:
    """Why torch's flash attention on CUDA cannot run a call, or None."""
    if q.device.type != "cuda":
        return f"it needs CUDA tensors, got {q.device}"
    reason = _refuse_halves(q, 256) or _refuse_shape(q, k, causal)
    return reason or _ask_torch("can_use_flash_attention", q, k, v, causal)


def flash3(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> Tensor:
    """FlashAttention-3; shapes as in the api."""
    module: Any = importlib.import_module(next(name for name in FLASH3_MODULES if installed(name)))
    rows = (x.transpose(1, 2) for x in (q, k, v))
    return _first(module.flash_attn_func(*rows, softmax_scale=scale, causal=causal)).transpose(1, 2)


def flash4(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> Tensor:
    """FlashAttention-4; shapes as in the api."""
    module: Any = importlib.import_module("flash_attn.cute")
    rows = (x.transpose(1, 2) for x in (q, k, v))
    return _first(module.flash_attn_func(*rows, softmax_scale=scale, causal=causal)).transpose(1, 2)


def cudnn(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> Tensor:
    """cuDNN through torch; shapes as in the api."""
    with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
        return scaled_dot_product_attention(q, k, v, scale=scale, is_causal=causal)


def flash(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> Tensor:
    """FlashAttention-2 as torch carries it; shapes as in the api."""
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return scaled_dot_product_attention(q, k, v, scale=scale, is_causal=causal)


def sdpa(q: Tensor, k: Tensor, v: Tensor, scale: float, causal: bool) -> Tensor:
    """Whatever torch chooses; shapes as in the api."""
    grouped = q.shape[1] != k.shape[1]
    if any(q.stride(axis) == 1 and q.shape[axis] > 1 for axis in range(3)):
        # On a CPU torch lays the output out in the order of q's strides and writes rows of head_dim into it: where
        # another axis has a stride of 1 as well, as in windows that overlap, they land on one another.
        q = q.contiguous()
    if not causal or q.shape[2] == k.shape[2]:
        return scaled_dot_product_attention(q, k, v, scale=scale, is_causal=causal, enable_gqa=grouped)
    # torch's causal attention gives the first key to the first query; ours gives the last to the last.
    parts, ahead = [], k.shape[2] - q.shape[2]
    for first in range(0, q.shape[2], ROWS):
        part = q[:, :, first : first + ROWS]
        seen = first + part.shape[2] + ahead
        own = torch.arange(first + ahead, seen, device=q.device).unsqueeze(-1)
        mask = torch.arange(seen, device=q.device) <= own
        keys, values = k[:, :, :seen], v[:, :, :seen]
        parts.append(scaled_dot_product_attention(part, keys, values, mask, scale=scale, enable_gqa=grouped))
    return torch.cat(parts, 2)


RUNS = {"flash-attn-3": flash3, "flash-attn-4": flash4}


def verify_flash3(q: Tensor, _k: Tensor, _v: Tensor, _scale: float, _causal: bool) -> str | None:
    """Self-test of FlashAttention-3 at its first use."""
    return find_failure("flash-attn-3", q.device, q.dtype, q.shape[-1])


def verify_flash4(q: Tensor, _k: Tensor, _v: Tensor, _scale: float, _causal: bool) -> str | None:
    """Self-test of FlashAttention-4 at its first use."""
    return find_failure("flash-attn-4", q.device, q.dtype, q.shape[-1])


@cache
def find_failure(name: str, device: torch.device, dtype: torch.dtype, head_dim: int) -> str | None:
    """Run one of `RUNS` on a small call with a known answer: a sentence about what went wrong, or None."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, 2, TESTED_TOKENS, head_dim)
    q, k, v = (torch.randn(shape, generator=generator).to(dtype) for _ in range(3))
    scale = 0.5 * head_dim**-0.5  # not the default, so that a scale which is dropped shows
    for causal in (False, True):
        exact, size = (
            reference.dense_attention(q.double(), k.double(), x.double(), scale, causal) for x in (v, v.abs())
        )
        try:
            output = RUNS[name](q.to(device), k.to(device), v.to(device), scale, causal).cpu().double()
        except RAISED as error:
            return f"its self-test raised {type(error).__name__}: {' '.join(str(error).split())[:200]}"
        budget = ROUNDINGS * torch.finfo(dtype).eps * size
        if output.shape != exact.shape or not bool(((output - exact).abs() <= budget).all()):
            return f"its self-test ({causal=}) does not agree with the reference"
    return None


def _where(q: Tensor) -> str:
    return f"sm{architecture(q.device)}" if q.device.type == "cuda" else str(q.device)


def _refuse_halves(q: Tensor, most: int) -> str | None:
    if q.dtype not in HALVES:
        return f"it needs bfloat16 or float16, got {str(q.dtype).removeprefix('torch.')}"
    return None if q.shape[-1] <= most else f"head_dim must be at most {most}, got {q.shape[-1]}"


def _refuse_shape(q: Tensor, k: Tensor, causal: bool) -> str | None:
    if causal and q.shape[2] != k.shape[2]:
        return f"causal attention needs as many keys as queries here, got {q.shape[2]} queries and {k.shape[2]} keys"
    if q.shape[1] != k.shape[1]:
        return f"every query head needs a key head of its own here, got {q.shape[1]} and {k.shape[1]}"
    return None


def _refuse_rows(*tensors: Tensor) -> str | None:
    if any(x.stride(-1) != 1 for x in tensors):
        return "the head_dim values of a token must lie next to one another; pass .contiguous()"
    return None


def _refuse_grad(*tensors: Tensor) -> str | None:
    if torch.is_grad_enabled() and any(x.requires_grad for x in tensors):
        return "it is wired up without a backward; detach q, k and v or use torch.no_grad()"
    return None


def _ask_torch(question: str, q: Tensor, k: Tensor, v: Tensor, causal: bool) -> str | None:
    """torch's own capability checks; with `TORCH_LOGS` or debug on they say more."""
    able = getattr(torch.backends.cuda, question)
    parameters = torch.backends.cuda.SDPAParams(q, k, v, None, 0.0, causal, False)
    return (
        None if able(parameters) else f"torch.backends.cuda.{question} says no to {list(q.shape)}, {q.dtype}"
    )


def _first(result: Any) -> Tensor:
    """The output; some versions return the LSE with it."""
    return result[0] if isinstance(result, tuple) else result
