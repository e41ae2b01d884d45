"""When the Triton kernel of `norm_rope` can run, and how it is launched."""

from collections.abc import Sequence

import torch
from torch import Tensor

from videosieve.kernels.launch import Launch, LaunchTable
from videosieve.kernels.norm_rope.streams import Stream
from videosieve.kernels.triton_support import architecture, interpreting, launch_arch, refuse_triton

HEAD_DIMS = (64, 128)
FP8_ARCH = 89

# tile = (tokens, heads) of one step of a program's loop: 4,096 values, 32 per thread; half as many where fp8 needs
# registers for the rounded values too. The key is (head_dim, 1 where fp8 else 0).
LAUNCHES = LaunchTable(
    "norm_rope",
    "reasoned, not measured: as many values per thread as the registers of sm80 to sm100 hold without spilling",
    {
        (80, 64, 0): Launch((4, 16), 4, 1),
        (80, 128, 0): Launch((4, 8), 4, 1),
        (89, 64, 1): Launch((2, 16), 4, 1),
        (89, 128, 1): Launch((2, 8), 4, 1),
    },
)


def find_launch(device: torch.device, head_dim: int, fp8: bool) -> Launch:
    """The launch of a call."""
    return LAUNCHES.find(launch_arch(device), head_dim, int(fp8))


def refuse(streams: Sequence[Stream], _order: Tensor | None, _heads: Tensor | None, fp8: bool) -> str | None:
    """Why the Triton kernel cannot run a call, or None."""
    reason = refuse_triton(*(x for s in streams for x in (s.q, s.k)))
    if reason:
        return reason
    first = streams[0].q
    if first.shape[-1] not in HEAD_DIMS:
        return f"head_dim must be {' or '.join(map(str, HEAD_DIMS))}, got {first.shape[-1]}"
    if any(x.stride(-1) != 1 for s in streams for x in (s.q, s.k)):
        return "the values of a head must lie next to one another in memory (stride 1)"
    extras = [x for s in streams for x in _parameters(s)]
    if any(x.device != first.device or (torch.is_grad_enabled() and x.requires_grad) for x in extras):
        return f"weights and tables must be on {first.device} and need no gradient; use torch.no_grad()"
    if fp8 and not interpreting() and architecture(first.device) < FP8_ARCH:
        return f"fp8 needs sm{FP8_ARCH} or newer, got sm{architecture(first.device)}"
    return None


def _parameters(stream: Stream) -> list[Tensor]:
    norms = [norm for norm in (stream.q_norm, stream.k_norm) if norm is not None]
    tables = [] if stream.rotation is None else [stream.rotation.cos, stream.rotation.sin]
    return [x for norm in norms for x in (norm.weight, norm.bias) if x is not None] + tables
