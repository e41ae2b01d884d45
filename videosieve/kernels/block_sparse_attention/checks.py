"""Why a GPU implementation cannot run a call: asked before it is imported, without looking at values."""

from torch import Tensor

from videosieve.kernels.triton_support import refuse_triton
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.ragged_mask import RaggedBlockMask

HEAD_DIMS = (16, 32, 48, 64, 80, 96, 128)
LEAST_SIDE = 16  # the narrowest operand of a matrix instruction
MOST_SIDE = 2**20  # tokens; the kernels count places inside a block in 32 bits
LEAST_FP8_ARCH = 89  # Ada; the first with e4m3 matrix instructions
LEAST_FP8_DIM = 32  # values that an e4m3 matrix instruction takes at a time
MOST_PROGRAMS = 2**31 - 1
MOST_TOKEN_STRIDE = 2**24 - 1  # 127 tokens of a tile further, an offset still has 31 bits

AnyMask = BlockMask | RaggedBlockMask


def is_causal(mask: AnyMask) -> bool:
    """Whether a query sees no key ahead of it."""
    return isinstance(mask, BlockMask) and mask.causal


def refuse_shared(q: Tensor, k: Tensor, mask: AnyMask) -> str | None:
    """Why a kernel that knows neither causal masks nor key heads that are shared cannot run a call, or None."""
    if is_causal(mask):
        return "it has no causal attention"
    if q.shape[1] != k.shape[1]:
        return f"every query head needs a key head of its own here, got {q.shape[1]} and {k.shape[1]}"
    return None


def refuse_triton_attention(q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, scale: float) -> str | None:
    """Why the Triton kernel cannot run a call, or None."""
    return refuse_triton(q, k, v) or refuse_call(q, k, v, mask, scale)


def refuse_fp8_attention(q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, scale: float) -> str | None:
    """Why the FP8 kernel cannot run a call, or None."""
    if not isinstance(mask, BlockMask):
        return "FP8 needs blocks of one size, got a ragged mask"
    if (reason := refuse_shared(q, k, mask)) is not None:
        return reason
    if q.shape[-1] % LEAST_FP8_DIM:
        return f"head_dim must be a multiple of {LEAST_FP8_DIM} in FP8, got {q.shape[-1]}"
    return refuse_triton(q, k, v, least_arch=LEAST_FP8_ARCH) or refuse_call(q, k, v, mask, scale)


def refuse_call(q: Tensor, k: Tensor, v: Tensor, mask: AnyMask, scale: float) -> str | None:
    """What the Triton kernels ask of a call, whatever the device."""
    return _refuse_tensors(q, k, v, scale) or _refuse_mask(q, mask)


def _refuse_tensors(q: Tensor, k: Tensor, v: Tensor, scale: float) -> str | None:
    if not (q.dtype == k.dtype == v.dtype):
        return f"q, k and v must share a dtype, got {q.dtype}, {k.dtype}, {v.dtype}"
    if q.shape[-1] not in HEAD_DIMS:
        return f"head_dim must be one of {', '.join(map(str, HEAD_DIMS))}, got {q.shape[-1]}"
    if any(x.stride(-1) != 1 for x in (q, k, v)):
        return (
            "the head_dim values of a token must lie next to one another, got strides "
            f"{list(q.stride())}, {list(k.stride())}, {list(v.stride())}; pass .contiguous()"
        )
    if any(x.stride(2) > MOST_TOKEN_STRIDE for x in (q, k, v)):
        return f"tokens must lie at most {MOST_TOKEN_STRIDE} values apart, got strides {list(q.stride())}"
    if not scale > 0:
        return f"scale must be above 0, got {scale}"
    return None


def _refuse_mask(q: Tensor, mask: AnyMask) -> str | None:
    if mask.keep.device != q.device:
        return f"the mask must be on {q.device}, got {mask.keep.device}"
    rows = mask.keep.shape[2]
    if isinstance(mask, BlockMask) and (mask.block.query % LEAST_SIDE or mask.block.key % LEAST_SIDE):
        sides = f"{mask.block.query} queries and {mask.block.key} keys"
        return f"block sides must be multiples of {LEAST_SIDE}, got {sides}"
    if isinstance(mask, BlockMask) and max(mask.block.query, mask.block.key) > MOST_SIDE:
        return f"block sides must be at most {MOST_SIDE}, got {mask.block.query} queries and {mask.block.key} keys"
    if q.shape[0] * q.shape[1] * (rows + -(-q.shape[2] // LEAST_SIDE)) > MOST_PROGRAMS:
        return (
            f"batch · heads · query tiles must stay below 2³¹, got {list(q.shape)} in {rows} rows of blocks"
        )
    return None
