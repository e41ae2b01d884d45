"""Which implementations a run asks for: what the caller names, or products of bf16 where the recipe prefers them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from videosieve.errors import BackendError, RecipeError
from videosieve.fields import shown
from videosieve.kernels.block_sparse_attention import IMPLEMENTATIONS as SPARSE
from videosieve.kernels.dispatch import known_backend
from videosieve.kernels.native_library import refuse_products

ROUNDED = "native-bf16"


@dataclass(frozen=True, slots=True)
class Preference:
    """What a run asks for.

    Attributes:
        backend: Implementation of block-sparse attention; None takes the fastest that can run a call.
        rounds: Whether q, k and v of other dtypes than bf16 are to be rounded to it; what is not fp32 is refused then.
    """

    backend: str | None
    rounds: bool

    @classmethod
    def of(cls, prefer: str, backend: str | None) -> "Preference":
        """What a recipe and a caller say together.

        Args:
            prefer: As in a recipe, "none" or "bf16".
            backend: Implementation of block-sparse attention, or None.

        Raises:
            RecipeError: Both name one.
            BackendError: There is no such backend, or there are no products of bf16 here.
        """
        known_backend("block_sparse_attention", SPARSE, backend)
        if prefer == "none":
            return cls(backend, False)
        if backend is not None:
            raise RecipeError(
                f"the recipe prefers {prefer}, which is the implementation {ROUNDED!r}, and backend names "
                f"{shown(backend)}; leave one of them out"
            )
        if (reason := refuse_products()) is not None:
            raise BackendError(f"the recipe prefers {prefer}: {reason}. Leave prefer out")
        return cls(None, True)

    def sparse(self, q: Tensor) -> str | None:
        """Implementation of a sparse call with these queries; None takes the fastest."""
        return self.dense(q) or self.backend

    def dense(self, q: Tensor) -> str | None:
        """Implementation of a dense call with these queries; None leaves it to the method."""
        return ROUNDED if self.rounds and q.dtype != torch.bfloat16 else None
