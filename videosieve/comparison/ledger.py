"""What a comparison has finished, noted run by run, so that the same command goes on after an interruption.

The ledger lies in the results folder while videos are missing, and goes with the last one. Beside it lies the baseline
of the scene at work, its frames and latent as they were measured: a video file is not exact, and making the dense video
again would cost the longest run of all.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from videosieve.comparison.plan import Plan
from videosieve.errors import OutputError
from videosieve.fields import checked, from_table
from videosieve.files import (
    AppendLog,
    decode,
    is_file,
    name_differences,
    parse_json,
    read_bytes,
    read_tensors,
    write_tensors,
)
from videosieve.generation.generate import Clip
from videosieve.generation.parts import execution_device
from videosieve.planning.machine import describe_machine, describe_versions, weights_digest
from videosieve.report import ClipResult
from videosieve.trace import Trace

LEDGER = "unfinished.jsonl"


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the warm-up found.

    Attributes:
        dense_kernel: The kernel that computes the baseline's attention.
        floor: The kernel of the noise floor; empty where there is none.
        reason: Why there is no floor; empty where none was wanted.
    """

    dense_kernel: str
    floor: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class _Take:
    """What stands beside the result of a run."""

    scene: int
    repeat: int
    also: dict[str, dict]


class Ledger(AppendLog):
    """The ledger of one comparison, open and locked; see `AppendLog`.

    Args:
        folder: The results folder.
        settings: As `settings_of` gives them.
    """

    kind = "comparison"

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        super().__init__(folder / LEDGER, {"settings": settings})

    @property
    def prepared(self) -> Prepared | None:
        """What the first warm-up found; None before it."""
        return next((Prepared(**line["found"]) for line in self._of_kind("prepared")), None)

    @property
    def starts(self) -> list[str]:
        """When work began, and every time when it went on with something finished; ISO 8601."""
        marks = [line for line in self.lines if line["kind"] in ("start", "take")]
        return [
            line["at"]
            for index, line in enumerate(marks)
            if line["kind"] == "start" and (index == 0 or marks[index - 1]["kind"] == "take")
        ]

    def takes(self, scene: int) -> dict[str, list[tuple[ClipResult, dict[str, Any]]]]:
        """The finished runs of a scene by method, in the order of their repeats, each with what else was noted."""
        found: dict[str, dict[int, tuple[ClipResult, dict[str, Any]]]] = {}
        for line in self._of_kind("take"):
            if line["scene"] == scene:
                row = ClipResult.from_json(line["row"])
                found.setdefault(row.method, {})[line["repeat"]] = row, line["also"]
        return {name: [by[repeat] for repeat in sorted(by)] for name, by in found.items()}

    def note_start(self, at: str) -> None:
        """Work begins, or goes on."""
        self.append({"kind": "start", "at": at})

    def note_prepared(self, found: Prepared) -> None:
        """The warm-up is over."""
        self.append({"kind": "prepared", "found": asdict(found)})

    def note_take(self, scene: int, repeat: int, row: ClipResult, also: dict[str, Any]) -> None:
        """A run is finished, and its files are on disk."""
        self.append({"kind": "take", "scene": scene, "repeat": repeat, "row": asdict(row), "also": also})

    def check(self, line: dict[str, Any]) -> None:
        """Every line is one of the three kinds."""
        if line["kind"] == "prepared":
            from_table(Prepared, line["found"], "it", OutputError)
        elif line["kind"] == "take":
            ClipResult.from_json(line["row"])
            from_table(_Take, {key: line[key] for key in ("scene", "repeat", "also")}, "it", OutputError)
        else:
            checked("at", line["at"], str, OutputError)

    def explain(self, theirs: dict[str, Any], ours: dict[str, Any]) -> str:
        """Names the settings that differ."""
        return _explain(theirs["settings"], ours["settings"])

    def _of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line["kind"] == kind]


def _explain(theirs: dict[str, Any], ours: dict[str, Any]) -> str:
    return (
        f"holds an interrupted comparison with other settings ({name_differences(theirs, ours)}); "
        f"repeat them to go on with it, or delete the folder to begin anew"
    )


def is_interrupted(folder: Path, plan: Plan) -> bool:
    """Whether a folder holds a comparison to go on with. Needs no model, and changes nothing.

    Args:
        folder: The results folder.
        plan: What is to be compared.

    Raises:
        OutputError: It holds an interrupted comparison of something else, or by other versions.
    """
    path = folder / LEDGER
    try:
        first = read_bytes(path, "the ledger", OutputError).split(b"\n", 1)[0]
        theirs = parse_json(decode(first, "it", OutputError), "it", OutputError)["settings"]
        ours = json.loads(json.dumps(plan_settings(plan)))
        known = {key: theirs.get(key) for key in ours}
    except (OutputError, LookupError, TypeError, AttributeError):
        return is_file(path)  # whatever is wrong, opening the ledger says so
    if known != ours:
        raise OutputError(f"{str(path)!r} {_explain(known, ours)}; or {Ledger.elsewhere}")
    return True


def plan_settings(plan: Plan) -> dict[str, Any]:
    """What decides the figures and is known before a model is loaded, plain data."""
    return {
        "model": plan.model,
        "videos": [{**asdict(request), "image": str(request.image or "")} for request in plan.requests],
        "recipes": {name: recipe.to_toml() for name, recipe in plan.recipes.items()},
        "repeats": plan.repeats,
        "fps": plan.fps,
        "floor": plan.floor,
        "metrics": list(plan.metrics),
        "versions": describe_versions(),
    }


def settings_of(pipe: Any, plan: Plan) -> dict[str, Any]:
    """Everything that decides what the figures mean: a time of another machine is not to stand beside one of this."""
    transformer = getattr(pipe, "transformer", None)
    return {
        **plan_settings(plan),
        "pipeline": type(pipe).__name__,
        "weights": "" if transformer is None else weights_digest(transformer),
        "dtype": str(pipe.dtype).removeprefix("torch."),
        "machine": describe_machine(torch.device(execution_device(pipe))),
    }


def baseline_path(folder: Path, scene: int) -> Path:
    """Where the dense clip of a scene is kept until the scene is finished."""
    return folder / f"baseline-{scene}.safetensors"


def write_baseline(path: Path, clip: Clip) -> None:
    """Keep the frames and the latent of a clip exactly; a whole file or none."""
    tensors = {"frames": clip.frames, "latent": clip.latent}
    write_tensors(path, {name: value for name, value in tensors.items() if value is not None})


def read_baseline(path: Path) -> Clip:
    """What `write_baseline` kept; its times and trace are in the ledger.

    Raises:
        OutputError: It is damaged.
    """
    try:
        tensors = read_tensors(path, "the kept video", OutputError)
        return Clip(tensors["frames"], 0.0, 0.0, 0, Trace([]), latent=tensors.get("latent"))
    except (OutputError, KeyError) as error:
        raise OutputError(
            f"{str(path)!r} is damaged ({error}); delete it to have this video made again"
        ) from None
