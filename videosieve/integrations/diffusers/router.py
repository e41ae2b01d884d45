"""The router: where every hooked attention call arrives, as one custom op that torch.compile treats as a black box.

The op gets the layer's identity as a 0-dim CPU tensor, the *handle*. Dynamo sees data there and not a constant, so all
layers share one compiled frame; a Python int would recompile per layer until torch gives up.
"""

import itertools
import weakref
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.forward import Site
from videosieve.integrations.diffusers.clock import Moment, Turn
from videosieve.integrations.diffusers.models.arrangements import Arrangement, Group, items_left_out
from videosieve.integrations.diffusers.reuse import Slot
from videosieve.integrations.diffusers.ulysses import Order, Share, with_heads
from videosieve.outputs import Kept
from videosieve.records import Outcome
from videosieve.run import Run
from videosieve.timing import start_timer

# The one global of the library: a custom op can only carry tensors and numbers, so the number in the handle must be
# looked up somewhere. Weak, so that a removed run leaves nothing behind.
_LAYERS: "weakref.WeakValueDictionary[int, Layer]" = weakref.WeakValueDictionary()
_IDS = itertools.count()


class Stage:
    """One hooked transformer: its layers share the moment that the clock sets before every forward.

    Attributes:
        name: Component name in the pipeline.
        run: What attends and remembers.
        layers: Number of hooked self-attentions.
        moment: Facts about the running forward.
        turn: Who is inside the forward.
        skipped: Numbers of the blocks that do not attend in the running forward, and rightly so.
        share: Which heads this rank attends to; None without context parallelism.
        order: In which order the running self-attention exchanges its heads; None for the model's own.
        handle: Handle of the self-attention that is running; what the router hands to the op.
    """

    def __init__(self, name: str, run: Run, layers: int) -> None:
        self.name = name
        self.run = run
        self.layers = layers
        self.moment = Moment()
        self.turn = Turn()
        self.skipped: frozenset[int] = frozenset()
        self.share: Share | None = None
        self.order: Order | None = None
        self.handle = torch.tensor(-1, device="cpu")


