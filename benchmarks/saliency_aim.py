"""How well the attention of concepts is aimed at their objects: why one ablation of saliency beats another.

ConceptAttention compares the video with what concepts gather from it, so it lives from concepts that look at their own
object. Where they look everywhere alike, what they gather is the mean video, the same for all concepts.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool3d, normalize

from benchmarks.saliency_clips import name_concepts
from videosieve.integrations.diffusers import describe
from videosieve.integrations.diffusers.concepts import probes as concept_probes
from videosieve.integrations.diffusers.concepts.saliency import make_question, saliency_of_video

Heads = tuple[Tensor, Tensor, Tensor]  # weights on the video, outputs, values of the concepts


def measure_aim(pipe: Any, clips: Sequence[Any], steps: int = 10) -> list[dict[str, float]]:
    """Look at the attention of concepts at the noise level nearest one half.

    Args:
        pipe: The bundled pipeline.
        clips: Rendered clips with `video`, `caption`, `factors` and `truth`.
        steps: Denoising steps between which the level is chosen.

    Returns:
        By layer, means over objects: `aim`, the share of a concept's attention to the video that lies on its object ÷
        the object's share of the area (1 is no aim), mean over heads; `best_head`, the same of the best head; the
        cosine between what object and background gather (`output_likeness`) and between their values
        (`value_likeness`).
    """
    rows: list[list[list[float]]] = []
    for clip in clips:
        with _recorded() as layers:
            question = make_question(name_concepts(clip.factors), layers=range(describe(pipe)[0].layers))
            generator = torch.Generator().manual_seed(0)
            (found,) = saliency_of_video(
                pipe, clip.video, clip.caption, [question], num_inference_steps=steps, generator=generator
            )
        frames, height, width = found.maps.shape[1:]
        areas = adaptive_avg_pool3d(clip.truth[:-1, None].float(), (frames, height, width)).flatten(1)
        rows = rows or [[] for _ in layers]
        for row, seen in zip(rows, layers, strict=True):
            row += [_aim(seen, area, index) for index, area in enumerate(areas) if area.any()]
    names = ("aim", "best_head", "output_likeness", "value_likeness")
    means = [torch.tensor(row).mean(0).tolist() for row in rows]
    return [dict(zip(names, (round(value, 4) for value in mean), strict=True)) for mean in means]


def _aim(seen: Heads, area: Tensor, index: int) -> list[float]:
    weights, outputs, values = seen
    mine = weights[:, index]
    ratio = (mine * area).sum(-1) / mine.sum(-1) / area.mean()
    alike = [float(normalize(x, dim=-1)[index] @ normalize(x, dim=-1)[-1]) for x in (outputs, values)]
    return [float(ratio.mean()), float(ratio.max()), *alike]


@contextmanager
def _recorded() -> Iterator[list[Heads]]:
    """Attention of concepts in every layer of the forwards inside the block."""
    seen: list[Heads] = []
    original = concept_probes.attend_concepts

    def attend(concepts: Any, video: Any, scale: float, sight: Any = "both") -> Tensor:
        output = original(concepts, video, scale, sight)
        q, k, v = (x.float() for x in concepts)
        keys = video[0].float()
        weights = (torch.cat([q @ keys.mT, q @ k.mT], -1) * scale).softmax(-1)[..., : keys.shape[2]]
        joined = [x.expand_as(output)[0].transpose(0, 1).flatten(1) for x in (output, v)]
        seen.append((weights[0], joined[0], joined[1]))
        return output

    concept_probes.attend_concepts = attend
    try:
        yield seen
    finally:
        concept_probes.attend_concepts = original
