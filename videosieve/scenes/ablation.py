"""The ablation of layers and noise levels: scores of every layer, level and pair, and the paper's findings.

Helbling et al., arXiv:2502.04320, figures 6 and 7: later layers find objects better, and the middle of the noise does.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from videosieve.concepts import SaliencyMethod
from videosieve.errors import ModelError
from videosieve.files import write_text
from videosieve.integrations.diffusers.concepts.question import NOISE
from videosieve.scenes.layout import Scene
from videosieve.scenes.looking import fit_scene, look_at, score_found
from videosieve.scenes.score import FIGURES, Score

DRAWS = 1000


@dataclass(frozen=True)
class Finding:
    """One of the paper's findings, on these scenes.

    Attributes:
        claim: In words.
        difference: What it comes to: above 0 speaks for it.
        interval: Where the difference lies in 95 of 100 draws of as many scenes.
    """

    claim: str
    difference: float
    interval: tuple[float, float]

    @property
    def verdict(self) -> str:
        """ "held", "not held", or "undecided" where the interval holds 0."""
        if self.interval[0] > 0:
            return "held"
        return "not held" if self.interval[1] < 0 else "undecided"


@dataclass(frozen=True)
class Ablation:
    """Scores by layer and noise level.

    Attributes:
        layers: That were looked at.
        steps: Denoising steps whose noise level was looked at.
        levels: The noise of each as a fraction of all training timesteps.
        figure: What is scored: a name of `FIGURES`.
        scores: By (layer, step), one a scene.
        by_layer: The same of maps averaged over all levels.
        by_step: The same of maps averaged over all layers.
        all: The same of the mean of all maps.
    """

    layers: tuple[int, ...]
    steps: tuple[int, ...]
    levels: tuple[float, ...]
    figure: str
    scores: dict[tuple[int, int], tuple[Score, ...]]
    by_layer: dict[int, tuple[Score, ...]]
    by_step: dict[int, tuple[Score, ...]]
    all: tuple[Score, ...]

    def value(self, scores: Sequence[Score]) -> float:
        """The figure of some scenes together."""
        return sum(scores, Score()).figures()[self.figure]

    @property
    def table(self) -> Tensor:
        """fp64 [layers, levels]: the figure of every pair."""
        rows = [[self.value(self.scores[layer, step]) for step in self.steps] for layer in self.layers]
        return torch.tensor(rows, dtype=torch.float64)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The paper's two findings; fewer where there are too few layers, or no level in the middle or outside."""
        half = len(self.layers) // 2
        middle = [
            step for step, level in zip(self.steps, self.levels, strict=True) if NOISE[0] <= level <= NOISE[1]
        ]
        outside = [step for step in self.steps if step not in middle]
        found = []
        if half:
            early, late = self.layers[:half], self.layers[-half:]
            claim = "later layers find objects better: the last half of them against the first"
            found.append(self._compare(claim, self.by_layer, late, early))
        if middle and outside:
            claim = f"the middle of the noise finds objects best: {NOISE[0]} to {NOISE[1]} against the rest"
            found.append(self._compare(claim, self.by_step, middle, outside))
        return tuple(found)

    def _compare(
        self, claim: str, scores: dict[int, tuple[Score, ...]], first: Sequence[int], second: Sequence[int]
    ) -> Finding:
        def difference(picked: Sequence[int]) -> float:
            means = [
                sum(self.value([scores[key][scene] for scene in picked]) for key in keys) / len(keys)
                for keys in (first, second)
            ]
            return means[0] - means[1]

        count = len(self.all)
        generator = torch.Generator().manual_seed(0)
        drawn = [
            difference(torch.randint(count, (count,), generator=generator).tolist()) for _ in range(DRAWS)
        ]
        ends = torch.tensor(drawn, dtype=torch.float64).nanquantile(
            torch.tensor([0.025, 0.975], dtype=torch.float64)
        )
        return Finding(claim, difference(range(count)), (float(ends[0]), float(ends[1])))

    def as_json(self) -> dict[str, Any]:
        """Every score, rounded, and the findings."""
        return {
            "figure": self.figure,
            "scenes": len(self.all),
            "layers": list(self.layers),
            "steps": list(self.steps),
            "levels": [round(level, 4) for level in self.levels],
            "table": [[round(value, 4) for value in row] for row in self.table.tolist()],
            "by_layer": [round(self.value(self.by_layer[layer]), 4) for layer in self.layers],
            "by_step": [round(self.value(self.by_step[step]), 4) for step in self.steps],
            "all": round(self.value(self.all), 4),
            "findings": [
                {
                    "claim": finding.claim,
                    "verdict": finding.verdict,
                    "difference": round(finding.difference, 4),
                    "interval": [round(end, 4) for end in finding.interval],
                }
                for finding in self.findings
            ],
        }

    def save(self, path: Path, **about: Any) -> None:
        """Write `as_json` and what it is of; the file appears whole or not at all."""
        write_text(path, json.dumps({**about, **self.as_json()}, indent=1, ensure_ascii=False) + "\n")