class Layer:
    """One hooked self-attention.

    Attributes:
        name: Module name inside the transformer.
        index: Position in call order.
        handle: int64 CPU scalar that identifies the layer inside the custom op.
        entered: Eager calls of its processor in the running forward; compiled code cannot count.
        routed: Attention calls that reached the router in the running forward.
        items: Batch items that its processor was called with last; 0 where that is not known, as in compiled code.
        slot: Its stored output; None where the recipe never reuses one.
        order: In which order its heads are exchanged between ranks; None for the model's own.
    """

    def __init__(self, stage: Stage, name: str, index: int) -> None:
        self._number = next(_IDS)
        self.name = name
        self.index = index
        self.handle = torch.tensor(self._number, device="cpu")  # whatever the default device
        self.entered = 0
        self.routed = 0
        self.items = 0
        self.slot: Slot | None = None
        self.order: Order | None = None
        self._stage = stage
        _LAYERS[self._number] = self

    def forget(self) -> None:
        """Take the layer out of the table: processors that still carry its handle attend as if never hooked."""
        _LAYERS.pop(self._number, None)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
        """Sparse where the layout fits, else dense with the reason traced; tensors [batch, heads, tokens, head_dim]."""
        moment = self._stage.moment
        ordinal = self.routed + items_left_out(self.items, moment.batch, moment.guided)
        self.routed += 1
        found = moment.arrangement(self.name, q.shape[2], ordinal)
        without, share = q.shape[2], self._stage.share
        order = None if share is None else share.order(found, without, self.name, mask is not None)
        if order is not None:
            q, k, v = (x.index_select(2, order.to(q.device)) for x in (q, k, v))
        if found is not None:
            q, k, v = found.make_square(q, k, v)
        output = self._attend_square(q, k, v, mask, scale, found, ordinal)
        if order is not None:
            return torch.empty_like(output).index_copy_(2, order.to(q.device), output)
        return output if q.shape[2] == without else output[:, :, -without:].contiguous()

    def _attend_square(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None,
        scale: float | None,
        found: Arrangement | None,
        ordinal: int,
    ) -> Tensor:
        self._note_pairs(q, found)
        reason = self._misfit(q, k, v, mask, found, ordinal)
        if self._stage.share is not None:
            self._stage.share.require_known(self.name, reason)
        if found is None or reason:
            return self.attend_dense(q, k, v, mask, scale, reason)
        output = self._attend_groups(found, q, k, v, scale)
        moment, factor = self._stage.moment, q.shape[-1] ** -0.5 if scale is None else scale
        for observe in self._stage.run.observers:
            observe(moment.observation(self._stage.name, found, self._site, (q, k, v, output), factor))
        return output

    def _note_pairs(self, q: Tensor, found: Arrangement | None) -> None:
        """For the trace of later steps: what they save by returning this output."""
        slot = self.slot
        if slot is None or found is None:
            return
        sizes = [1 if found.per_item else len(group.items) or q.shape[0] for group in found.groups]
        tokens = [group.layout.tokens for group in found.groups]
        pairs = q.shape[1] * sum(n * t**2 for n, t in zip(sizes, tokens, strict=True))
        slot.pairs = pairs + (slot.pairs if found.per_item and self.routed > 1 else 0)
        if slot.halves:
            conditional = self._site()
            self._stage.run.reuse(replace(conditional, branch="uncond"), Kept(None, conditional, slot.pairs))

    def _attend_groups(
        self, found: Arrangement, q: Tensor, k: Tensor, v: Tensor, scale: float | None
    ) -> Tensor:
        if found.per_item:  # the call holds nothing but this item
            return self._attend_group(found.groups[0], q, k, v, scale)
        parts = [
            self._attend_group(group, group.take(q), group.take(k), group.take(v), scale)
            for group in found.groups
        ]
        if len(parts) == 1 and parts[0].shape == q.shape and found.groups[0].rows is None:
            return parts[0]
        # The rest is text padding: no valid token attends to it, and it is dropped before the latents are returned:
        # its rows may hold anything finite, and zeros cost nothing.
        output = q.new_zeros(q.shape)
        for group, part in zip(found.groups, parts, strict=True):
            group.put(part, output)
        return output

    def attend_dense(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None, reason: str
    ) -> Tensor:
        """Plain attention of any shape; differentiable."""
        stop = start_timer(q.device)
        output = _attend_plain(q, k, v, mask, scale)
        pairs = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2]
        self._stage.run.trace.add(self._site(), Outcome("dense", "sdpa", pairs, 1.0, reason), stop())
        return output.contiguous()

    def note_own(self, q: Tensor, k: Tensor) -> None:
        """Trace a call that the model computes itself; tensors [batch, heads, tokens, head_dim]."""
        self.routed += 1
        pairs = q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2]
        outcome = Outcome("dense", "the model's own", pairs, 1.0, "the model brings its own block mask")
        self._stage.run.trace.add(self._site(), outcome, 0.0)

    def _attend_group(self, group: Group, q: Tensor, k: Tensor, v: Tensor, scale: float | None) -> Tensor:
        run, moment, owner = self._stage.run, self._stage.moment, self._stage.name
        both = moment.holds_both(q.shape[0])
        about = (both, bool(moment.conditional_rows(q.shape[0], group.items)), moment.conditional_first)
        made = AttentionCall(q, k, v, group.layout, self._site(group.items), scale, *about)
        call = with_heads(made, self._stage.share, self.order.numbers if self.order else ())
        if run.recipe.shared_selection and both:
            cond, uncond = (run.attend(half, owner) for half in call.guided_halves())
            return torch.cat([cond, uncond] if moment.conditional_first else [uncond, cond])
        return run.attend(call, owner)

    def _misfit(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, found: Arrangement | None, ordinal: int
    ) -> str:
        """Why a call is not handed to the recipe, or nothing."""
        moment = self._stage.moment
        if not moment.arrangements:
            return moment.misfit
        if not (q.shape == k.shape == v.shape and q.dtype == k.dtype == v.dtype):
            return "queries, keys and values differ in shape or dtype"
        if found is None:
            return moment.why_none(self.name, q.shape[2], ordinal)
        expected = 1 if found.per_item else moment.batch
        if q.shape[0] != expected and (found.per_item or len(found.groups) > 1):
            return f"a batch of {q.shape[0]} instead of {expected} prompts of different length"
        # A padding mask says what was read from the text mask already; any other mask says more.
        if mask is not None and not (found.padded and mask.shape == (q.shape[0], 1, 1, found.tokens)):
            return "an attention mask that is not text padding"
        return ""

    def _site(self, items: tuple[int, ...] = ()) -> Site:
        branch = "cond" if self.slot is not None and self.slot.halves else ""
        return self._stage.moment.forward.site(self.index, self._stage.layers, branch, items)


