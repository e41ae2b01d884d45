"""Our column of the paper tables: videos of many recipes against dense ones of the same noise, kept in a JSON file.

A scene is a prompt and a seed. Its dense video comes first, then every recipe that has no figures for it yet; after
each video the file is whole, so that an interrupted measurement goes on where it stopped.
"""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, median
from typing import Any

from videosieve.bench.timing import describe_machine
from videosieve.comparison.noise_floor import dense_kernels
from videosieve.files import write_text
from videosieve.generation.generate import Clip, generate
from videosieve.generation.request import Request
from videosieve.metrics import measure
from videosieve.recipe import Recipe

SCHEMA = 1
METRICS = ("psnr", "ssim", "lpips", "st_lpips")
Spec = dict[str, Any]
"""A recipe's name under "recipe", and its overrides."""


def spec_name(spec: Spec) -> str:
    """One name for one recipe, whatever the order of its overrides."""
    overrides = sorted((key, value) for key, value in spec.items() if key != "recipe")
    return " ".join([spec["recipe"], *(f"{key}={value}" for key, value in overrides)])


def make_recipe(spec: Spec) -> Recipe:
    """The recipe that a spec means."""
    return Recipe.of(spec["recipe"], **{key: value for key, value in spec.items() if key != "recipe"})


class Runs:
    """Figures of recipes on scenes, in a file.

    Args:
        path: The file; made when the first video is measured.
        settings: What all videos share; a file with others is refused.

    Raises:
        SystemExit: The file was made with other settings.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self.path = path
        self.data: dict[str, Any] = {"schema": SCHEMA, "settings": settings, "machines": [], "videos": {}}
        if path.is_file():
            self.data = json.loads(path.read_text(encoding="utf-8"))
            if (self.data.get("schema"), self.data.get("settings")) != (SCHEMA, settings):
                raise SystemExit(
                    f"{path} was made with {self.data.get('settings')}, not {settings}; give another --output"
                )

    def missing(self, scene: str, specs: list[Spec]) -> list[Spec]:
        """The recipes without figures for a scene."""
        return [spec for spec in specs if scene not in self.data["videos"].get(spec_name(spec), {})]

    def add(self, spec: Spec, scene: str, figures: dict[str, Any]) -> None:
        """Keep the figures of one video, on disk when this returns."""
        machine = {key: value for key, value in describe_machine().items() if key != "load"}
        if machine not in self.data["machines"]:
            self.data["machines"].append(machine)
        self.data["videos"].setdefault(spec_name(spec), {})[scene] = figures
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, json.dumps(self.data, indent=1) + "\n")

    def summary(self, spec: Spec, scenes: list[str]) -> dict[str, Any] | None:
        """Means over the scenes that were measured, medians of times; None without any."""
        videos = self.data["videos"].get(spec_name(spec), {})
        found = [videos[scene] for scene in scenes if scene in videos]
        if not found:
            return None
        result: dict[str, Any] = {"videos": len(found), "kernel": found[0]["kernel"]}
        for key in (*METRICS, "run_density", "recall"):
            values = [video[key] for video in found]
            result[key] = None if None in values else fmean(values)
        for key in ("dense_seconds", "seconds"):
            result[key] = median(video[key] for video in found)
        result["speedup"] = median(video["dense_seconds"] / video["seconds"] for video in found)
        result["attention_speedup"] = median(
            video["dense_attention_seconds"] / video["attention_seconds"] for video in found
        )
        return result


def scene_name(request: Request) -> str:
    """The key of a scene."""
    return f"{request.seed} {request.prompt}"


def make_videos(
    runs: Runs, pipe: Any, requests: list[Request], specs: list[Spec], say: Callable[[str], None]
) -> None:
    """Make and measure every video that has no figures yet.

    Args:
        runs: Where figures go.
        pipe: A diffusers video pipeline.
        requests: The scenes.
        specs: The recipes; dense is made for every scene anyway.
        say: Called with a line after every video.
    """
    warm: set[str] = set()
    specs = [{"recipe": "dense"}, *(spec for spec in specs if spec["recipe"] != "dense")]
    for request in requests:
        wanted = runs.missing(scene_name(request), specs)
        if not wanted:
            continue
        dense = _make(pipe, request, {"recipe": "dense"}, warm)
        for spec in wanted:
            clip = dense if spec["recipe"] == "dense" else _make(pipe, request, spec, warm)
            figures = figures_of(clip, dense)
            runs.add(spec, scene_name(request), figures)
            say(f"{spec_name(spec)}, seed {request.seed}, {request.prompt!r}: PSNR {figures['psnr']:.2f} dB, "
                f"run density {figures['run_density']:.3f}, {figures['seconds']:.1f} s")  # fmt: skip


def figures_of(clip: Clip, dense: Clip) -> dict[str, Any]:
    """What is kept of a video; metrics that are unavailable here are None."""
    summary, against = clip.trace.summary(), dense.trace.summary()
    measured = measure(METRICS, clip.frames, dense.frames)
    return {
        **{name: measured[name].value for name in METRICS},
        "run_density": summary.run_density,
        "recall": summary.recall,
        "seconds": clip.seconds,
        "dense_seconds": dense.seconds,
        "attention_seconds": summary.attention_seconds,
        "dense_attention_seconds": against.attention_seconds,
        "kernel": ", ".join(dense_kernels(dense)),
    }


def _make(pipe: Any, request: Request, spec: Spec, warm: set[str]) -> Clip:
    """One video; the first of every recipe is preceded by two untimed steps."""
    first = spec_name(spec) not in warm
    warm.add(spec_name(spec))
    return generate(pipe, request, make_recipe(spec), warm_up=first)
