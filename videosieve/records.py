"""One attention call in the trace: as it is noted while the model runs, and as it is read afterwards."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Record:
    """One attention call.

    Attributes:
        layer: Index of the self-attention.
        step: Denoising step.
        branch: "cond", "uncond" or "cond_uncond".
        action: "dense", "sparse" or "reuse".
        reason: Why it was dense; empty for sparse calls.
        kernel: Implementation that computed it.
        pairs: Query–key pairs of the call, batch and heads included.
        density: Computed pairs ÷ all pairs, in [0, 1].
        recall: True softmax mass inside the kept blocks, per head, averaged over the batch; empty if not measured.
        pattern: Pattern name per head of the first batch element; empty where the method has one pattern.
        milliseconds: Wall time of the call, selection included.
        source: Step and branch whose output was returned again, or, of a sparse call, whose selection was taken over;
            empty where this call made everything.
        generation: Number of the generation in its run, from 0.
        steps: Denoising steps of the generation, as known when the call was made; 0 in traces of older versions.
        pass_number: How often this branch had run before in this step.
        items: Indices into the batch where the call holds only some of it; empty where it holds all.
        note: What else is worth knowing of a sparse call, e.g. why it could not take over a selection.
        compensated: Softmax mass for which centroids or tangents answered, as a share of all true mass, per head,
            averaged over the batch: a lower bound of what was left out, so that it and recall add up to at most 1.
            Empty without.
        densities: Computed pairs ÷ all pairs per head, averaged over the batch; empty where all heads have the same.
        heads: Which of the model's heads the call held, in the order of its values per head; empty where it held all.
    """

    layer: int
    step: int
    branch: str
    action: str
    reason: str
    kernel: str
    pairs: int
    density: float
    recall: list[float] = field(default_factory=list)
    pattern: list[str] = field(default_factory=list)
    milliseconds: float = 0.0
    source: tuple[int, str] | tuple[()] = ()
    generation: int = 0
    steps: int = 0
    pass_number: int = 0
    items: tuple[int, ...] = ()
    note: str = ""
    compensated: list[float] = field(default_factory=list)
    densities: list[float] = field(default_factory=list)
    heads: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("source", "items", "heads"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # JSON has lists only


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a call was computed, before device tensors and timers are read; a density may be a tensor, one per head."""

    action: str
    kernel: str
    pairs: int
    density: float | Tensor
    reason: str = ""
    recall: Tensor | None = None
    patterns: tuple[str, ...] = ()
    pattern: Tensor | None = None
    source: tuple[int, str] | tuple[()] = ()
    note: str = ""
    compensated: Tensor | None = None
