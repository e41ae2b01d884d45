"""ConceptAttention's arithmetic: a few concept tokens attend to the video and are compared with it.

Helbling et al., "ConceptAttention: Diffusion Transformers Learn Highly Interpretable Features", arXiv:2502.04320,
equations 5 to 12. Sums run in fp32 over slices of the video, so nothing as long as the video is copied.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from videosieve.errors import PromptError

SLICE = 8192  # video tokens that are converted to fp32 at a time

Sight = Literal["both", "video", "concepts", "none"]
SIGHTS: tuple[Sight, ...] = get_args(Sight)


def normalise_concepts(concepts: Sequence[str]) -> tuple[str, ...]:
    """Check concept words.

    Args:
        concepts: Words or short phrases.

    Returns:
        The same, outer and doubled white space taken out.

    Raises:
        PromptError: There is none, one is empty, or two are the same.
    """
    if isinstance(concepts, str):
        raise PromptError(
            f"concepts must be a list of words or phrases, got the text {concepts!r}; give [{concepts!r}]"
        )
    if not all(isinstance(concept, str) for concept in concepts):
        raise PromptError(f"concepts must be words or phrases, got {list(concepts)}")
    names = tuple(" ".join(concept.split()) for concept in concepts)
    if not names or "" in names:
        raise PromptError(
            f"saliency needs at least one concept, and none of them empty; got {list(concepts)}"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise PromptError(f"every concept must be given once; {', '.join(map(repr, twice))} came up again")
    return names


def attend_concepts(
    concepts: tuple[Tensor, Tensor, Tensor], video: tuple[Tensor, Tensor], scale: float, sight: Sight = "both"
) -> Tensor:
    """Concept tokens attend to the video and to one another; nothing attends to them (equations 5 to 7).

    Args:
        concepts: Their queries, keys and values [batch or 1, heads, concepts, head_dim].
        video: Keys and values of the video [batch, heads, tokens, head_dim].
        scale: Factor on every q·k.
        sight: What concepts see. "both" is the method; "video", "concepts" and "none" (each returns its own value)
            are the paper's ablations.

    Returns:
        fp32 [batch, heads, concepts, head_dim], before the output projection.
    """
    q, own_keys, own_values = (x.float() for x in concepts)
    keys, values = video
    if sight == "none":
        return own_values.expand(keys.shape[0], -1, -1, -1)
    seen = [] if sight == "concepts" else list(zip(keys.split(SLICE, 2), values.split(SLICE, 2), strict=True))
    if sight != "video":
        seen.append((own_keys, own_values))
    batch = keys.shape[0]
    scores = torch.cat([(q * scale @ part.float().mT).expand(batch, -1, -1, -1) for part, _ in seen], -1)
    weights = scores.softmax(-1).split([part.shape[2] for part, _ in seen], -1)
    output = weights[0] @ seen[0][1].float()
    for share, (_, part) in zip(weights[1:], seen[1:], strict=True):
        output += share @ part.float()
    return output


def output_scores(outputs: Tensor, concepts: Tensor) -> Tensor:
    """Attention outputs of the video against those of the concepts, heads joined (equation 11).

    Args:
        outputs: Of the video, before the output projection [batch, heads, tokens, head_dim].
        concepts: Of the concepts, likewise [batch, heads, concepts, head_dim].

    Returns:
        fp32 dot products [batch, concepts, tokens].
    """
    parts = [
        torch.einsum("bhnd,bhrd->brn", part.float(), concepts.float()) for part in outputs.split(SLICE, 2)
    ]
    return torch.cat(parts, -1)


def linear_vectors(concepts: Tensor) -> Tensor:
    """The authors' linear normalisation, entry by entry over the concepts: least taken away, divided by the sum.

    `linear_normalization(…, dim=concepts)` of concept_attention/utils.py, which their segmentation applies by default.

    Args:
        concepts: [batch, heads, concepts, head_dim].

    Returns:
        The same shape; entries in [0, 1] that add up to 1 over the concepts, or are all 0 where they were all equal.
    """
    above = concepts - concepts.amin(2, keepdim=True)
    total = above.sum(2, keepdim=True)
    return above / torch.where(total == 0, 1.0, total)


def key_scores(queries: Tensor, keys: Tensor, scale: float) -> Tensor:
    """Queries of the video against keys of the concepts, mean over heads: cross-attention (equation 12).

    Args:
        queries: Of the video [batch, heads, tokens, head_dim].
        keys: Of the concepts [batch or 1, heads, concepts, head_dim].
        scale: Factor on every q·k.

    Returns:
        fp32 [batch, concepts, tokens].
    """
    factor = scale / queries.shape[1]
    return output_scores(queries, keys.expand(queries.shape[0], -1, -1, -1)) * factor


def to_probabilities(scores: Tensor, temperature: float = 1.0) -> Tensor:
    """Softmax over concepts.

    Args:
        scores: [batch, concepts, tokens].
        temperature: Above 0; the paper's is 1, higher values are softer.

    Returns:
        [batch, concepts, tokens]; sums to 1 over the concepts, so a single concept gets 1 everywhere.
    """
    return (scores / temperature).softmax(1)
