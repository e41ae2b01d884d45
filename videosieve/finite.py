"""Where numbers stop being numbers: said at once, and never shown as a black video."""

from typing import Any

import torch
from torch import Tensor, nn

from videosieve.errors import ModelError, NumericsError


def require_finite(what: str, values: Any, cause: str) -> None:
    """Refuse results with NaN or infinity.

    Args:
        what: What they are: "the frames of WanPipeline", …
        values: A tensor, an array, or anything else, which is not looked at.
        cause: What is likely wrong and the way out.

    Raises:
        NumericsError: A value is NaN or infinite.
    """
    if not isinstance(values, Tensor):
        if not hasattr(values, "__array_interface__"):
            return
        values = torch.from_numpy(values)
    wrong = int((~torch.isfinite(values)).sum())
    if wrong:
        raise NumericsError(
            f"{what} must be finite, got NaN or infinity in {wrong:,} of {values.numel():,} values; {cause}"
        )


def require_finite_weights(where: str, parts: dict[str, nn.Module]) -> None:
    """Refuse a model whose weights hold NaN or infinity.

    Args:
        where: Where it was read from.
        parts: Its networks by name.

    Raises:
        ModelError: A parameter or buffer is not finite; the first is named.
    """
    for part, module in parts.items():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise ModelError(
                    f"{where} is damaged: {part} holds NaN or infinity in {name}; copy or export the model again"
                )
