"""What every op asks of its arguments before an implementation sees them.

An implementation hands addresses, strides and indices to code that believes them, so what it assumes is checked here,
once, by the op's `api.py`. What cannot be read as it lies (a pending negation, memory that is not there or not aligned
to its values) is refused; strides are not: implementations read any strides or copy what they cannot read.

Values are looked at on the CPU only. Elsewhere that would make the host wait for the device: there indices are clamped
into range instead, which is memory-safe, and VIDEOSIEVE_DEBUG looks at them too.
"""

import itertools
from typing import Any

import torch
from torch import Tensor

from videosieve.errors import ShapeError
from videosieve.kernels.triton_support import debugging
from videosieve.masks.block_mask import BlockMask
from videosieve.masks.ragged_mask import RaggedBlockMask, require_whole, whole_offsets
from videosieve.masks.upheld import Law, note_upheld, upholds

FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
BOOL, INDEX = (torch.bool,), (torch.int64,)
_SHARING = "; fewer heads of keys must divide those of q"
AXES = ("batch", "heads", "tokens", "head_dim")


def check_tensor(
    name: str,
    x: Any,
    axes: tuple[str, ...],
    dtypes: tuple[torch.dtype, ...],
    *,
    empty: bool = False,
) -> None:
    """Raise a ShapeError unless x is a tensor that kernels can read.

    Args:
        name: For the message.
        x: What was given.
        axes: Names of its axes.
        dtypes: Those that it may have.
        empty: Whether it may hold no value.
    """
    if not isinstance(x, Tensor):
        raise ShapeError(f"{name} must be a tensor [{', '.join(axes)}], got {type(x).__name__}")
    if x.layout != torch.strided or x.is_nested:
        kind = "nested" if x.is_nested else str(x.layout)
        raise ShapeError(f"{name} must be a plain strided tensor, got a {kind} one; pass .to_dense()")
    if x.ndim != len(axes) or x.dtype not in dtypes:
        known = " or ".join(_short(dtype) for dtype in dtypes)
        raise ShapeError(f"{name} must be {known} [{', '.join(axes)}], got {_short(x.dtype)} {list(x.shape)}")
    if not empty and not x.numel():
        raise ShapeError(f"{name} must hold at least one value on every axis, got {list(x.shape)}")
    if not torch.compiler.is_compiling():  # the compiled operator asks again when it runs
        _check_memory(name, x)


def check_floats(axes: tuple[str, ...] = AXES, **tensors: Any) -> None:
    """Raise a ShapeError unless all tensors can be read and share number of axes, dtype and device.

    Args:
        axes: Names of their axes.
        **tensors: Floating-point tensors by name; the first decides about dtype and device.
    """
    for name, x in tensors.items():
        check_tensor(name, x, axes, FLOATS)
    first, *others = tensors.values()
    if any(x.dtype != first.dtype or x.device != first.device for x in others):
        met = ", ".join(f"{name} {_short(x.dtype)} on {x.device}" for name, x in tensors.items())
        raise ShapeError(f"tensors of a call must share dtype and device, got {met}")


def check_attention(q: Any, k: Any, v: Any, *, grouped: bool = False) -> None:
    """Raise a ShapeError unless q, k and v are one attention: they may differ in tokens of q against k and v only.

    Args:
        q: Queries [batch, heads, queries, head_dim].
        k: Keys [batch, heads, keys, head_dim].
        v: Values [batch, heads, keys, head_dim].
        grouped: Whether the heads of k and v may be fewer, a divisor of those of q: neighbouring heads share one.
    """
    check_floats(q=q, k=k, v=v)
    heads = grouped_heads(q, k) if grouped else q.shape[1]
    if k.shape != v.shape or (q.shape[0], heads, q.shape[3]) != (k.shape[0], k.shape[1], k.shape[3]):
        raise ShapeError(
            f"k and v must be [{q.shape[0]}, {q.shape[1]}, keys, {q.shape[3]}], "
            f"got {list(k.shape)} and {list(v.shape)}{_SHARING * grouped}"
        )