def ablate(
    pipe: Any,
    scenes: Iterable[Scene],
    method: SaliencyMethod | None = None,
    *,
    layers: Sequence[int] | None = None,
    steps: Sequence[int] | None = None,
    inference_steps: int = 10,
    figure: str = "miou",
    seed: int = 0,
) -> Ablation:
    """Score every layer at every noise level on scenes with masks.

    Args:
        pipe: A diffusers pipeline of videos or images.
        scenes: What to look at.
        method: How saliency is computed; its `keep` is not used.
        layers: Self-attentions to look at; None takes all that the method can, or has sights for.
        steps: Denoising steps whose noise level is looked at; None takes all.
        inference_steps: How many there are, >= 1: how fine the levels are.
        figure: A name of `videosieve.scenes.score.FIGURES`.
        seed: Of the noise.

    Returns:
        The scores.

    Raises:
        ModelError: There is no scene, or no such figure.
        IntegrationError: Layers or steps are out of range.
    """
    if figure not in FIGURES:
        raise ModelError(f"figure must be one of {', '.join(FIGURES)}, got {figure!r}")
    wanted = tuple(range(inference_steps)) if steps is None else tuple(sorted(set(steps)))
    kept = replace(method or SaliencyMethod(), keep="sites")
    gathered: dict[Any, list[Score]] = {}
    every: tuple[int, ...] = ()
    levels: tuple[float, ...] = ()
    for scene in scenes:
        fitted = fit_scene(pipe, scene)
        every = _all_layers(pipe, kept) if layers is None else tuple(sorted(set(layers)))
        (found,) = look_at(pipe, fitted, [kept], every, wanted, seed, num_inference_steps=inference_steps)
        levels = found.noise
        maps: dict[Any, Tensor] = {("site", *key): part for key, part in found.parts.items()}
        maps |= {("layer", x): _mean(found.parts, 0, x) for x in found.layers}
        maps |= {("step", x): _mean(found.parts, 1, x) for x in found.steps} | {"all": found.maps}
        for key, each in maps.items():
            gathered.setdefault(key, []).append(score_found(found, fitted.truth, each))
    if not gathered:
        raise ModelError("there must be at least one scene to ablate on, got none")
    scores = {key: tuple(values) for key, values in gathered.items()}
    return Ablation(
        every, wanted, levels, figure,
        {(layer, step): scores["site", layer, step] for layer in every for step in wanted},
        {layer: scores["layer", layer] for layer in every},
        {step: scores["step", step] for step in wanted},
        scores["all"],
    )  # fmt: skip


def _mean(parts: Any, axis: int, index: int) -> Tensor:
    return torch.stack([part for key, part in parts.items() if key[axis] == index]).mean(0)


def _all_layers(pipe: Any, method: SaliencyMethod) -> tuple[int, ...]:
    """Every layer that can be looked at, whatever the pipeline's config prefers; those with a sight of their own."""
    if method.sights:
        return tuple(method.sights)
    from videosieve.integrations.diffusers import describe
    from videosieve.integrations.diffusers.concepts.families import CONCEPT_FAMILIES

    target = describe(pipe, images=True)[0]
    streams = CONCEPT_FAMILIES.get(target.row.name)
    return tuple(range(streams.depth(target.transformer, target.layers) if streams else target.layers))
