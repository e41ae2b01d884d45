"""One row of the table of all methods: knob, videos, fidelity, verdicts, attention on the dense trajectory, seconds."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from statistics import fmean, median
from typing import Any, ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from videosieve.call import AttentionCall
from videosieve.forward import Site
from videosieve.generation.generate import Clip, generate
from videosieve.generation.request import Request, default_steps
from videosieve.judging.evaluate import unseen_captions
from videosieve.judging.judge import judge_video, summarise
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.methods import Method, Selection, attend_selected, make_method
from videosieve.methods.base import State
from videosieve.metrics import psnr, recall, relative_l1, ssim
from videosieve.recipe import Recipe
from videosieve.schedule import DenseFirst
from videosieve.shapes import load_shapes, parse_caption

OPTIONS: dict[str, dict[str, Any]] = {
    "oracle_top_k": {"block": 32, "scope": "call"},
    "sieve": {"block": 32},
    "sieve+shared": {"block": 32},
    "svg": {"block": 32},
    "svg+centroids": {"block": 32},
    "adaspa": {"block": 32},
    "xattention": {"block": 32},
    "minference": {"block": 32},
    "svg2": {"query_clusters": 32, "key_clusters": 32, "min_share": 0.0},
    "svg_ear": {"query_clusters": 32, "key_clusters": 32, "min_share": 0.0},
    "radial": {"block": 32},
    "sliding_tile": {"tile": (2, 4, 4)},
    "sparge": {"block": 64},
    "draft": {"tile": (1, 4, 8)},
    "vsa_coarse": {"tile": (2, 4, 4)},
    "nabla": {"tile": (1, 4, 8), "window": None},
    "lvsa": {"block": 32, "window": 1},
    "window_residual": {"block": 32},
    "spatial_only": {"block": 32},
    "temporal_only": {"block": 32},
    "random_blocks": {"block": 32},
}
"""The methods and what makes their blocks alike: about 32 tokens (key blocks of `sparge` are half its query blocks).

