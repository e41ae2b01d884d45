"""Scores of a shapes model: the table behind its model card."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import torch

from videosieve.errors import ModelError
from videosieve.fields import In, OneOf, Steps, check_fields
from videosieve.files import Claim, check_name, is_file, write_text
from videosieve.generation.media import make_folder
from videosieve.integrations.diffusers import sparsify
from videosieve.judging.batches import FinishedBatches, clear_batches
from videosieve.judging.evaluate import Evaluation, evaluate, unseen_captions
from videosieve.methods import Dense
from videosieve.planning.machine import describe_machine, describe_versions, weights_digest
from videosieve.report.pictures.training import write_sheet
from videosieve.shapes.training.train import CHECKPOINT
from videosieve.shapes.weights import cast, load_shapes, load_training_run

SHEET_VIDEOS = 16
UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Protocol:
    """How a model is scored.

    Attributes:
        prompts: Unseen captions, half of them with two objects, >= 1.
        held_out: Captions of combinations excluded from training, >= 0.
        steps: Denoising steps, >= 1.
        guidance: Guidance scale, >= 1; 1 is none.
        seed: Of captions and noise, 0 to 999.
        batch: Videos made at a time, >= 1.
        dtype: "float32", or "bfloat16": weights and arithmetic, as `videosieve generate --dtype bfloat16`.
        kernel: Of dense attention, as in `videosieve.Dense`; empty: torch's own, as in the untouched pipeline.

    Raises:
        ModelError: A value is outside its range.
        RecipeError: There is no such kernel.
    """

    prompts: Annotated[int, In("[1, 1000000]")] = 200
    held_out: Annotated[int, In("[0, 1000000]")] = 64
    steps: Steps = 20
    guidance: Annotated[float, In("[1, inf)")] = 3.0
    seed: Annotated[int, In("[0, 1000)")] = 0
    batch: Annotated[int, In("[1, 65536]")] = 8
    dtype: Annotated[str, OneOf(("float32", "bfloat16"))] = "float32"
    kernel: str = ""

    def __post_init__(self) -> None:
        check_fields(self, ModelError)
        if self.kernel:
            Dense(self.kernel)  # says which kernels there are


@dataclass(frozen=True)
class ScoreRow:
    """Scores of one set of captions.

    Attributes:
        videos: How many were judged.
        mean: Every score of videosieve.judging.judge.summarise.
        low: Lower ends of the 95 % intervals.
        high: Upper ends.
    """

    videos: int
    mean: dict[str, float]
    low: dict[str, float]
    high: dict[str, float]


@dataclass(frozen=True)
class Scores:
    """Scores of a model and where they come from.

    Attributes:
        model: Name or folder.
        protocol: How it was scored.
        rows: "all", "one object", "two objects", and "held out" where asked.
        evaluation: Videos and verdicts of the unseen captions.
    """

    model: str
    protocol: Protocol
    rows: dict[str, ScoreRow]
    evaluation: Evaluation


def score_model(
    model: str | Path,
    protocol: Protocol,
    watch: Callable[[int], None] = lambda _: None,
    folder: Path | None = None,
) -> Scores:
    """Make videos for unseen captions and judge them.

    Args:
        model: A bundled model, or a folder: an exported model, or a training run whose averaged weights are taken.
        protocol: How.
        watch: Called with the number of videos made so far.
        folder: Where finished videos are kept until `write_scores`, so that the same call goes on after a kill, with
            fewer or more captions too.

    Returns:
        The scores.

    Raises:
        ModelError: There is no such model.
        OutputError: The folder holds unfinished work of other settings, or another process works in it.
        BackendError: The kernel cannot run here.
    """
    if folder is not None:
        check_name(folder)
    in_training = is_file(Path(model) / CHECKPOINT)
    pipe = load_training_run(Path(model)) if in_training else load_shapes(model)
    pipe = cast(pipe, getattr(torch, protocol.dtype))
    settings = {
        "model": str(model),
        "weights": [weights_digest(part) for part in (pipe.transformer, pipe.text_encoder)],
        **{key: value for key, value in asdict(protocol).items() if key not in ("prompts", "held_out")},
        "versions": describe_versions(),
    }

    def judged(name: str, captions: list[str], before: int) -> Evaluation:
        return evaluate(
            pipe,
            captions,
            protocol.seed,
            protocol.steps,
            protocol.batch,
            guidance=protocol.guidance,
            watch=lambda made: watch(before + made),
            keeper=FinishedBatches(folder / UNFINISHED, name, settings) if folder else None,
        )

    captions = unseen_captions(protocol.prompts, protocol.seed)
    others = unseen_captions(protocol.held_out, protocol.seed, held_out=True) if protocol.held_out else []
    with ExitStack() as stack:
        if protocol.kernel:
            stack.enter_context(sparsify(pipe, "dense", kernel=protocol.kernel))
        if folder is not None:
            make_folder(folder)
            stack.enter_context(Claim(folder))
            stack.enter_context(_told_what_is_kept(folder))
        main = judged("unseen", captions, 0)
        rows = {"all": _row(main), **_rows_by_objects(main)}
        if others:
            rows["held out"] = _row(judged("held-out", others, protocol.prompts))
    return Scores(str(model), protocol, rows, main)


@contextmanager
def _told_what_is_kept(folder: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        batches = len(list((folder / UNFINISHED).glob("*.safetensors")))
        kept = f"{batches} batches of videos are kept in {str(folder)!r}"
        raise KeyboardInterrupt(f"{kept}; the same command goes on") from None


def _rows_by_objects(main: Evaluation) -> dict[str, ScoreRow]:
    rows = {}
    for count, name in ((1, "one object"), (2, "two objects")):
        part = [i for i, verdict in enumerate(main.verdicts) if len(verdict.seen) == count]
        if part:
            captions, verdicts = [main.captions[i] for i in part], [main.verdicts[i] for i in part]
            rows[name] = _row(Evaluation(captions, main.videos[part], verdicts))
    return rows


def _row(evaluation: Evaluation) -> ScoreRow:
    scores, ends = evaluation.scores, evaluation.intervals
    mean = {name: value for name, value in scores.items() if name != "videos"}
    low = {name: low for name, (low, _) in ends.items()}
    return ScoreRow(len(evaluation.verdicts), mean, low, {name: high for name, (_, high) in ends.items()})


def write_scores(scores: Scores, folder: Path) -> list[Path]:
    """Write scores.json and a sheet of the first videos.

    Args:
        scores: What was measured.
        folder: Made if missing; earlier files in it are replaced, and what `score_model` kept there goes.

    Returns:
        The files.

    Raises:
        OutputError: They cannot be written.
    """
    make_folder(folder)
    table, sheet = folder / "scores.json", folder / "samples.png"
    content = {
        "model": scores.model,
        "protocol": asdict(scores.protocol),
        "rows": {name: asdict(row) for name, row in scores.rows.items()},
        "machine": describe_machine(torch.device("cpu")),
        "versions": describe_versions(),
    }
    with Claim(folder):
        write_text(table, json.dumps(content, indent=2) + "\n")
        write_sheet(scores.evaluation.videos[:SHEET_VIDEOS], scores.evaluation.captions[:SHEET_VIDEOS], sheet)
        clear_batches(folder / UNFINISHED)
    return [table, sheet]
