"""The few directions in which the scores of a head vary: a space where distance is difference of scores.

Most of what tells one key from another is where they lie along a few directions that the queries have. Two maps of one
factorization put queries and keys there: scale · q·k ≈ query·key, and two keys are as far apart as the scores that the
head's queries give them differ, root mean square. Clusters that are made there are alike in what attention sees of them
and may differ in all that it does not look at, and an iteration of k-means costs a fraction of one on whole tokens.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from videosieve.kernels.kmeans import draw_places

LEAST_AXES, MOST_AXES = 8, 16
HEAD_DIM_PER_AXIS = 4
VALUE_AXES = 4
MOST_TOKENS = 512
"""Of which moments are taken: those of 64 or 128 dimensions need no more."""
RIDGE = 1e-4
"""Share of the mean square of a query's values that is added to each: directions that no query has stay invertible."""


class ScoreSpace(NamedTuple):
    """Maps of every head, fp32 (fp64 for fp64 tokens).

    Attributes:
        queries: [batch, heads, head_dim, axes].
        keys: [batch, heads, head_dim, axes].
        middle: [batch, heads, 1, axes]; the mean key on them.
        values: [batch, heads, head_dim, value axes].
        reach: [batch, heads, axes]; root mean square of the keys along every axis. Two queries times reach are as far
            apart as the scores that they give to the head's keys, two keys as those that the head's queries give them.
    """

    queries: Tensor
    keys: Tensor
    middle: Tensor
    values: Tensor
    reach: Tensor

    def see(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys [batch, heads, tokens, head_dim] in this space [batch, heads, tokens, axes].

        Queries have second moments of 1 along every axis; keys are about their mean, so that query · key ≈ scale · q·k
        but for what all keys share.
        """
        return self.see_queries(q), _mapped(k, self.keys) - self.middle

    def see_queries(self, q: Tensor) -> Tensor:
        """Queries, or means of them, [batch, heads, tokens, axes]."""
        return _mapped(q, self.queries)

    def see_values(self, v: Tensor) -> Tensor:
        """Values in the directions in which they vary most, lengths kept [batch, heads, tokens, value axes]."""
        return _mapped(v, self.values)

    def points(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Both where distance is difference of scores, to cluster them."""
        queries, keys = self.see(q, k)
        return queries * self.reach.unsqueeze(-2), keys


def score_space(q: Tensor, k: Tensor, v: Tensor, scale: float) -> ScoreSpace:
    """The space of every head: a quarter of head_dim as axes, 8 to 16, in which its scores vary most.

    With the second moments C_q of the queries, those C_k of the keys about their mean, and C_q = L Lᵀ, the axes are the
    first eigenvectors U of scale² Lᵀ C_k L. Keys go to scale Uᵀ Lᵀ k, queries to Uᵀ L⁻¹ q, and the roots of the
    eigenvalues are the reach. Values go to the first eigenvectors of their covariance.

    Args:
        q: Queries [batch, heads, tokens, head_dim].
        k: Keys, likewise.
        v: Values, likewise.
        scale: Factor on every q·k.

    Returns:
        The maps. What is NaN or infinite in q, k and v counts as 0.
    """
    wide = torch.promote_types(q.dtype, torch.float32)
    if q.shape[2] > MOST_TOKENS:
        places = draw_places(q.shape[2], MOST_TOKENS, 0, 1)[0].to(q.device)
        q, k, v = (x[:, :, places] for x in (q, k, v))
    q, k, v = (x.to(wide).nan_to_num(0.0, 0.0, 0.0) for x in (q, k, v))
    # Squares of what is very large or small would leave the range of fp32.
    (q, of_q), (k, of_k), (v, _) = map(_to_unit, (q, k, v))
    head_dim = q.shape[-1]
    axes = min(max(head_dim // HEAD_DIM_PER_AXIS, LEAST_AXES), MOST_AXES, head_dim)
    moments = q.mT @ q / q.shape[2]
    ridge = moments.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True) * RIDGE + torch.finfo(wide).eps ** 2
    root = torch.linalg.cholesky(moments + torch.diag_embed(ridge.expand(*ridge.shape[:2], head_dim)))
    variance, axis = _most(root.mT @ _covariance(k) @ root, axes)
    back = torch.linalg.solve_triangular(root.mT, axis, upper=True)
    _, of_values = _most(_covariance(v), min(VALUE_AXES, head_dim))
    reach = variance.clamp(min=0).sqrt() * (of_q * of_k).squeeze(-1) * scale
    of_keys = root @ axis * (of_q * scale)
    middle = (k.mean(2, keepdim=True) * of_k) @ of_keys
    return ScoreSpace(back / of_q, of_keys, middle, of_values, reach.abs())


def _to_unit(x: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens ÷ the largest absolute value of their head, and that value [batch, heads, 1, 1]; 1 where all are 0."""
    largest = x.abs().amax((-1, -2), keepdim=True)
    largest = torch.where(largest > 0, largest, 1.0)
    return x / largest, largest


def _mapped(x: Tensor, to: Tensor) -> Tensor:
    """x · to, head by head: one batch element after another where heads lie inside tokens, which saves a copy of x."""
    x = x.to(to.dtype)
    if len(x) == 1 or x.is_contiguous():
        return x @ to
    return torch.stack([one @ own for one, own in zip(x, to, strict=True)])


def _covariance(x: Tensor) -> Tensor:
    x = x - x.mean(2, keepdim=True)
    return x.mT @ x / x.shape[2]


def _most(moments: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalues, descending, and their vectors as columns."""
    values, vectors = torch.linalg.eigh(moments)
    return values.flip(-1)[..., :count], vectors.flip(-1)[..., :count]
