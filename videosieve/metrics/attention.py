"""Distances between attention outputs: SpargeAttn's three, and recall.

cosine, relative L1 and RMSE as in SpargeAttn (Zhang et al., arXiv:2502.18137); recall as in AdaSpa: the share of the
softmax mass that the kept blocks hold.
"""

from torch import Tensor
from torch.nn.functional import cosine_similarity

from videosieve.errors import ShapeError


def cosine(output: Tensor, reference: Tensor) -> float:
    """Cosine similarity of the two tensors taken as one long vector each.

    Args:
        output: Any shape [...].
        reference: The same shape.

    Returns:
        In [−1, 1]; 1 for equal directions.

    Raises:
        ShapeError: The shapes differ.
    """
    _same_shape(output, reference)
    return cosine_similarity(output.double().flatten(), reference.double().flatten(), dim=0).item()


def relative_l1(output: Tensor, reference: Tensor) -> float:
    """Σ |output − reference| ÷ Σ |reference|.

    Args:
        output: Any shape [...].
        reference: The same shape, not all zero.

    Returns:
        At least 0; 0 for equal tensors.

    Raises:
        ShapeError: The shapes differ, or the reference is zero everywhere.
    """
    _same_shape(output, reference)
    scale = reference.double().abs().sum().item()
    if not scale:
        raise ShapeError(
            f"relative L1 needs a reference that is not zero everywhere, got {list(reference.shape)} zeros"
        )
    return (output.double() - reference.double()).abs().sum().item() / scale


def rmse(output: Tensor, reference: Tensor) -> float:
    """Root of the mean squared difference.

    Args:
        output: Any shape [...].
        reference: The same shape.

    Returns:
        At least 0, in the unit of the inputs.

    Raises:
        ShapeError: The shapes differ.
    """
    _same_shape(output, reference)
    return (output.double() - reference.double()).square().mean().sqrt().item()


def recall(lse_kept: Tensor, lse_all: Tensor) -> float:
    """Share of the softmax mass that lies in the kept blocks, mean over all queries.

    Args:
        lse_kept: Natural-log Σ exp(scale·q·k) over the kept keys [..., queries]; −inf where nothing is kept.
        lse_all: The same over all keys [..., queries].

    Returns:
        In [0, 1].

    Raises:
        ShapeError: The shapes differ.
    """
    _same_shape(lse_kept, lse_all)
    return (lse_kept.double() - lse_all.double()).exp().mean().item()


def _same_shape(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape:
        raise ShapeError(
            f"both tensors must have one shape, got {list(first.shape)} and {list(second.shape)}"
        )
