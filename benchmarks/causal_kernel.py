"""Causal block-sparse attention against dense causal attention: `python -m benchmarks.causal_kernel`.

The prefill of a language model: random blocks of the causal half, grouped heads, and first the figure of one kernel
call: PyTorch's scaled_dot_product_attention with `is_causal` ÷ ours × density. 1 means that skipping is free. Density
is the share of the causal half, counted in tokens; the diagonal is kept in any case. Both by turns in one run; the
output is held against fp64 on sampled rows first.

python -m benchmarks.causal_kernel --tokens 8192 --density 0.25 0.1 --repeats 7
"""

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from videosieve.bench.timing import describe_machine, time_by_turns
from videosieve.call import AttentionCall
from videosieve.kernels.native_threads import describe_threads
from videosieve.layout import VideoLayout
from videosieve.methods.base import Selection, attend_selected
from videosieve.methods.oracle import RandomBlocks

ROWS = 16
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 2e-2}


@torch.inference_mode()
def main(arguments: Sequence[str] | None = None) -> None:
    options = parse(arguments)
    machine = describe_machine()
    print(f"{machine['cpu']}, {describe_threads()}, torch {machine['torch']}, load {machine['load']}")
    print(
        f"{'tokens':>6} {'heads':>7} {'dtype':>8} {'block':>5} {'density':>7} {'dense, ms':>9} {'sparse, ms':>10} "
        f"{'×':>5} {'of 1/density':>12} kernel"
    )
    for tokens in options.tokens:
        for dtype in (getattr(torch, name) for name in options.dtype):
            call = make_call(tokens, options.heads, options.key_heads, options.head_dim, dtype)
            for side in options.block:
                for density in options.density:
                    print(row(call, density, side, options.repeats), flush=True)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, nargs="+", default=[8192])
    parser.add_argument("--heads", type=int, default=9)
    parser.add_argument("--key-heads", type=int, default=3)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    parser.add_argument("--block", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--density", type=float, nargs="+", default=[0.25, 0.1])
    parser.add_argument("--repeats", type=int, default=5)
    return parser.parse_args(arguments)


def make_call(tokens: int, heads: int, key_heads: int, head_dim: int, dtype: torch.dtype) -> AttentionCall:
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(1, heads, tokens, head_dim, generator=generator).to(dtype)
    k, v = (torch.randn(1, key_heads, tokens, head_dim, generator=generator).to(dtype) for _ in range(2))
    return AttentionCall(q, k, v, VideoLayout.sequence(tokens))


def row(call: AttentionCall, density: float, side: int, repeats: int) -> str:
    """Check, time, and the line of the table."""
    chosen = RandomBlocks(density=density, block=side, causal=True).select(call, None)[0]
    check(call, chosen)

    def dense() -> Tensor:
        return scaled_dot_product_attention(call.q, call.k, call.v, is_causal=True, enable_gqa=True)

    result = attend_selected(call, chosen)
    kept = float(result.mask.head_density.mean())
    found = time_by_turns({"dense": dense, "sparse": lambda: attend_selected(call, chosen)}, repeats)
    speedup = found["dense"] / found["sparse"]
    heads, dtype = f"{call.heads} / {call.k.shape[1]}", str(call.q.dtype).removeprefix("torch.")
    return (
        f"{call.tokens:6} {heads:>7} {dtype:>8} {side:5} {kept:7.3f} {found['dense']:9.1f} {found['sparse']:10.1f} "
        f"{speedup:5.2f} {speedup * kept:12.2f} {result.kernel}"
    )


def check(call: AttentionCall, chosen: Selection) -> None:
    """Hold some rows of the output against fp64."""
    output = attend_selected(call, chosen).output
    rows = torch.linspace(0, call.tokens - 1, ROWS).long()
    side = chosen.mask.block.query
    keep = chosen.mask.keep[0].expand(call.heads, -1, -1)[:, rows // side]
    seen = keep.repeat_interleave(side, -1)[..., : call.tokens] & (torch.arange(call.tokens) <= rows[:, None])
    groups = call.heads // call.k.shape[1]
    k, v = (x[0].double().repeat_interleave(groups, 0) for x in (call.k, call.v))
    scores = (call.q[0, :, rows].double() @ k.mT * call.scale).masked_fill(~seen, -torch.inf)
    gap = float((scores.softmax(-1) @ v - output[0, :, rows].double()).abs().max())
    if not gap < TOLERANCE[call.q.dtype]:
        raise SystemExit(f"wrong by {gap:.2g} against fp64, at most {TOLERANCE[call.q.dtype]:.0e} is allowed")


if __name__ == "__main__":
    main()