def grouped_heads(q: Tensor, k: Tensor) -> int:
    """The heads of k where they divide those of q, else those of q: what k must have beside q."""
    return q.shape[1] if q.shape[1] % k.shape[1] else k.shape[1]


def check_pair(q: Any, k: Any, *, grouped: bool = False) -> None:
    """Raise a ShapeError unless q and k are [batch, heads, tokens, head_dim] and differ in tokens only.

    Args:
        q: Queries [batch, heads, queries, head_dim].
        k: Keys [batch, heads, keys, head_dim].
        grouped: Whether the heads of k may be fewer, a divisor of those of q.
    """
    check_floats(q=q, k=k)
    heads = grouped_heads(q, k) if grouped else q.shape[1]
    if (q.shape[0], heads, q.shape[3]) != (k.shape[0], k.shape[1], k.shape[3]):
        raise ShapeError(
            f"q and k must be [batch, heads, tokens, head_dim] and differ in tokens only, "
            f"got {list(q.shape)} and {list(k.shape)}{_SHARING * grouped}"
        )


def check_shared(name: str, x: Tensor, lead: tuple[int, ...], *, device: torch.device) -> None:
    """Raise a ShapeError unless the batch and head axes of x are those of the call or 1, and x is where q is.

    Args:
        name: For the message.
        x: [batch|1, heads|1, …].
        lead: Batch and heads of the call.
        device: Where the call's tensors are.
    """
    if x.shape[0] not in (1, lead[0]) or x.shape[1] not in (1, lead[1]):
        raise ShapeError(f"{name} must start with [1 or {lead[0]}, 1 or {lead[1]}], got {list(x.shape)}")
    check_device(name, x, device)


def check_device(name: str, x: Tensor, device: torch.device) -> None:
    """Raise a ShapeError unless x is where the tensors of the call are."""
    if x.device != device:
        raise ShapeError(f"{name} must be on {device}, where the tensors of the call are, got {x.device}")


def check_whole(name: str, value: Any, least: int, most: int, meaning: str) -> None:
    """Raise a ShapeError unless value is a whole number within [least, most].

    Args:
        name: Of the argument.
        value: What was given.
        least: Smallest.
        most: Largest.
        meaning: What the number counts, for the message.
    """
    if isinstance(value, bool) or not isinstance(value, int | torch.SymInt) or not least <= value <= most:
        raise ShapeError(f"{name} is {meaning}, at least {least} and at most {most}, got {name}={value!r}")


def check_order(name: str, order: Any, x: Tensor, *, permutation: bool = True) -> Tensor | None:
    """An order of the tokens of x that implementations may follow without looking at it.

    Args:
        name: For the message.
        order: None, or int64 [tokens] or [batch|1, heads|1, tokens].
        x: [batch, heads, tokens, head_dim].
        permutation: Whether every token must be named once; else named tokens must exist.

    Returns:
        The order; beside a GPU clamped into range, because its values are not looked at there.

    Raises:
        ShapeError: It does not fit x or, on the CPU, names tokens that there are not or one twice.
    """
    if order is None:
        return None
    batch, heads, tokens = x.shape[:3]
    shapes = {(tokens,), *itertools.product((1, batch), (1, heads), (tokens,))}
    fits = isinstance(order, Tensor) and order.dtype == torch.int64
    if not fits or tuple(order.shape) not in shapes:
        met = (
            f"{_short(order.dtype)} {list(order.shape)}"
            if isinstance(order, Tensor)
            else type(order).__name__
        )
        raise ShapeError(
            f"{name} must be int64 [{tokens}] or [1 or {batch}, 1 or {heads}, {tokens}], got {met}"
        )
    check_tensor(name, order, ("tokens",) if order.ndim == 1 else AXES[:3], INDEX, empty=not x.numel())
    check_device(name, order, x.device)
    if torch.compiler.is_compiling() or not order.numel():
        return order
    if order.device.type == "cpu" or debugging():
        _check_places(name, order, tokens, permutation)
        return order
    return order.clamp(0, tokens - 1)


