"""Pictures for the documentation: concepts in generated and given videos, and heads of the inspector.

`python -m benchmarks.saliency --pictures docs/images` makes them with the bundled weights.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import videosieve
from benchmarks.saliency_clips import STEPS, name_concepts, render_clip
from videosieve.concepts import SaliencyMaps, SaliencyMethod
from videosieve.concepts.maps import COLOURS
from videosieve.files import whole_file
from videosieve.inspection import MEASURES, Inspection, Spot
from videosieve.integrations.diffusers.concepts.saliency import make_question, saliency_of_video
from videosieve.report.pictures.inspection import plot_heads, plot_reading

PROMPT = "a large red circle moves left over a striped background"
CONCEPTS = ["red circle", "striped background"]
FRAMES = (0, 3, 7, 11, 15)
GIVEN = 5  # clips against their masks


def draw_pictures(pipe: Any, folder: Path, first_seed: int, steps: int | None = None) -> list[Path]:
    """Make every picture.

    Args:
        pipe: The bundled pipeline.
        folder: Where to; made if missing.
        first_seed: Of the rendered clips.
        steps: Denoising steps of generated videos; None takes the model's own number.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    options = {"generator": torch.Generator().manual_seed(0)} | (
        {} if steps is None else {"num_inference_steps": steps}
    )
    found = videosieve.saliency(pipe, PROMPT, CONCEPTS, **options)
    draw_generated(found, folder / "saliency_generated.png")
    draw_given(pipe, first_seed, folder / "saliency_given.png")
    target = pipe.transformer
    options["generator"] = torch.Generator().manual_seed(0)
    seen = videosieve.inspect_attention(
        pipe, PROMPT, layers=range(len(target.transformer_blocks) + len(target.single_transformer_blocks)),
        heads=range(target.config.num_attention_heads), recipe=videosieve.Recipe.of("svg", density=0.3), **options,
    )  # fmt: skip
    names = ["saliency_generated.png", "saliency_given.png"]
    for pattern, measure in (("spatial", "own_frame"), ("temporal", "own_place")):
        spot = clearest(seen, pattern, measure)
        if spot is not None:
            plot_reading(seen, spot, folder / f"inspection_{pattern}.png")
            names.append(f"inspection_{pattern}.png")
    plot_heads(seen, seen.steps[0], folder / "inspection_heads.png")
    return [folder / name for name in [*names, "inspection_heads.png"]]


def clearest(seen: Inspection, pattern: str, measure: str) -> Spot | None:
    """The head of a pattern with most of its mass where the pattern says; None where no head has the pattern."""
    spots = [spot for spot, reading in seen.readings.items() if reading.pattern == pattern]
    step = {step: index for index, step in enumerate(seen.steps)}
    row = MEASURES.index(measure)
    return max(spots, key=lambda s: float(seen.atlas[row, step[s.step], s.layer, s.head]), default=None)


def draw_generated(found: SaliencyMaps, path: Path) -> None:
    """Frames of a generated video, the same with all concepts in their colours, and a heat map of each."""
    rows = {"the video": found.overlay(strength=0.0), "all concepts": found.overlay()}
    rows |= {concept: found.overlay(concept=concept, strength=0.8) for concept in found.concepts}
    colours = {concept: COLOURS[i % len(COLOURS)] for i, concept in enumerate(found.concepts)}
    pictures = {name: [frames[i] for i in FRAMES] for name, frames in rows.items()}
    _draw_grid(pictures, [f"frame {i}" for i in FRAMES], path, colours)


def draw_given(pipe: Any, first_seed: int, path: Path) -> None:
    """Middle frames of rendered clips: the clip, its masks, and where each method sees the objects."""
    rows: dict[str, list[Tensor]] = {"given": [], "true masks": [], "concept": [], "cross_attention": []}
    titles = []
    for number in range(GIVEN):
        clip = render_clip(first_seed + number, pipe.vae.sample_size)
        concepts = name_concepts(clip.factors)
        questions = [make_question(concepts, SaliencyMethod(name)) for name in ("concept", "cross_attention")]
        found = saliency_of_video(
            pipe, clip.video, clip.caption, questions, num_inference_steps=STEPS,
            generator=torch.Generator().manual_seed(first_seed + number),
        )  # fmt: skip
        middle = len(clip.video) // 2
        rows["given"].append(clip.video[middle])
        rows["true masks"].append(paint(clip.truth.float(), clip.video)[middle])
        for maps in found:
            winners = maps.upsample().argmax(0)
            masks = torch.stack([winners == index for index in range(len(concepts))])
            rows[maps.method].append(paint(masks.float(), clip.video)[middle])
        titles.append("\n".join(concepts[:-1]))
    _draw_grid(rows, titles, path, {})


def paint(masks: Tensor, video: Tensor, strength: float = 0.7) -> Tensor:
    """A video in grey with objects in their colours; the background, which comes last, gets none."""
    colours = torch.tensor([*COLOURS[: len(masks) - 1], (0.5, 0.5, 0.5)])
    grey = video.mean(1, keepdim=True)
    return grey * (1 - strength) + strength * torch.einsum("rthw,rc->tchw", masks, colours)


def _draw_grid(rows: dict[str, list[Tensor]], titles: list[str], path: Path, colours: dict[str, Any]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.55 * len(titles) + 1.1, 1.55 * len(rows) + 0.35), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(rows), len(titles), squeeze=False)
    for line, (name, pictures) in zip(grid, rows.items(), strict=True):
        for axes, picture in zip(line, pictures, strict=True):
            axes.imshow(picture.permute(1, 2, 0).clamp(0, 1).numpy(), interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.spines[:].set_visible(False)
        line[0].set_ylabel(name.replace(" ", "\n", 1), rotation=0, ha="right", va="center", fontsize=9)
        line[0].yaxis.label.set_color(colours.get(name, "black"))
    for axes, title in zip(grid[0], titles, strict=True):
        axes.set_title(title, fontsize=8)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=150)
