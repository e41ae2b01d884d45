"""What choosing the blocks costs beside dense attention: `python -m benchmarks.selection`.

A method's selection on random inputs of 8,192 tokens, as a share of PyTorch's dense attention in the same run, and its
peak memory. AdaSpa has three rows: its first search beside the dense attention it observes, a later one, and reuse.
SVG2 has two: the first sparse step, with 12 iterations of k-means, and any later one, with 2. sieve has two as well,
with 8 iterations and 1, pooling of keys and values included.
"""

from collections.abc import Callable

import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve.bench.timing import describe_machine, peak_extra_memory, time_by_turns
from videosieve.call import AttentionCall
from videosieve.forward import Site
from videosieve.layout import VideoLayout
from videosieve.methods import (
    AdaSpa,
    DraftAttention,
    Method,
    MInference,
    OracleTopK,
    RadialAttention,
    RandomBlocks,
    SemanticPermutation,
    Sieve,
    SlidingTile,
    Sparge,
    VsaCoarse,
    XAttention,
    attend_selected,
)

LAYOUT = VideoLayout.of(16, 16, 31, text_last=256)
HEADS, HEAD_DIM, REPEATS = 2, 64, 3

METHODS: dict[str, Method] = {
    "xattention, stride 4": XAttention(stride=4),
    "xattention, stride 8": XAttention(stride=8),
    "xattention, stride 16": XAttention(stride=16),
    "minference, a_shape": MInference(pattern="a_shape"),
    "minference, vertical_slash": MInference(pattern="vertical_slash"),
    "minference, block_sparse": MInference(pattern="block_sparse"),
    "radial": RadialAttention(),
    "sliding_tile": SlidingTile(),
    "sparge": Sparge(),
    "sparge, hilbert": Sparge(order="hilbert"),
    "draft": DraftAttention(),
    "vsa_coarse": VsaCoarse(),
    "random_blocks": RandomBlocks(),
    "oracle_top_k": OracleTopK(),
}


def selections(call: AttentionCall) -> dict[str, Callable[[], object]]:
    """What is timed, by name."""
    calls = {name: lambda method=method: method.select(call, None) for name, method in METHODS.items()}
    adaspa = AdaSpa()
    everything, pending = adaspa.select(call, None)
    result = attend_selected(call, everything)
    found = adaspa.observe(call, result, pending)
    later = AttentionCall(call.q, call.k, call.v, call.layout, Site(0, 1, 30, 50))
    calls["adaspa, first search"] = lambda: adaspa.observe(call, result, pending)
    calls["adaspa, later search"] = lambda: adaspa.select(later, found)
    calls["adaspa, reuse"] = lambda: adaspa.select(call, found)
    sieve = Sieve()
    _, space = sieve.select(call, None)
    calls["sieve, first step"] = lambda: sieve.select(call, None)
    calls["sieve, later step"] = lambda: sieve.select(later, space)
    svg2 = SemanticPermutation()
    _, centroids = svg2.select(call, None)
    calls["svg2, first step"] = lambda: svg2.select(call, None)
    calls["svg2, later step"] = lambda: svg2.select(later, centroids)
    return calls


def main() -> None:
    """Print the table."""
    generator = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 1, HEADS, LAYOUT.tokens, HEAD_DIM, generator=generator)
    call = AttentionCall(q, k, v, LAYOUT, Site(0, 1, 10, 50))
    calls = selections(call)
    milliseconds = time_by_turns({"dense": lambda: scaled_dot_product_attention(q, k, v), **calls}, REPEATS)
    print(", ".join(f"{key} {value}" for key, value in describe_machine().items()))
    print(f"{LAYOUT.tokens} tokens, {HEADS} heads × {HEAD_DIM}; dense {milliseconds['dense']:.0f} ms")
    print("| selection | share of dense attention | peak memory, MiB |\n| --- | --- | --- |")
    for name, work in calls.items():
        share = milliseconds[name] / milliseconds["dense"]
        print(f"| {name} | {100 * share:.1f} % | {peak_extra_memory(work):.0f} |")


if __name__ == "__main__":
    main()
