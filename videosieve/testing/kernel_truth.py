"""Whether what a kernel op returned is right: against fp64, within what the precision of its inputs allows.

One judge per op. A judge takes what the op returned, the implementation that did it and the op's own arguments, and
raises an AssertionError that says what is off and by how much.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from videosieve.call import resolve_scale
from videosieve.kernels.antidiagonal_mass import reference as antidiagonal_mass_reference
from videosieve.kernels.antidiagonal_scores import reference as antidiagonal_reference
from videosieve.kernels.block_mass import reference as mass_reference
from videosieve.kernels.kmeans import Clusters
from videosieve.kernels.norm_rope import NormRope, Stream
from videosieve.kernels.norm_rope import reference as norm_reference
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.testing.clusters import judge_block_moments, judge_deal_budget
from videosieve.testing.compensation import (
    judge_centroid_mass,
    judge_compensated_attention,
    judge_pool_blocks,
)
from videosieve.testing.oracles import mask_on_cpu, ordered, pairs_oracle
from videosieve.testing.tolerances import (
    E4M3_LEAST,
    E4M3_STEP,
    assert_attention,
    assert_fp8_attention,
    assert_within,
    plain_attention,
    require,
    weight_rounding,
)


def judge_block_sparse_attention(
    result: tuple[Tensor, Tensor],
    backend: str,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: BlockMask | RaggedBlockMask,
    scale: float | None = None,
    **orders: Tensor | None,
) -> None:
    """Output and LSE [batch, heads, queries(, head_dim)] against fp64 attention over the kept pairs."""
    scale = resolve_scale(scale, q.shape[-1])
    output, lse = result
    require(output.dtype == q.dtype, f"output is {output.dtype} for inputs of {q.dtype}")
    q, k, v, output, lse = (x.cpu() for x in (q, k, v, output, lse))
    q, output, lse = (ordered(x, orders.get("query_order")) for x in (q, output, lse.unsqueeze(-1)))
    k, v = (_for_heads_of(q, ordered(x, orders.get("key_order"))) for x in (k, v))
    pairs, lse = pairs_oracle(mask_on_cpu(mask)), lse.squeeze(-1)
    if backend == "native-bf16":  # what bf16 tensors would give: the rounding is the whole difference
        q, k, v, output = (x.bfloat16() for x in (q, k, v, output))
    if backend == "triton-fp8":
        assert_fp8_attention((output, lse), q, k, v, pairs, scale)
    else:
        assert_attention((output, lse), q, k, v, pairs, scale, lse_slack=weight_rounding(q.dtype))


def _for_heads_of(q: Tensor, x: Tensor) -> Tensor:
    """Keys or values with as many heads as the queries, where neighbours shared one."""
    return x.repeat_interleave(q.shape[1] // x.shape[1], 1)


def judge_dense_attention(
    result: Tensor,
    backend: str,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float | None = None,
    causal: bool = False,
) -> None:
    """Output [batch, heads, queries, head_dim] against fp64 attention over all keys, or those before a query."""
    scale = resolve_scale(scale, q.shape[-1])
    require(result.dtype == q.dtype, f"output is {result.dtype} for inputs of {q.dtype}")
    q, k, v, result = (x.cpu() for x in (q, k, v, result))
    k, v = (_for_heads_of(q, x) for x in (k, v))
    if backend == "native-bf16":
        q, k, v, result = (x.bfloat16() for x in (q, k, v, result))
    keep = torch.ones(1, 1, q.shape[2], k.shape[2], dtype=torch.bool)
    keep = keep.tril(k.shape[2] - q.shape[2]) if causal else keep
    # The LSE is not returned; what stands in for it is right by definition.
    lse = plain_attention(q, k, v, keep, scale)[1]
    assert_attention((result, lse), q, k, v, keep, scale)


def judge_sampled_attention(
    result: Any,
    backend: str,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    masks: Sequence[Tensor],
    scale: float | None = None,
) -> None:
    """Outputs and LSE, full and under every mask, against fp64 attention of the rows."""
    scale = resolve_scale(scale, q.shape[-1])
    q, k, v, *parts = (x.cpu() for x in (q, k, v, *result))
    output, lse, masked_output, masked_lse = parts
    # Half-precision inputs are attended in fp32; Triton alone rounds the weights to the dtype of v, as attention does.
    wide = torch.promote_types(q.dtype, torch.float32)
    require(all(x.dtype == wide for x in parts), f"results must be {wide}, got {[x.dtype for x in parts]}")
    if backend == "triton":
        parts = [x.to(q.dtype) for x in (output, masked_output)]
        output, masked_output = parts
    else:
        q, k, v = (x.to(wide) for x in (q, k, v))
    everything = torch.ones(1, 1, q.shape[2], k.shape[2], dtype=torch.bool)
    assert_attention((output, lse), q, k, v, everything, scale)
    for i, mask in enumerate(masks):
        assert_attention((masked_output[i], masked_lse[i]), q, k, v, mask.cpu(), scale)


def judge_block_mass(
    result: Tensor,
    backend: str,
    q: Tensor,
    k: Tensor,
    lse: Tensor,
    block: BlockSize,
    scale: float | None = None,
) -> None:
    """Masses [batch, heads, rows, columns] against fp64."""
    del backend
    scale = resolve_scale(scale, q.shape[-1])
    q, k, lse, result = (x.cpu() for x in (q, k, lse, result))
    wide = torch.promote_types(q.dtype, torch.float32)
    exact = mass_reference.block_mass(q.double(), k.double(), lse.double(), block, scale)
    rough = mass_reference.block_mass(q.to(wide), k.to(wide), lse.to(wide), block, scale)
    # A score and an LSE are rounded before their difference becomes an exponent.
    size = (
        abs(scale) * (q.double().abs().amax(2) * k.double().abs().amax(2)).sum(-1).max()
        + lse.double().abs().max()
    )
    slack = torch.finfo(wide).eps * float(size) * float(exact.max())
    _compare(result, rough, exact, "mass", slack=slack)


def judge_antidiagonal_scores(
    result: Tensor, backend: str, q: Tensor, k: Tensor, stride: int, scale: float | None = None
) -> None:
    """Scores [batch, heads, query cells, key cells] against fp64."""
    del backend
    scale = resolve_scale(scale, q.shape[-1])
    q, k, result = (x.cpu() for x in (q, k, result))
    wide, score = torch.promote_types(q.dtype, torch.float32), antidiagonal_reference.antidiagonal_scores
    exact, rough = score(q.double(), k.double(), stride, scale), score(q.to(wide), k.to(wide), stride, scale)
    # A sum is rounded as it grows: by what its terms come to, however much of it cancels in the end.
    terms = score(q.double().abs(), k.double().abs(), stride, abs(scale))
    _compare(result, rough, exact, "scores", least=float(terms.max()))


def judge_antidiagonal_mass(
    result: Tensor,
    backend: str,
    q: Tensor,
    k: Tensor,
    stride: int,
    side: int,
    scale: float | None = None,
    causal: bool = False,
) -> None:
    """Masses [batch, heads, query blocks, key blocks] against fp64."""
    del backend
    scale = resolve_scale(scale, q.shape[-1])
    q, k, result = (x.cpu() for x in (q, k, result))
    wide, mass = torch.promote_types(q.dtype, torch.float32), antidiagonal_mass_reference.antidiagonal_mass
    exact = mass(q.double(), k.double(), stride, side, scale, causal)
    rough = mass(q.to(wide), k.to(wide), stride, side, scale, causal)
    # A score is rounded as it grows, by what its terms come to, before it becomes an exponent.
    terms = antidiagonal_reference.antidiagonal_scores(q.double().abs(), k.double().abs(), stride, abs(scale))
    # a partial cell divides by the tokens that it has, at least one of a stride
    size = stride * float(terms.max())
    slack = torch.finfo(wide).eps * size * float(exact.max())
    _compare(result, rough, exact, "mass", least=float(exact.max()), slack=slack)


def judge_kmeans(
    result: Clusters,
    backend: str,
    x: Tensor,
    clusters: int,
    centroids: Tensor | None = None,
    iterations: int = 1,
    seed: int = 0,
) -> None:
    """One iteration from given centroids: every label a nearest centroid, every mean that of its tokens.

    Of calls that choose their start, or iterate, only the last mean is looked at: it belongs to the labels.
    """
    del seed
    x, labels, means, sizes, order, offsets = (y.cpu() for y in (x, *result))
    wide = torch.promote_types(x.dtype, torch.float32)
    eps, rows = torch.finfo(wide).eps, x.double()
    chosen = torch.nn.functional.one_hot(labels.long(), clusters).double()  # [batch, heads, tokens, clusters]
    require(torch.equal(sizes.double(), chosen.sum(2)), "sizes are not those of the labels")
    require(torch.equal(offsets.diff(), sizes.long()), "offsets are not those of the sizes")
    require(
        torch.equal(order, torch.sort(labels, dim=-1, stable=True).indices), "the order is not by cluster"
    )
    exact, magnitude = chosen.mT @ rows, chosen.mT @ rows.abs()
    filled, count = sizes.unsqueeze(-1) > 0, sizes.unsqueeze(-1).clamp(min=1)
    # The worst case of a sum of n terms, rounded after each, and of a quotient.
    budget = eps * ((count + 1) * magnitude / count + (exact / count).abs())
    error = torch.where(filled, (means.double() - exact / count).abs() - budget, 0.0)
    require(
        float(error.max()) <= 0, f"a centroid is off by {float(error.max()):.3g} more than rounding allows"
    )
    if centroids is None or iterations > 1:
        return
    start = centroids.cpu().to(wide)
    if backend == "triton":  # which takes the centroids in the dtype of x
        start = start.to(x.dtype)
    start = start.double()
    size = start.square().sum(-1).unsqueeze(2) + 2 * rows.abs() @ start.abs().mT
    distance = start.square().sum(-1).unsqueeze(2) - 2 * rows @ start.mT
    own = distance.gather(-1, labels.long().unsqueeze(-1)).squeeze(-1)
    excess = (own - distance.amin(-1)) - 2 * (x.shape[-1] + 2) * eps * size.amax(-1)
    require(
        float(excess.max()) <= 0, f"a label is {float(excess.max()):.3g} farther than the nearest centroid"
    )


def judge_norm_rope(
    result: NormRope,
    backend: str,
    streams: Sequence[Stream],
    order: Tensor | None = None,
    heads: Tensor | None = None,
    fp8: bool = False,
) -> None:
    """q and k of all tokens, and their fp8 forms, against the reference in fp64."""
    del backend
    wide = [Stream(s.q.double(), s.k.double(), s.q_norm, s.k_norm, s.rotation) for s in streams]
    exact = norm_reference.norm_rope(wide, order, heads, False)
    rough = norm_reference.norm_rope(streams, order, heads, False)
    truths = exact.q.cpu(), exact.k.cpu()
    for got, near, truth in zip((result.q, result.k), (rough.q, rough.k), truths, strict=True):
        require(got.dtype == streams[0].q.dtype, f"q and k must stay {streams[0].q.dtype}, got {got.dtype}")
        _compare(got.cpu(), near.cpu(), truth, "q or k")
    require(fp8 == (result.q8 is not None), f"{fp8=}, but q8 is {type(result.q8).__name__}")
    eights, scales = (result.q8, result.k8), (result.q_scale, result.k_scale)
    for values, scale, truth in zip(eights, scales, truths, strict=True):
        if values is not None and scale is not None:
            factor = scale.cpu().double().unsqueeze(-1)
            error = (values.cpu().double() * factor - truth).abs()
            least = torch.maximum(truth.abs() * E4M3_STEP, factor * E4M3_LEAST) * 1.01
            require(bool((error <= least).all()), "q8 or k8 is off by more than a step of e4m3")


def judge_reorder_tokens(
    result: Tensor, backend: str, x: Tensor, order: Tensor, heads: Tensor | None = None
) -> None:
    """Exactly the tokens that the order names, for the heads that are chosen."""
    del backend
    x, order, result = (y.cpu() for y in (x, order, result))
    index = order.expand(x.shape[:-1]).unsqueeze(-1).expand_as(x)
    exact = x.gather(2, index)
    exact = exact if heads is None else torch.where(heads.cpu()[..., None, None], exact, x)
    require(torch.equal(result, exact), "tokens are not where the order puts them")


JUDGES: dict[str, Callable[..., None]] = {
    "antidiagonal_mass": judge_antidiagonal_mass,
    "antidiagonal_scores": judge_antidiagonal_scores,
    "block_mass": judge_block_mass,
    "block_moments": judge_block_moments,
    "block_sparse_attention": judge_block_sparse_attention,
    "centroid_mass": judge_centroid_mass,
    "compensated_attention": judge_compensated_attention,
    "deal_budget": judge_deal_budget,
    "dense_attention": judge_dense_attention,
    "kmeans": judge_kmeans,
    "norm_rope": judge_norm_rope,
    "pool_blocks": judge_pool_blocks,
    "reorder_tokens": judge_reorder_tokens,
    "sampled_attention": judge_sampled_attention,
}


def _compare(
    actual: Tensor, rough: Tensor, exact: Tensor, name: str, least: float = 0.0, slack: float = 0.0
) -> None:
    require(actual.shape == exact.shape, f"{name} must be {list(exact.shape)}, got {list(actual.shape)}")
    assert_within(actual, rough.to(actual.dtype), exact, name, least, slack)