Behind a plus are options of the recipe: `shared` is one selection for both branches, `centroids` compensation."""

RECIPE_OPTIONS: dict[str, dict[str, Any]] = {
    "shared": {"shared_selection": True},
    "centroids": {"compensate": "centroids"},
}

KNOBS = {"xattention": "threshold", "nabla": "threshold", "window_residual": "window"}
"""What sizes a method where it is not its density."""

DENSE_STEPS = 0.1
TOLERANCE = 0.01
TRIES = 7


@dataclass(frozen=True, slots=True)
class Row:
    """One method at one density; means over videos."""

    method: str
    target: float
    knob: float
    run_density: float
    sparse_density: float | None
    recall: float | None
    attention_recall: float
    relative_l1: float
    psnr: float
    ssim: float
    accuracy: float
    videos: int
    seconds: float | None = None
    speedup: float | None = None


@dataclass(frozen=True)
class Probe(Method):
    """Stays on the dense trajectory and notes what another method would have computed."""

    name: ClassVar[str] = "probe"
    method: Method
    compensate: bool = False
    seen: list[tuple[float, float]] = field(default_factory=list)
    asked: set[Site] = field(default_factory=set)

    def select(self, call: AttentionCall, state: State) -> tuple[Selection | None, State]:
        self.asked.add(call.site)
        selection, state = self.method.select(call, state)
        if selection is None:
            return None, state
        if self.compensate:
            selection = replace(selection, compensate=True)
        result = attend_selected(call, selection)
        state = self.method.observe(call, result, state)
        output = self.method.correct(call, result.output, state)
        if selection.mask.density < 1:  # AdaSpa searches at full density; that is no approximation to judge
            everything = BlockMask.dense(call.tokens, BlockSize(64, 64), device=call.q.device)
            dense = attend_selected(call, Selection(everything))
            self.seen.append((recall(result.lse, dense.lse), relative_l1(output, dense.output)))
        return None, state

    def observe_dense(self, call: AttentionCall, output: Tensor, state: State) -> State:
        """A call that the other method would have computed is no full step for it."""
        return state if call.site in self.asked else self.method.observe_dense(call, output, state)


def calibrate(measure: Callable[[float], float], target: float) -> tuple[float, float]:
    """The knob in (0, 1] whose density is nearest a target, as bisection finds it in a few tries.

    Args:
        measure: Density of a knob; rises with it.
        target: Wanted density.

    Returns:
        Knob and density.
    """
    low, high, knob = 0.0, 1.0, max((target - DENSE_STEPS) / (1 - DENSE_STEPS), 0.02)
    tried: dict[float, float] = {}
    for _ in range(TRIES):
        tried[knob] = density = measure(knob)
        if abs(density - target) <= TOLERANCE / 2:
            break
        low, high = (knob, high) if density < target else (low, knob)
        knob = (low + high) / 2
    return min(tried.items(), key=lambda item: abs(item[1] - target))


class Bench:
    """The model, the videos and their dense counterparts."""

    def __init__(self, prompts: int, seeds: int, steps: int, work: Path, model: str = "shapes-s") -> None:
        self.given = (prompts, seeds, steps, work, model)
        self.pipe = load_shapes(model)
        self.settings = {
            "model": model,
            "prompts": prompts,
            "seeds": seeds,
            "steps": steps or default_steps(self.pipe),
            "dense_steps": DENSE_STEPS,
        }
        captions = unseen_captions(prompts)
        count = self.settings["steps"]
        self.requests = [Request(text, steps=count, seed=seed) for text in captions for seed in range(seeds)]
        self.dense_recipe = Recipe.of("dense")
        name = "-".join(map(str, self.settings.values()))
        self.work = work / f"dense-{name}.safetensors"
        self.dense: list[Tensor] = self._dense_videos()

    def _dense_videos(self) -> list[Tensor]:
        if self.work.is_file():
            held = load_file(self.work)
            return [held[str(i)] for i in range(len(self.requests))]
        videos = []
        for i, request in enumerate(self.requests):
            videos.append(generate(self.pipe, request, self.dense_recipe).frames)
            print(f"dense video {i + 1} of {len(self.requests)}", flush=True)
        self.work.parent.mkdir(parents=True, exist_ok=True)
        save_file({str(i): video for i, video in enumerate(videos)}, self.work)
        return videos

    def recipe(self, method: str, knob: float) -> Recipe:
        """A method with its knob turned, first steps dense, every sequence sparse."""
        name, *extras = method.split("+")
        chosen = make_method(name, **OPTIONS[method] | {KNOBS.get(name, "density"): knob})
        recipe = Recipe(chosen, DenseFirst(DENSE_STEPS, 0), method, min_tokens=0)
        for extra in extras:
            recipe = recipe.override(**RECIPE_OPTIONS[extra])
        return recipe

    def accuracy(self, videos: list[Tensor]) -> float:
        """Share of videos in which the judge finds everything that the caption says."""
        pairs = zip(videos, self.requests, strict=True)
        return summarise([judge_video(video, parse_caption(request.prompt)) for video, request in pairs])[
            "all"
        ]

    def other_seed(self) -> float | None:
        """Mean PSNR between dense videos of one prompt and two seeds, the fidelity of "another video"."""
        by_prompt: dict[str, list[Tensor]] = {}
        for request, video in zip(self.requests, self.dense, strict=True):
            by_prompt.setdefault(request.prompt, []).append(video)
        pairs = [pair for videos in by_prompt.values() for pair in combinations(videos, 2)]
        return fmean(psnr(*pair).mean for pair in pairs) if pairs else None

    def row(self, method: str, target: float) -> Row:
        """Everything about one method at one density but its seconds, so that rows can be made side by side."""
        knob, _ = calibrate(lambda value: self._density(method, value), target)
        recipe = self.recipe(method, knob)
        clips = [generate(self.pipe, request, recipe) for request in self.requests]
        sums = [clip.trace.summary() for clip in clips]
        recalls = [item.recall for item in sums if item.recall is not None]
        sparse = [item.sparse_density for item in sums if item.sparse_density is not None]
        pairs = list(zip((clip.frames for clip in clips), self.dense, strict=True))
        probe = Probe(recipe.method, recipe.compensate == "centroids")
        generate(self.pipe, self.requests[0], Recipe(probe, recipe.schedule, min_tokens=0))
        return Row(
            method=method,
            target=target,
            knob=knob,
            run_density=fmean(item.run_density for item in sums),
            sparse_density=fmean(sparse) if sparse else None,
            recall=fmean(recalls) if recalls else None,
            attention_recall=fmean(value for value, _ in probe.seen) if probe.seen else 1.0,
            relative_l1=fmean(value for _, value in probe.seen) if probe.seen else 0.0,
            psnr=fmean(psnr(video, dense).mean for video, dense in pairs),
            ssim=fmean(ssim(video, dense) for video, dense in pairs),
            accuracy=self.accuracy([clip.frames for clip in clips]),
            videos=len(clips),
        )

    def _density(self, method: str, knob: float) -> float:
        clip: Clip = generate(self.pipe, self.requests[0], self.recipe(method, knob))
        return clip.trace.summary().run_density

    def speed(self, method: str, knob: float, repeats: int) -> tuple[float, float]:
        """Median seconds, and median ratio to a dense video made just before; recall is not measured here."""
        recipe, seconds, ratios = self.recipe(method, knob), [], []
        for _ in range(repeats):
            dense, sparse = (self._seconds(each) for each in (self.dense_recipe, recipe))
            seconds.append(sparse)
            ratios.append(dense / sparse)
        return median(seconds), median(ratios)

    def _seconds(self, recipe: Recipe) -> float:
        from videosieve.integrations.diffusers import sparsify

        request = self.requests[0]
        generator = torch.Generator().manual_seed(request.seed)
        with sparsify(self.pipe, recipe, recall_rows=0):
            start = time.perf_counter()
            self.pipe(
                request.prompt,
                num_inference_steps=self.settings["steps"],
                generator=generator,
                output_type="pt",
            )
            return time.perf_counter() - start
