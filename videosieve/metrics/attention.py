"""Distances between attention outputs: SpargeAttn's three, recall and LSE error; and the relative L2 of latents.

cosine, relative L1 and RMSE as in SpargeAttn (Zhang et al., arXiv:2502.18137); recall as in AdaSpa (Xia et al.,
arXiv:2502.21079): the share of the softmax mass that the kept blocks hold.
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


def relative_l2(latents: Tensor, reference: Tensor) -> float:
    """‖latents − reference‖ ÷ ‖reference‖, Euclidean: how far a latent drifted, as a share of its size.

    Args:
        latents: Any shape [...]; the final latents, or those after one denoising step.
        reference: The same shape, not all zero; the dense run's, of the same noise.

    Returns:
        At least 0; 0 for equal tensors, about √2 for unrelated ones of equal size.

    Raises:
        ShapeError: The shapes differ, or the reference is zero everywhere.
    """
    _same_shape(latents, reference)
    scale = reference.double().norm().item()
    if not scale:
        raise ShapeError(
            f"relative L2 needs a reference that is not zero everywhere, got {list(reference.shape)} zeros"
        )
    return (latents.double() - reference.double()).norm().item() / scale


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


def lse_error(lse_kept: Tensor, lse_all: Tensor) -> float:
    """How much of the log-sum-exp is lost: mean of |lse_kept − lse_all| over the queries, nats.

    Of one query it is −ln(recall), so the mean over queries weighs the worst served ones more than recall does.

    Args:
        lse_kept: Natural-log Σ exp(scale·q·k) over the kept keys [..., queries]; −inf where nothing is kept.
        lse_all: The same over all keys [..., queries].

    Returns:
        At least 0; infinite when a query keeps nothing.

    Raises:
        ShapeError: The shapes differ.
    """
    _same_shape(lse_kept, lse_all)
    return (lse_kept.double() - lse_all.double()).abs().mean().item()


def _same_shape(first: Tensor, second: Tensor) -> None:
    if first.shape != second.shape:
        raise ShapeError(
            f"both tensors must have one shape, got {list(first.shape)} and {list(second.shape)}"
        )
