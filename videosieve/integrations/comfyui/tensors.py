"""Queries, keys and values as ComfyUI hands them over, in both of its forms, and the output as it wants it back."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Call:
    """One attention call of ComfyUI.

    Attributes:
        q: Queries, [batch, heads, tokens, head_dim] with `skip_reshape`, else [batch, tokens, heads · head_dim].
        k: Keys, likewise; their heads may divide those of the queries (`enable_gqa`).
        v: Values, like k.
        heads: Heads of the queries.
        mask: As ComfyUI has it.
        skip_reshape: Which form the inputs have.
        skip_output_reshape: Whether the output is [batch, heads, tokens, head_dim]; else as the other form of inputs.
        options: Everything else that was handed over by keyword.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    heads: int
    mask: Tensor | None
    skip_reshape: bool
    skip_output_reshape: bool
    options: dict[str, Any]

    @property
    def queries(self) -> int:
        """Query tokens."""
        return self.q.shape[2 if self.skip_reshape else 1]

    @property
    def keys(self) -> int:
        """Key tokens."""
        return self.k.shape[2 if self.skip_reshape else 1]

    @property
    def pairs(self) -> int:
        """Query–key pairs of all heads."""
        return self.q.shape[0] * self.heads * self.queries * self.keys

    def heads_first(self) -> tuple[Tensor, Tensor, Tensor]:
        """q, k and v [batch, heads, tokens, head_dim], as many heads of keys as of queries."""
        if self.skip_reshape:
            q, k, v = self.q, self.k, self.v
        else:
            side = self.q.shape[-1] // self.heads
            q, k, v = (x.unflatten(-1, (-1, side)).transpose(1, 2) for x in (self.q, self.k, self.v))
        groups, rest = divmod(q.shape[1], k.shape[1])
        if groups > 1 and not rest:
            k, v = (x.repeat_interleave(groups, dim=1) for x in (k, v))
        return q, k, v

    def back(self, output: Tensor) -> Tensor:
        """An output [batch, heads, tokens, head_dim] in the form that was asked for."""
        return output if self.skip_output_reshape else output.transpose(1, 2).flatten(2)
