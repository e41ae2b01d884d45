"""Who can run an attention call of a given size here, and why the others cannot: what `videosieve explain` shows.

Nothing of the call's size is allocated: tensors are views of one token, and only shapes, types and device matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch

from videosieve.errors import ShapeError
from videosieve.fields import In, check_fields
from videosieve.kernels.block_sparse_attention import IMPLEMENTATIONS as SPARSE
from videosieve.kernels.dense_attention import IMPLEMENTATIONS as DENSE
from videosieve.kernels.dispatch import Implementation
from videosieve.masks.block_mask import BlockMask, BlockSize

Size = Annotated[int, In("[1, 2147483647]", "must be at least 1 and below 2^31")]


@dataclass(frozen=True, slots=True)
class CallSize:
    """One attention call.

    Attributes:
        tokens: Queries and keys.
        heads: Heads.
        head_dim: Values per head.
        density: Share of the query–key pairs that are kept, in (0, 1].
        dtype: Of q, k and v.
        device: Where they lie.
        block: Block sides, tokens.

    Raises:
        ShapeError: A count below 1 or a density outside (0, 1].
    """

    tokens: Size
    heads: Size
    head_dim: Size
    density: Annotated[float, In("(0, 1]")]
    dtype: torch.dtype
    device: torch.device
    block: BlockSize

    def __post_init__(self) -> None:
        check_fields(self, ShapeError)

    @property
    def dense_work(self) -> float:
        """Floating-point operations of q·kᵀ and p·v over all pairs."""
        return 4.0 * self.tokens**2 * self.heads * self.head_dim

    @property
    def tensor_bytes(self) -> int:
        """q, k, v and the output."""
        return 4 * self.tokens * self.heads * self.head_dim * self.dtype.itemsize

    @property
    def mask_bytes(self) -> int:
        """A mask of its own for every head, with the lists of kept blocks that GPU kernels read."""
        rows, columns = -(-self.tokens // self.block.query), -(-self.tokens // self.block.key)
        return self.heads * rows * columns * (1 + torch.int32.itemsize)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one implementation says to a call.

    Attributes:
        name: Of the implementation.
        able: Whether it can run the call.
        detail: "taken", what else there is to know, or why not.
    """

    name: str
    able: bool
    detail: str


def explain_sparse(size: CallSize) -> list[Answer]:
    """What every implementation of block-sparse attention says to a call, fastest first."""
    x = _view(size)
    shape = (1, 1, -(-size.tokens // size.block.query), -(-size.tokens // size.block.key))
    keep = torch.ones((), dtype=torch.bool, device=size.device).expand(shape)
    mask = BlockMask(keep, size.block, size.tokens)
    return _ask(SPARSE, x, x, x, mask, size.head_dim**-0.5)


def explain_dense(size: CallSize) -> list[Answer]:
    """What every implementation of dense attention says to a call, fastest first."""
    x = _view(size)
    return _ask(DENSE, x, x, x, size.head_dim**-0.5, False)


def _view(size: CallSize) -> torch.Tensor:
    token = torch.zeros(size.head_dim, dtype=size.dtype, device=size.device)
    return token.expand(1, size.heads, size.tokens, size.head_dim)


def _ask(implementations: Sequence[Implementation], *arguments: object) -> list[Answer]:
    answers: list[Answer] = []
    taken = False
    for implementation in implementations:
        reason = implementation.refuse(*arguments)
        if reason is not None:
            answers.append(Answer(implementation.name, False, reason))
        elif not implementation.automatic:
            answers.append(
                Answer(implementation.name, True, f'by name only: backend="{implementation.name}"')
            )
        else:
            answers.append(Answer(implementation.name, True, "able, later in the list" if taken else "taken"))
            taken = True
    return answers
