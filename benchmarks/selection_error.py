"""What choosing costs in accuracy on real calls: `python -m benchmarks.selection_error --model shapes-m`.

Queries, keys and values of one dense video (two layers, two steps, both branches) go through variants of a method, each
from no state: relative L1 of the attention output and executed density, centroids counted, means over the calls; for
SVG2 also how far k-means is after fewer iterations than 50. No seconds: a busy machine changes nothing.
"""

import argparse
from dataclasses import replace
from statistics import fmean

import torch
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.integrations.diffusers.watch import watch
from videosieve.kernels import dense_attention, kmeans
from videosieve.methods import AdaSpa, Method, SemanticPermutation, Sieve, SvgEar, attend_selected
from videosieve.metrics import relative_l1
from videosieve.observation import Observation
from videosieve.shapes import load_shapes

CAPTION = "a red circle moves right and a blue square moves down"
LAYERS, STEPS, ITERATIONS = (0, 4), (2, 4), (6, 12, 50)


def capture(model: str, steps: int) -> list[AttentionCall]:
    """The calls of LAYERS and STEPS of a dense video, without text padding."""
    calls = []

    def keep(seen: Observation) -> None:
        if seen.site.layer in LAYERS and seen.site.step in STEPS:
            q, k, v = (x[:, :, : seen.layout.tokens].clone() for x in (seen.q, seen.k, seen.v))
            calls.append(AttentionCall(q, k, v, seen.layout, seen.site, seen.scale))

    pipe = load_shapes(model)
    with watch(pipe) as run:
        run.observers.append(keep)
        pipe(CAPTION, num_inference_steps=steps, generator=torch.Generator().manual_seed(0))
    return calls


def variants(side: int, clusters: int, tokens: int) -> dict[str, tuple[Method, bool]]:
    """Methods, and whether centroids answer for what they leave out."""
    found: dict[str, tuple[Method, bool]] = {
        f"adaspa, every {stride}. query": (AdaSpa(0.2, block=side, search_stride=stride), False)
        for stride in (1, 2, 4)
    }
    for density in (0.15, 0.3):
        svg2 = SemanticPermutation(
            density=density, min_share=0.0, query_clusters=clusters, key_clusters=clusters
        )
        ear = SvgEar(density=density, min_share=0.0, query_clusters=clusters, key_clusters=clusters)
        found |= {
            f"svg2 {density}": (svg2, False),
            f"svg2 {density}, centroids answer": (svg2, True),
            f"svg_ear {density}": (ear, True),
            f"svg_ear {density}, as many clusters as sieve": (
                replace(ear, query_clusters=tokens // side, key_clusters=2 * tokens // side),
                True,
            ),
            f"sieve {density}": (Sieve(density), True),
            f"sieve {density}, clusters of whole tokens": (Sieve(density, space="tokens"), True),
            f"sieve {density}, rank by mass": (Sieve(density, rank="mass"), True),
            f"sieve {density}, nothing answers": (Sieve(density, centroids=False), False),
        }
    return found


def look(call: AttentionCall, method: Method, answered: bool) -> tuple[float, float]:
    """Relative L1 and density of a method's selection; of AdaSpa the one after its first search."""
    dense = dense_attention(call.q, call.k, call.v, scale=call.scale)
    selection, state = method.select(call, None)
    if selection is not None and isinstance(method, AdaSpa):
        state = method.observe(call, attend_selected(call, selection), state)
        selection, _ = method.select(call, state)
    if selection is None:
        raise SystemExit("a variant leaves a call dense")
    result = attend_selected(call, replace(selection, compensate=answered))
    density = selection.mask.head_density
    if result.answered_density is not None:
        density = density + result.answered_density
    return relative_l1(result.output, dense), float(density.mean())


def spread(x: Tensor, clusters: int, iterations: int) -> float:
    """Mean squared distance of tokens to the centroids that k-means ends with."""
    centroids = kmeans(x, clusters, iterations=iterations).centroids
    nearest = (centroids.square().sum(-1).unsqueeze(-2) - 2 * x @ centroids.mT).amin(-1)
    return float((nearest + x.square().sum(-1)).mean())


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="shapes-s")
    parser.add_argument("--steps", type=int, default=8)
    given = parser.parse_args()
    calls = capture(given.model, given.steps)
    tokens = calls[0].layout.grid.tokens
    print(f"{given.model}, {len(calls)} calls of {tokens} video tokens")
    print("| variant | relative L1 | density |\n| --- | --- | --- |")
    for name, (method, answered) in variants(32 if tokens < 2048 else 64, tokens // 32, tokens).items():
        errors, densities = zip(*(look(call, method, answered) for call in calls), strict=True)
        print(f"| {name} | {fmean(errors):.4f} | {fmean(densities):.3f} |")
    print("| iterations of k-means | mean squared distance ÷ that after 50 |\n| --- | --- |")
    tensors = [x[:, :, call.layout.video] for call in calls for x in (call.q, call.k)]
    last = [spread(x, tokens // 32, ITERATIONS[-1]) for x in tensors]
    for iterations in ITERATIONS[:-1]:
        ratios = [spread(x, tokens // 32, iterations) / end for x, end in zip(tensors, last, strict=True)]
        print(f"| {iterations} | {fmean(ratios):.4f} (at most {max(ratios):.4f}) |")


if __name__ == "__main__":
    main()
