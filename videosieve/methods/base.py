"""What a method is: it looks at one attention call and says which blocks to compute.

State is passed in and handed back, never kept in the method: a method object is a frozen bundle of the paper's
parameters that any number of pipelines may share.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from videosieve.call import AttentionCall, AttentionResult
from videosieve.errors import RecipeError, ShapeError
from videosieve.fields import check_fields
from videosieve.forward import Site
from videosieve.kernels import (
    Centroids,
    block_sparse_attention,
    centroids_of,
    compensated_attention,
    reorder_tokens,
)
from videosieve.kernels.block_sparse_attention import TAKE_ORDERS, runner
from videosieve.kernels.centroids import answered_density
from videosieve.kernels.compensated_attention import runner as compensated_runner
from videosieve.layout import VideoLayout, inverse_order
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.block_side import block_side
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.methods.causal import attend_causal, attend_compensated, causal_mask
from videosieve.methods.tangents import answer_by_tangents

State = Any


@dataclass(frozen=True, slots=True)
class TokenOrder:
    """A permutation of the sequence before block-sparse attention.

    Attributes:
        order: int64 gather index [tokens] or [batch|1, heads|1, tokens].
        heads: bool [batch|1, heads]; heads to permute. None permutes all.
        inverse: The inverse of `order`, where the method has it at hand; None computes it when needed.
    """

    order: Tensor
    heads: Tensor | None = None
    inverse: Tensor | None = None

    def apply(self, x: Tensor) -> Tensor:
        """x [batch, heads, tokens, head_dim] in this order."""
        return reorder_tokens(x, self.order, heads=self.heads)

    def index(self) -> Tensor:
        """The order as a gather index, heads that keep theirs included: [tokens] or [batch|1, heads, tokens]."""
        if self.heads is None:
            return self.order
        places = torch.arange(self.order.shape[-1], device=self.order.device)
        return torch.where(self.heads.unsqueeze(-1), self.order, places)

    def undo(self, x: Tensor) -> Tensor:
        """The inverse of `apply`."""
        inverse = inverse_order(self.order) if self.inverse is None else self.inverse
        return reorder_tokens(x, inverse, heads=self.heads)


@dataclass(frozen=True, slots=True)
class Selection:
    """What a method decided for one call.

    Attributes:
        mask: Kept blocks, in the order given by the two token orders.
        query_order: Permutation of the queries; None leaves them.
        key_order: Permutation of keys and values; None leaves them.
        patterns: Names that `pattern` indexes, e.g. ("spatial", "temporal").
        pattern: int64 [batch|1, heads]; which pattern every head got. None where the method has one.
        recall: fp32 [batch|1, heads]; estimated true softmax mass inside the kept blocks, where the method knows it.
        causal: No query sees a key behind it: blocks above the diagonal are left out, blocks on it are attended token
            by token. Needs a `BlockMask`, square blocks where centroids answer, and no token orders.
        columns: Only where it is causal: single keys that every query behind their block sees too, int64
            [batch, heads, columns], ascending and none twice; where a block is kept they are in it already. The number
            of keys fills what a head has fewer of.
        compensate: Whether key blocks that are left out answer with their centroids: mean key, mean value and count,
            under one softmax with what is kept.
        centroids: Those of this very call, where the method has pooled them already; None pools them when computed.
            With `allowed` they answer for some of the blocks only.
        tangents: Only where it is causal: whether what is left out answers by tangents at the first query of a block.
    """

    mask: BlockMask | RaggedBlockMask
    query_order: TokenOrder | None = None
    key_order: TokenOrder | None = None
    patterns: tuple[str, ...] = ()
    pattern: Tensor | None = None
    recall: Tensor | None = None
    causal: bool = False
    columns: Tensor | None = None
    compensate: bool = False
    centroids: Centroids | None = None
    tangents: bool = False


class Method(ABC):
    """One paper's answer to *which* attention is computed. Subclasses are frozen dataclasses of its parameters.

    Attributes:
        name: The word that `sparsify(pipe, name)` and recipes use.
        shares_state: Whether one guidance branch may take over the state of the other, and a call with both branches
            that of a call with one.
        causal_name: Name of the method that is its causal form, for language models: its own where it has a parameter
            `causal` or always is. Empty where there is none.
        keeps_columns: Whether its selections may have `columns`, single keys beside the blocks.
    """

    name: ClassVar[str]
    shares_state: ClassVar[bool] = False
    causal_name: ClassVar[str] = ""
    keeps_columns: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """Hold the parameters against their annotations; a subclass with more to check begins with the same line."""
        check_fields(self, RecipeError)

    @property
    def is_causal(self) -> bool:
        """Whether no query may see a key behind it, in dense steps too."""
        return False

    @property
    def takes_any_order(self) -> bool:
        """Whether blocks are chosen by queries and keys alone, so that the tokens may come in any order."""
        return False

    def block_size(self, call: AttentionCall) -> BlockSize:
        """Sides of the blocks of a call, tokens; of methods whose blocks are stretches of the sequence.

        Those that take any order say here in which blocks orders are tried: square ones of the field `block`, unless a
        method overrides it.
        """
        side = block_side(getattr(self, "block", None), call.tokens)
        return BlockSize(side, side)

    def known_densities(self, site: Site, layout: VideoLayout) -> tuple[float, ...] | None:
        """Density of every head, where the method's own table tells it before anything is computed.

        Args:
            site: Layer and layers; its heads are those of the model.
            layout: Which token is which.

        Returns:
            One in (0, 1] per head of the site; None where queries and keys decide, or where all heads have the same.
        """
        del site, layout
        return None

    @abstractmethod
    def select(self, call: AttentionCall, state: State) -> tuple[Selection | None, State]:
        """Decide which blocks of a call to compute.

        Args:
            call: The attention call.
            state: What this method handed back for the same layer and branch at its previous call; None at first.

        Returns:
            The selection, or None for dense attention, and the state to hand in next time.
        """

    def observe(self, call: AttentionCall, result: AttentionResult, state: State) -> State:
        """Learn from a computed selection. A run calls it after every call for which `select` gave a selection.

        A method that needs the LSE of full attention selects every block and finds the LSE here.

        Args:
            call: The attention call.
            result: Output, LSE and mask of its selection.
            state: What `select` handed back for this call.

        Returns:
            The state to hand in next time; as given where a method does not override this.
        """
        del call, result
        return state

    def observe_dense(self, call: AttentionCall, output: Tensor, state: State) -> State:
        """Learn from full attention. A run calls it after dense calls that a call of the method follows.

        Args:
            call: The attention call.
            output: [batch, heads, tokens, head_dim].
            state: As for `select`.

        Returns:
            The state to hand in next time; as given where a method does not override this.
        """
        del call, output
        return state

    def correct(self, call: AttentionCall, output: Tensor, state: State) -> Tensor:
        """Change what a computed selection gave, before it is returned.

        Args:
            call: The attention call.
            output: [batch, heads, tokens, head_dim]; from the kept blocks. May be written to.
            state: After `observe`.

        Returns:
            The same shape; as given where a method does not override this.
        """
        del call, state
        return output


def attend_selected(call: AttentionCall, selection: Selection, backend: str | None = None) -> AttentionResult:
    """Compute a selection: reorder, attend over the kept blocks, put the tokens back.

    Args:
        call: The attention call.
        selection: What its method decided.
        backend: Implementation of `block_sparse_attention`; None takes the fastest that can.

    Returns:
        The output and LSE in the original token order, with the mask in the computed order.
    """
    if selection.causal:
        return _attend_causal(call, selection, backend)
    if selection.tangents:
        raise ShapeError(
            "tangents answer for what lies before a block of queries, and this selection is not causal; centroids "
            "answer in both ways: compensate='centroids'"
        )
    if selection.compensate:
        return _attend_compensated(call, selection, backend)
    queries, keys = selection.query_order, selection.key_order
    if queries or keys:
        kernel = runner(call.q, call.k, call.v, selection.mask, backend=backend)
        if kernel in TAKE_ORDERS:
            return _attend_in_place(call, selection, kernel)
    q = queries.apply(call.q) if queries else call.q
    k, v = (keys.apply(x) if keys else x for x in (call.k, call.v))
    output, lse = block_sparse_attention(q, k, v, selection.mask, scale=call.scale, backend=backend)
    if queries:
        output, lse = queries.undo(output), queries.undo(lse.unsqueeze(-1)).squeeze(-1)
    return AttentionResult(output, lse, selection.mask, runner(q, k, v, selection.mask, backend=backend))


def _attend_in_place(call: AttentionCall, selection: Selection, kernel: str) -> AttentionResult:
    """The kernel finds every token where it lies: no pass over q, k and v before, none over the output after."""
    queries, keys = (order and order.index() for order in (selection.query_order, selection.key_order))
    output, lse = block_sparse_attention(
        *(call.q, call.k, call.v, selection.mask),
        scale=call.scale,
        backend=kernel,
        query_order=queries,
        key_order=keys,
    )
    return AttentionResult(output, lse, selection.mask, kernel)


def _attend_compensated(call: AttentionCall, selection: Selection, backend: str | None) -> AttentionResult:
    """Means are of the keys and values of this call, in the order in which the mask is executed, old as it may be."""
    mask = selection.mask
    queries, keys = (order and order.index() for order in (selection.query_order, selection.key_order))
    centroids = selection.centroids or centroids_of(call.k, call.v, mask, keys)
    tensors = (call.q, call.k, call.v, mask, centroids)
    kernel = compensated_runner(*tensors, backend=backend)
    output, lse, answered_lse = compensated_attention(
        *tensors, scale=call.scale, backend=kernel, query_order=queries, key_order=keys
    )
    density = answered_density(mask, centroids.answers(mask))
    return AttentionResult(output, lse, mask, kernel, answered_lse, density)


def _attend_causal(call: AttentionCall, selection: Selection, backend: str | None) -> AttentionResult:
    mask = selection.mask
    if not isinstance(mask, BlockMask) or selection.query_order or selection.key_order:
        raise ShapeError("a causal selection needs blocks of one size and tokens in their own order")
    mask = causal_mask(mask)
    if selection.columns is not None and (selection.compensate or selection.tangents):
        raise ShapeError(
            "centroids and tangents answer for whole blocks, and this selection keeps single keys of blocks that it "
            "leaves out, which would be counted twice; leave columns or compensate out"
        )
    if not selection.compensate:
        kernel = runner(call.q, call.k, call.v, mask, backend=backend)
        output, lse, more = attend_causal(call, mask, backend, selection.columns)
        if not selection.tangents:
            return AttentionResult(output, lse, mask, kernel, more_density=more)
        output, answered_lse, share = answer_by_tangents(call, mask, output, lse)
        return AttentionResult(output, lse, mask, kernel, answered_lse, share)
    kernel = runner(call.q, call.k, call.v, selection.mask, backend=backend)
    centroids = selection.centroids or centroids_of(call.k, call.v, mask)
    past = centroids.below_the_diagonal(mask.keep.shape[2])
    output, lse, answered_lse = attend_compensated(call, mask, backend, past)
    # Centroids are counted over all pairs there, of which causal attention has half.
    share = answered_density(mask, past.answers(mask)) * (mask.queries * mask.keys) / mask.pairs.sum()
    return AttentionResult(output, lse, mask, kernel, answered_lse, share)
