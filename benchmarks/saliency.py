"""How well saliency finds objects, against rendered masks: `python -m benchmarks.saliency`, and `--pictures FOLDER`.

Rendered clips that training never saw are encoded, brought to several noise levels and shown to the bundled model once
per level. The concepts are the objects ("red circle") and the background; a pixel belongs to the concept that wins
there. Scored per layer and noise level, for ConceptAttention, its ablations (what concepts attend to) and
cross-attention maps. Every clip is written down at once, by a fingerprint of the weights, so an interrupted run goes on
where it stopped and other weights start anew. Prints Markdown tables; writes them and all figures to the output.
"""

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from benchmarks.saliency_aim import measure_aim
from benchmarks.saliency_clips import STEPS, name_concepts, render_clip
from benchmarks.saliency_pictures import draw_pictures
from benchmarks.saliency_tables import report
from videosieve.concepts import SaliencyMaps, SaliencyMethod
from videosieve.files import write_text
from videosieve.generation.load import load_pipeline
from videosieve.integrations.diffusers import describe
from videosieve.integrations.diffusers.concepts.question import Question
from videosieve.integrations.diffusers.concepts.saliency import make_question, saliency_of_video
from videosieve.judging.evaluate import UNSEEN
from videosieve.metrics import Counts, average_precision
from videosieve.planning.machine import describe_machine, describe_versions

RESULTS = Path(__file__).parent / "results" / "saliency.json"
WORK = Path("runs") / "saliency"
FIRST_SEED = UNSEEN + 5 * 10**6  # apart from the seeds of the judge's evaluation
AIM_CLIPS = 20
LEVELS = (1, 3, 5, 7, 8, 9)  # of the 10 steps: from almost noise to almost the video
VARIANTS: dict[str, SaliencyMethod] = {
    "concept": SaliencyMethod(),
    "concept, sees the video only": SaliencyMethod(sight="video"),
    "concept, sees concepts only": SaliencyMethod(sight="concepts"),
    "concept, sees nothing": SaliencyMethod(sight="none"),
    "cross_attention": SaliencyMethod("cross_attention"),
}
SITES = 2  # raised when a clip's file gets other sites, so that older files are not taken for finished
Scores = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Score:
    """How well maps find the objects of some clips.

    Attributes:
        counts: Pixels of all objects, each against everything else.
        right: Pixels whose winning concept is right, of all concepts.
        pixels: All pixels.
        precisions: Average precision of every object's map.
    """

    counts: Counts
    right: int
    pixels: int
    precisions: tuple[float, ...]

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.counts + other.counts,
            self.right + other.right,
            self.pixels + other.pixels,
            self.precisions + other.precisions,
        )

    def as_json(self) -> dict[str, float]:
        """The figures, rounded to four digits."""
        figures = {
            "pixel_accuracy": self.right / self.pixels,
            "miou": self.counts.miou,
            "object_iou": self.counts.iou,
            "pooled_miou": self.counts.pooled_miou,
            "average_precision": sum(self.precisions) / len(self.precisions),
        }
        return {name: round(value, 4) for name, value in figures.items()}


def score_maps(maps: Tensor, truth: Tensor) -> Score:
    """Score the maps of one clip.

    Args:
        maps: [objects + 1, frames, height, width]; the background comes last.
        truth: bool masks of the same shape; exactly one is true at every pixel.

    Returns:
        The score.
    """
    winners = maps.argmax(0)
    predicted = torch.stack([winners == index for index in range(len(maps))])
    objects = range(len(maps) - 1)
    counts = sum((Counts.of(predicted[i], truth[i]) for i in objects), Counts())
    precisions = tuple(average_precision(maps[i], truth[i]) for i in objects if truth[i].any())
    return Score(counts, int((predicted & truth).sum()), winners.numel(), precisions)


def evaluate_clip(pipe: Any, seed: int, levels: tuple[int, ...] = LEVELS) -> dict[str, dict[str, Score]]:
    """Score every variant on one rendered clip.

    Args:
        pipe: A shapes pipeline.
        seed: Of the clip and of the noise.
        levels: Steps of `STEPS` whose noise level is looked at.

    Returns:
        Scores by variant and site: "layer L, step S", "default", "every layer" and "all".
    """
    clip = render_clip(seed, pipe.vae.sample_size)
    concepts = name_concepts(clip.factors)

    def look(*questions: Question) -> list[SaliencyMaps]:
        generator = torch.Generator().manual_seed(seed)
        return saliency_of_video(
            pipe, clip.video, clip.caption, questions, num_inference_steps=STEPS, generator=generator
        )

    usual = look(*(make_question(concepts, method) for method in VARIANTS.values()))
    steps, layers = sorted({*levels, *usual[0].steps}), range(describe(pipe)[0].layers)
    kept = [replace(method, keep="sites") for method in VARIANTS.values()]
    found = look(*(make_question(concepts, method, layers, steps) for method in kept))
    return {
        name: {site: score_maps(maps, clip.truth) for site, maps in sites_of(everywhere, default).items()}
        for name, everywhere, default in zip(VARIANTS, found, usual, strict=True)
    }