def _attend_plain(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    grouped = q.shape[1] != k.shape[1]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=grouped)


# Spelled out: torch 2.6 cannot read `X | None`.
_SCHEMA = "(Tensor q, Tensor k, Tensor v, Tensor? mask, float? scale, Tensor handle) -> Tensor"


@torch.library.custom_op("videosieve::attend", mutates_args=(), schema=_SCHEMA)
def attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None, handle: Tensor
) -> Tensor:
    """Route one attention call to its layer.

    Args:
        q: Queries [batch, heads, queries, head_dim].
        k: Keys [batch, heads, keys, head_dim]; their heads may divide those of the queries.
        v: Values, as many as keys.
        mask: As for scaled_dot_product_attention.
        scale: Factor on every q·k; None means head_dim ** -0.5.
        handle: int64 CPU scalar of the layer.

    Returns:
        [batch, heads, queries, head_dim], contiguous, no view of an input.
    """
    layer = _LAYERS.get(int(handle))
    if (
        layer is None
    ):  # a processor that outlived its run, e.g. kept by fuse_qkv_projections: as if never hooked
        return _attend_plain(q, k, v, mask, scale).contiguous()
    return layer.attend(q, k, v, mask, scale)


@attend.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None, handle: Tensor) -> Tensor:
    del k, mask, scale, handle
    return q.new_empty((*q.shape[:-1], v.shape[-1]))


def _attend_with_gradients(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None, handle: Tensor
) -> Tensor:
    layer = _LAYERS.get(int(handle))
    if layer is None:
        return _attend_plain(q, k, v, mask, scale)
    layer.routed += 1
    return layer.attend_dense(q, k, v, mask, scale, "gradients are needed")


# The op has no backward; under torch.compile this costs a graph break, and fullgraph says so.
_differentiable: Any = torch.compiler.disable(_attend_with_gradients)


def _note_own(stage: Stage, q: Tensor, k: Tensor) -> None:
    layer = _LAYERS.get(int(stage.handle))
    if layer is not None:
        layer.note_own(q, k)


note_own: Any = torch.compiler.disable(_note_own)
"""Trace an attention call of the running self-attention that the model computes itself."""


def route(stage: Stage, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float | None) -> Tensor:
    """Hand a call of the running self-attention to the op; where gradients are needed, to dense attention.

    Tensors [batch, heads, tokens, head_dim].
    """
    if torch.is_autocast_enabled(
        q.device.type
    ):  # which casts the inputs of attention, but not those of our op
        q, k, v = (x.to(torch.get_autocast_dtype(q.device.type)) for x in (q, k, v))
    if torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad):
        return _differentiable(q, k, v, mask, scale, stage.handle)
    return attend(q, k, v, mask, scale, stage.handle)