def check_offsets(name: str, offsets: Any, x: Tensor) -> Tensor:
    """Offsets of blocks of the tokens of x that implementations may follow without looking at them.

    Args:
        name: For the message.
        offsets: int64 [batch|1, heads|1, blocks + 1], for at least one block.
        x: [batch, heads, tokens, head_dim].

    Returns:
        The offsets; beside a GPU made whole, because their values are not looked at there.

    Raises:
        ShapeError: They do not fit x or, on the CPU, do not ascend from 0 to the number of tokens.
    """
    check_tensor(name, offsets, ("batch", "heads", "blocks + 1"), INDEX)
    check_shared(name, offsets, x.shape[:2], device=x.device)
    if offsets.shape[-1] < 2:
        raise ShapeError(f"{name} must have two entries at least, got {list(offsets.shape)}")
    if torch.compiler.is_compiling():
        return offsets
    if offsets.device.type == "cpu" or debugging():
        require_whole(name, offsets, x.shape[2])
        return offsets
    return whole_offsets(offsets, x.shape[2])


def check_masked(q: Any, k: Any, v: Any, mask: Any, *, grouped: bool = False) -> None:
    """Raise a ShapeError unless q, k and v are one attention and mask is of its size, with batch and heads that fit."""
    check_attention(q, k, v, grouped=grouped)
    if not isinstance(mask, BlockMask | RaggedBlockMask):
        raise ShapeError(f"mask must be a BlockMask or a RaggedBlockMask, got {type(mask).__name__}")
    queries, keys = q.shape[2], k.shape[2]
    if (mask.queries, mask.keys) != (queries, keys):
        raise ShapeError(
            f"the mask is for {mask.queries} × {mask.keys} tokens, q and k have {queries} × {keys}"
        )
    lists = ["keep", "query_offsets", "key_offsets"] if isinstance(mask, RaggedBlockMask) else ["keep"]
    for name in lists:
        x = getattr(mask, name)
        check_tensor(f"mask.{name}", x, ("batch", "heads", *("rows", "columns")[: x.ndim - 2]), BOOL + INDEX)
        check_shared(f"mask.{name}", x, q.shape[:2], device=q.device)


def check_heads(heads: Any, x: Tensor) -> None:
    """Raise a ShapeError unless heads is None or bool [batch|1, heads|1] beside x [batch, heads, …]."""
    if heads is not None:
        check_tensor("heads", heads, AXES[:2], BOOL)
        check_shared("heads", heads, x.shape[:2], device=x.device)


def order_law(tokens: int, permutation: bool = True) -> Law:
    """What an order upholds that names tokens that there are, every one of them once if it is a permutation."""
    return ("names tokens", tokens, permutation)


def _check_places(name: str, order: Tensor, tokens: int, permutation: bool) -> None:
    law = order_law(tokens, permutation)
    if upholds(order, law):
        return
    least, most = (int(edge) for edge in order.aminmax())
    if least < 0 or most >= tokens:
        raise ShapeError(f"{name} must name tokens 0 … {tokens - 1}, got {least} … {most}")
    if permutation:
        named = torch.zeros(order.shape, dtype=torch.bool, device=order.device)
        if not bool(named.scatter_(-1, order, True).all()):
            raise ShapeError(f"{name} must be a permutation of 0 … {tokens - 1}, but names a token twice")
    note_upheld(order, law)


def _check_memory(name: str, x: Tensor) -> None:
    """What shapes and strides do not show: x must lie where it says, as the values that it means."""
    if x.is_neg():
        raise ShapeError(f"{name} must not have a negation pending; pass .resolve_neg()")
    if type(x) is not Tensor and not isinstance(x, torch.nn.Parameter):
        return  # a subclass may have no memory of its own
    size = x.element_size()
    if x.data_ptr() % size:
        raise ShapeError(f"{name} must be aligned to its {size}-byte values; pass .clone()")
    last = sum((count - 1) * step for count, step in zip(x.shape, x.stride(), strict=True))
    if (x.storage_offset() + last + 1) * size > x.untyped_storage().nbytes() and x.device.type != "meta":
        raise ShapeError(f"{name} reaches past the end of its memory, which was made smaller after it")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
