"""What each accelerator of training buys: `python -m benchmarks.shapes_ablation`.

Short runs of shapes-s from the same random weights on the same clips, one setting changed at a time. Scored on clips
that training never saw, at fixed noise levels: the squared error of the predicted clip on its objects, and how much
of it the right caption takes away beside the caption of another clip (the first sign that a model reads). Resumable
by row.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track

from benchmarks.rows import read_rows, write_rows
from videosieve.judging.evaluate import UNSEEN
from videosieve.shapes.model import SIZES
from videosieve.shapes.training.objective import Batch, draw_batch, predict_velocity
from videosieve.shapes.training.phases import Draw, Phase
from videosieve.shapes.training.trainer import TrainConfig, Trainer

RESULTS = Path(__file__).parent / "results" / "shapes_ablation.json"
SIGMAS = (0.6, 0.9, 0.97)
CLIPS = 128
FIRST_SEED = UNSEEN + 7 * 10**6  # apart from the seeds of the judge's and of saliency's evaluation
PHASE = Phase(1.0, (Draw(2, 16),), two_objects=0.15)


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Attributes:
        phase: Changes of the phase.
        config: Changes of the configuration.
        predicts_clip: The network's output is read as the clip instead of the velocity; the loss stays the velocity's.
    """

    phase: dict[str, Any]
    config: dict[str, Any]
    predicts_clip: bool = False


VARIANTS = {
    "the others differ from this one": Variant({}, {}),
    "nothing but the seed": Variant({}, {"seed": 1}),
    "no extra weight on objects": Variant({"emphasis": 1.0}, {}),
    "predicts the clip": Variant({}, {}, predicts_clip=True),
    "noise levels sigmoid(N(1.1, 1)) alone": Variant({"levels": (1.1,)}, {}),
    "no caption dropped": Variant({"dropout": 0.0}, {}),
    "no reading loss": Variant({}, {"reading_steps": 0, "reading_weight": 0.0}),
    "noise levels sigmoid(N(0, 1))": Variant({"levels": (0.0,)}, {}),
    "objects weigh 6 instead of 3": Variant({"emphasis": 6.0}, {}),
    "3 of 10 captions dropped": Variant({"dropout": 0.3}, {}),
    "Muon for hidden matrices, AdamW for the rest": Variant({}, {"muon": True}),
}


def read_as_clip(trainer: Trainer) -> Any:
    """Have the transformer predict the clip x0; what it returns is still the velocity (noisy − x0) / sigma."""

    def velocity(
        _module: Any, _args: Any, given: dict[str, Any], output: tuple[torch.Tensor]
    ) -> tuple[torch.Tensor]:
        sigma = (given["timestep"] / 1000).clamp(min=0.05)[:, None, None, None, None]
        return ((given["hidden_states"] - output[0].float()) / sigma,)

    return trainer.networks.transformer.register_forward_hook(velocity, with_kwargs=True)


def train(variant: Variant, samples: int) -> Trainer:
    """One short run; its averaged weights are in place when this returns."""
    phase = replace(PHASE, **variant.phase)
    # Compiling takes longer than so short a run.
    config = {"muon": False, "compile": False, "warmup": samples // 10, **variant.config}
    trainer = Trainer(TrainConfig("shapes-s", samples=samples, phases=(phase,), **config))
    if variant.predicts_clip:
        read_as_clip(trainer)
    for _ in track(range(-(-samples // PHASE.draws[0].batch)), "steps", console=Console(stderr=True)):
        trainer.step()
    trainer.trained.load_state_dict(trainer.average)
    return trainer


@torch.inference_mode()
def clip_error(trainer: Trainer, batch: Batch, sigma: float, roll: int) -> float:
    """Mean squared error of the predicted clip on its objects.

    Args:
        trainer: With the weights to judge.
        batch: Unseen clips, objects weighing more than 1.
        sigma: Noise level of all clips.
        roll: Captions are those of the clip this many places on.

    Returns:
        The error; latents have about unit variance.
    """
    ids, real = (tensor.roll(roll, 0) for tensor in (batch.input_ids, batch.attention_mask))
    seen = replace(batch, sigma=torch.full_like(batch.sigma, sigma), input_ids=ids, attention_mask=real)
    error = (sigma * (predict_velocity(trainer.networks, seen)[0] - (batch.noise - batch.latents))).square()
    objects = batch.weight > 1
    return float((error * objects).sum() / (objects.sum() * error.shape[1]))


def score(name: str, variant: Variant, samples: int) -> dict[str, Any]:
    """Train a variant and judge it."""
    trainer = train(variant, samples)
    networks = trainer.networks
    seeds = FIRST_SEED + torch.arange(CLIPS)
    unseen = replace(PHASE, dropout=0.0)
    batch = draw_batch(seeds, 2, SIZES["shapes-s"].pixels, unseen, networks.tokenizer, networks.codec)
    trainer.trained.eval()
    own, others = ([clip_error(trainer, batch, sigma, roll) for sigma in SIGMAS] for roll in (0, 1))
    return {"name": name, "minutes": trainer.spent / 60, "error": own, "error_with_other_captions": others}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as Markdown."""
    levels = [f"error at {sigma}" for sigma in SIGMAS] + [
        f"caption takes away at {sigma}" for sigma in SIGMAS
    ]
    titles = ["run", "minutes", *levels]
    lines = ["| " + " | ".join(titles) + " |", "|" + " --- |" * len(titles)]
    for row in rows:
        errors = [f"{value:.3f}" for value in row["error"]]
        pairs = zip(row["error"], row["error_with_other_captions"], strict=True)
        gains = [f"{1 - own / other:.0%}" for own, other in pairs]
        lines.append("| " + " | ".join([row["name"], f"{row['minutes']:.1f}", *errors, *gains]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Train the variants that are missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--samples", type=int, default=3200, help="clips of two frames a run, >= 16")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    results = read_rows(given.output, {"samples": given.samples, "clips": CLIPS, "sigmas": list(SIGMAS)})
    done = {row["name"] for row in results["rows"]}
    for name, variant in VARIANTS.items():
        if name not in done:
            results["rows"].append(score(name, variant, given.samples))
            write_rows(given.output, results)
            print(table(results["rows"][-1:]).splitlines()[-1], flush=True)
    print(table(results["rows"]))


if __name__ == "__main__":
    main()