def sites_of(found: SaliencyMaps, usual: SaliencyMaps) -> dict[str, Tensor]:
    """Maps as large as the video: of the default layers, of every layer, of all steps too, and of every site."""

    def mean(layers: tuple[int, ...]) -> Tensor:
        return torch.stack([found.parts[layer, step] for layer in layers for step in usual.steps]).mean(0)

    chosen = {"default": mean(usual.layers), "every layer": mean(found.layers), "all": found.maps}
    chosen |= {f"layer {layer}, step {step}": maps for (layer, step), maps in found.parts.items()}
    return {site: replace(found, maps=maps).upsample() for site, maps in chosen.items()}


def evaluate(
    pipe: Any, clips: int, work: Path, levels: tuple[int, ...] = LEVELS
) -> dict[str, dict[str, Score]]:
    """Score clips, each once: what lies in `work` is read and not computed again.

    Args:
        pipe: A shapes pipeline.
        clips: How many.
        work: Folder with one file a clip; made if missing.
        levels: As for `evaluate_clip`.

    Returns:
        Scores summed over clips, by variant and site.
    """
    work.mkdir(parents=True, exist_ok=True)
    total: dict[str, dict[str, Score]] = {}
    for number in track(range(clips), "clips", console=Console(stderr=True)):
        path = work / f"{number:05d}.json"
        if not path.is_file():
            scores = evaluate_clip(pipe, FIRST_SEED + number, levels)
            write_text(path, json.dumps(_plain(scores)) + "\n")
        for name, sites in _restore(json.loads(path.read_text(encoding="utf-8"))).items():
            for site, score in sites.items():
                before = total.setdefault(name, {}).get(site)
                total[name][site] = score if before is None else before + score
    return total


def _plain(scores: dict[str, dict[str, Score]]) -> Scores:
    return {name: {site: asdict(score) for site, score in sites.items()} for name, sites in scores.items()}


def _restore(plain: Scores) -> dict[str, dict[str, Score]]:
    def score(values: dict[str, Any]) -> Score:
        return Score(
            Counts(**values["counts"]), values["right"], values["pixels"], tuple(values["precisions"])
        )

    return {name: {site: score(values) for site, values in sites.items()} for name, sites in plain.items()}


def fingerprint(pipe: Any) -> str:
    """Eight digits of the weights and default layers, so that no clip of others is taken for finished."""
    digest = hashlib.sha256(f"{SITES} {pipe.config.get('saliency_layers')}".encode())
    for part in (pipe.transformer, pipe.text_encoder):
        for name, tensor in sorted(part.state_dict().items()):
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:8]


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Score saliency maps against rendered masks.")
    parser.add_argument("--model", default="shapes-s", help="a bundled model, or a folder with one")
    parser.add_argument("--clips", type=int, default=120, help="rendered clips, >= 1")
    parser.add_argument(
        "--work", type=Path, default=None, help=f"folder of finished clips; default {WORK}/MODEL-FINGERPRINT"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="JSON file to write")
    parser.add_argument(
        "--pictures", type=Path, default=None, help="draw pictures into this folder, score nothing"
    )
    parser.add_argument("--steps", type=int, default=None, help="denoising steps of generated pictures, >= 1")
    return parser.parse_args()


def main() -> None:
    options = read_options()
    pipe = load_pipeline(options.model, "cpu")
    if options.pictures is not None:
        for path in draw_pictures(pipe, options.pictures, FIRST_SEED, options.steps):
            print(path)
        return
    looked_at = [
        render_clip(FIRST_SEED + i, pipe.vae.sample_size) for i in range(min(options.clips, AIM_CLIPS))
    ]
    name, marks = Path(options.model).name, fingerprint(pipe)
    total = evaluate(pipe, options.clips, options.work or WORK / f"{name}-{marks}")
    results = {
        "model": name,
        "weights": marks,
        "clips": options.clips,
        "steps": STEPS,
        "levels": list(LEVELS),
        "machine": describe_machine(torch.device("cpu")),
        "versions": describe_versions(),
        "scores": {
            key: {site: score.as_json() for site, score in sites.items()} for key, sites in total.items()
        },
        "aim": measure_aim(pipe, looked_at),
    }
    write_text(options.output, json.dumps(results, indent=1) + "\n")
    print(report(results))


if __name__ == "__main__":
    main()
