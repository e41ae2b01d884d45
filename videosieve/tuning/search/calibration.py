"""From predicted harm to decibels, from predicted to measured speed: fitted to every full generation so far.

PSNR ≈ base − slope · 10 log10(harm) + what the kind of candidate adds. If the harm of steps added up like independent
noise in the latents, the slope would be 1; the fit starts there (ridge regression) and follows the measurements. How
much less a late step counts than an early one (`decay`) is the value of DECAYS that fits best.

What the line misses at a measurement, it misses by about as much nearby: the prediction is moved by what is left over
at the measurements that do the same at most layers and steps (`Anchors`), and by nothing far from all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log10, sqrt

import torch
from torch import Tensor

from videosieve.tuning.search.anchors import Anchors
from videosieve.tuning.search.candidates import Candidate
from videosieve.tuning.search.goal import Goal
from videosieve.tuning.search.points import Point, estimate, prompt_offsets
from videosieve.tuning.search.screen import FLOOR, Screen, harm_table, predicted_recall, saved_share

DECAYS = (0.0, 1.5, 3.0, 5.0)
NOISE = {"psnr": 2.0, "recall": 0.02}
BASE = {"psnr": 6.0, "recall": 0.0}
"""Quality where the predictor is 0, before anything is measured: an error as large as the velocity, or recall 0."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """A fit.

    Attributes:
        quality: "psnr" or "recall".
        decay: How much less late steps count.
        base: Quality at predictor 0.
        slope: Quality per unit of the predictor.
        extra: What a kind of candidate adds to it, by kind.
        gain: Measured ÷ predicted saved share of the seconds.
        noise: Spread of the measurements about the fit, unit of the quality.
        anchors: What the fit leaves over, and where; None leaves the line alone.
    """

    quality: str
    decay: float
    base: float
    slope: float
    extra: dict[str, float]
    gain: float
    noise: float
    anchors: Anchors | None = None

    def predict(self, screen: Screen, candidate: Candidate) -> tuple[float, float]:
        """Quality and speed-up of a candidate."""
        value = predictor(screen, candidate, self.quality, self.decay)
        extra = sum(self.extra.get(kind, 0.0) for kind in kinds_of(candidate))
        better, faster = (0.0, 0.0) if self.anchors is None else self.anchors.near(screen, candidate)
        saved = min(self.gain * saved_share(screen, candidate) + faster, 0.99)
        return self.base + self.slope * value + extra + better, 1 / (1 - saved)


def predictor(screen: Screen, candidate: Candidate, quality: str, decay: float) -> float:
    """What the fit is linear in: −10 log10 of the weighted harm, or the predicted recall."""
    if quality == "recall":
        return predicted_recall(screen, candidate)
    harm = harm_table(screen, candidate).sum(1) @ screen.weight(decay) / screen.steps
    return -10 * log10(float(harm) + FLOOR)


def kinds_of(candidate: Candidate) -> tuple[str, ...]:
    """What candidates may share beyond the prediction: the method, a plan, caching."""
    return (
        candidate.family,
        *(("plan",) if candidate.plan else ()),
        *(("reuse",) if candidate.reuses else ()),
    )


def fit(screen: Screen, points: Sequence[Point], goal: Goal) -> Calibration:
    """Fit everything measured so far.

    Args:
        screen: The screening.
        points: Measurements, incomplete ones too; given recipes that nothing describes are left out.
        goal: Which quality counts.

    Returns:
        The fit; with no points, the prior.
    """
    quality = goal.quality
    usable = [p for p in points if not p.candidate.opaque and screen.knows(p.candidate)]
    offsets = prompt_offsets(points, quality)
    values = [estimate(getattr(point, f"{quality}s"), offsets) for point in usable]
    names = sorted({kind for point in usable for kind in kinds_of(point.candidate)})
    gain, kinds = _gain(screen, usable), [kinds_of(point.candidate) for point in usable]
    fits = []
    for decay in DECAYS if quality == "psnr" else (0.0,):
        x = [predictor(screen, point.candidate, quality, decay) for point in usable]
        weights, error = _ridge(x, values, kinds, names, quality)
        noise = sqrt((error + 2 * NOISE[quality] ** 2) / (len(usable) + 2))
        extra = dict(zip(names, weights[2:], strict=True))
        fits.append((error, Calibration(quality, decay, weights[0], weights[1], extra, gain, noise)))
    line = min(fits, key=lambda pair: pair[0])[1]
    return replace(line, anchors=_anchors(screen, line, usable, values)) if usable else line


def _anchors(screen: Screen, line: Calibration, points: list[Point], values: list[float]) -> Anchors:
    left = []
    for point, value in zip(points, values, strict=True):
        quality, speedup = line.predict(screen, point.candidate)
        left.append((value - quality, 1 / speedup - 1 / point.speedup))
    return Anchors.at(screen, [point.candidate for point in points], left)


def _ridge(
    x: list[float], y: list[float], kinds: list[tuple[str, ...]], names: list[str], quality: str
) -> tuple[list[float], float]:
    """Base, slope and extras that fit best, and the squared error that is left. The prior counts as a few points."""
    if not x:
        return [BASE[quality], 1.0], 0.0
    noise = NOISE[quality]
    rows = [
        [1.0, value, *(float(name in kind) for name in names)] for value, kind in zip(x, kinds, strict=True)
    ]
    # Standard deviations of the prior: the base is nearly free for PSNR, the slope is 1 ± 0.25, extras are small.
    spread = [10 * noise, 0.25, *([noise] * len(names))]
    prior = [BASE[quality], 1.0, *([0.0] * len(names))]
    a, b = torch.tensor(rows, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
    start = torch.tensor(prior, dtype=torch.float64)
    penalty = torch.diag((noise / torch.tensor(spread, dtype=torch.float64)).square())
    solved: Tensor = start + torch.linalg.solve(a.mT @ a + penalty, a.mT @ (b - a @ start))
    return solved.tolist(), float((b - a @ solved).square().sum())


def _gain(screen: Screen, points: list[Point]) -> float:
    """Measured saved share over predicted, as if one more point had agreed with the prediction."""
    pairs = [(saved_share(screen, point.candidate), 1 - 1 / point.speedup) for point in points]
    size = max((abs(predicted) for predicted, _ in pairs), default=0.1)
    top = sum(predicted * measured for predicted, measured in pairs) + size**2
    gain = top / (sum(predicted**2 for predicted, _ in pairs) + size**2)
    return min(max(gain, 0.2), 2.0)
