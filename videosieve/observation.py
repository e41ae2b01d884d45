"""What an observer of a run sees of one self-attention."""

from dataclasses import dataclass

from torch import Tensor

from videosieve.forward import Site
from videosieve.layout import VideoLayout


@dataclass(frozen=True, slots=True)
class Observation:
    """One self-attention of a running pipeline, as an observer sees it: read, never written.

    Attributes:
        owner: Component name of the transformer in its pipeline.
        site: Layer, step and branch; where items are attended one by one, `site.items` says which one this is.
        layout: Which token is which; where prompts differ in length, that of the first conditional one. The video lies
            in the same place for all of them.
        q: Queries [batch, heads, tokens, head_dim] after QK-norm and RoPE, in canonical order, text padding included.
        k: Keys, likewise.
        v: Values, likewise.
        output: Outputs, likewise, before the output projection; dense or sparse, as the recipe had it.
        scale: Factor on every q·k.
        conditional: Which of these batch items are conditional: all, one half of a batch that holds both branches of
            guidance, or none.
        item: Index, in the batch of the forward, of the first conditional one of them; of the first where none is.
    """

    owner: str
    site: Site
    layout: VideoLayout
    q: Tensor
    k: Tensor
    v: Tensor
    output: Tensor
    scale: float
    conditional: range = range(1)
    item: int = 0
