"""Dealing a budget: documentation, checks, dispatch."""

import torch
from torch import Tensor

from videosieve.errors import ShapeError
from videosieve.kernels.arguments import AXES, FLOATS, check_device, check_tensor
from videosieve.kernels.deal_budget import native, reference
from videosieve.kernels.dispatch import Implementation, anything, choose

IMPLEMENTATIONS = (
    Implementation("native", native.refuse, native.deal_budget),
    Implementation("reference", anything, reference.deal_budget),
)


MOST_TOKENS = 2**31 - 1


def deal_budget(
    worth: Tensor, query_sizes: Tensor, key_sizes: Tensor, budget: Tensor, *, backend: str | None = None
) -> Tensor:
    """Pairs of clusters in order of worth while the budget of their head lasts; the best of every row in any case.

    A pair of m queries and n keys costs m · (n − 1) query–key pairs: computed it takes m · n, left out its centroid
    takes m. So the budget is what is there beyond a centroid for every cluster. What the best of the rows cost is taken
    off first; then the others come in order, the first of equals first, until one does not fit.

    Args:
        worth: What computing a pair of clusters is worth for each of its query–key pairs, finite or infinite
            [batch, heads, rows, columns]; what is NaN is worth 0.
        query_sizes: Tokens of every row, int64 ≥ 0 [batch, heads, rows].
        key_sizes: Tokens of every column, int64 ≥ 0 [batch, heads, columns].
        budget: int64 [batch, heads]; query–key pairs of a head beyond those of centroids; may be negative.
        backend: Implementation to use; None takes the fastest that can run the call.

    Returns:
        bool [batch, heads, rows, columns]; columns without tokens are kept, which computes nothing.

    Raises:
        ShapeError: The tensors do not fit together or cannot be read, or sizes, which are looked at on the CPU only,
            are no numbers of tokens.
        BackendError: No implementation, or not the one asked for, can run the call.
    """
    check_tensor("worth", worth, (*AXES[:2], "rows", "columns"), FLOATS)
    lead, (rows, columns) = worth.shape[:2], worth.shape[2:]
    tables = {
        "query_sizes": (query_sizes, (rows,)),
        "key_sizes": (key_sizes, (columns,)),
        "budget": (budget, ()),
    }
    for name, (table, last) in tables.items():
        check_tensor(name, table, (*AXES[:2], *("clusters" for _ in last)), (torch.int64,))
        check_device(name, table, worth.device)
        if table.shape != (*lead, *last):
            raise ShapeError(
                f"{name} must be {[*lead, *last]} beside worth {list(worth.shape)}, got {list(table.shape)}"
            )
        if last:
            _check_sizes(name, table)
    if torch.compiler.is_compiling():
        return torch.ops.videosieve.deal_budget(worth, query_sizes, key_sizes, budget, backend)
    chosen = choose("deal_budget", IMPLEMENTATIONS, backend, worth, query_sizes, key_sizes, budget)
    return chosen.run(worth, query_sizes, key_sizes, budget)


def _check_sizes(name: str, sizes: Tensor) -> None:
    """Sizes whose products and their sums fit an int64; looked at on the CPU only."""
    if torch.compiler.is_compiling() or sizes.device.type != "cpu" or not sizes.numel():
        return
    least, most = (int(edge) for edge in sizes.aminmax())
    if least < 0 or most > MOST_TOKENS or int(sizes.sum(-1).max()) > MOST_TOKENS:
        raise ShapeError(
            f"{name} must be numbers of tokens, 0 or more and at most {MOST_TOKENS:,} in all of a head, "
            f"got {least} … {most}"
        )


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = "(Tensor worth, Tensor query_sizes, Tensor key_sizes, Tensor budget, str? backend) -> Tensor"


@torch.library.custom_op("videosieve::deal_budget", mutates_args=(), schema=_SCHEMA)
def _operator(
    worth: Tensor, query_sizes: Tensor, key_sizes: Tensor, budget: Tensor, backend: str | None
) -> Tensor:
    return deal_budget(worth, query_sizes, key_sizes, budget, backend=backend)


@_operator.register_fake
def _shape(worth: Tensor, *_arguments: object) -> Tensor:
    return worth.new_empty(worth.shape, dtype=torch.bool)
