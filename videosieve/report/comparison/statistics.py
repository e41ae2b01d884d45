"""What a comparison comes to: medians with confidence intervals, Amdahl's bound, and how much of it was reached.

Pure functions of `Results`. A scene is one prompt with one seed; every speed-up compares two videos of one scene.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from videosieve.metrics.amdahl import amdahl_bound
from videosieve.report.results import BASELINE, ClipResult, Results

RESAMPLES = 2000
FEWEST_SCENES = 5  # of fewer, even the whole range holds the true median in less than 94 % of all cases
LEVELS = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A median over scenes, and how sure it is.

    Attributes:
        median: Of the scenes that have a value.
        low: Lower end of the 95 % confidence interval; None with fewer than 5 scenes.
        high: Upper end; likewise.
        scenes: How many have a value.
    """

    median: float
    low: float | None
    high: float | None
    scenes: int


@dataclass(frozen=True, slots=True)
class MethodSummary:
    """One method over all scenes. None where nothing was measured.

    Attributes:
        method: Its name.
        kind: "baseline", "method" or "floor".
        scenes: Finished videos.
        seconds: Wall time of the pipeline call.
        speedup: Of each scene against its own baseline.
        run_density: Computed ÷ all query–key pairs, dense steps and layers included.
        sparse_density: The same over the sparse calls.
        recall: True softmax mass inside the kept blocks.
        psnr: Mean over the frames, against the baseline, dB.
        ssim: Against the baseline.
        accuracy: Videos in which everything asked is right, a share of 1, without an interval; for the bundled models.
        bound: Amdahl's bound at the run density: the speed-up if attention took time in proportion to its density.
        free_bound: The speed-up if attention took no time at all.
        reached: speedup ÷ bound. Above 1 where a sparse kernel is faster than the dense one at equal work, or where a
            recipe saves more than attention.
    """

    method: str
    kind: str
    scenes: int
    seconds: Estimate
    speedup: Estimate
    run_density: Estimate
    sparse_density: Estimate | None
    recall: Estimate | None
    psnr: Estimate | None
    ssim: Estimate | None
    accuracy: float | None
    bound: float
    free_bound: float
    reached: float


def summarise(results: Results) -> list[MethodSummary]:
    """Every method of a comparison that has a finished video, in the order of its recipes.

    Args:
        results: At least one finished video.

    Returns:
        The baseline first, then the floor, if there is one, and the methods.
    """
    share = attention_share(results)
    groups = {name: results.of_method(name) for name in results.recipes}
    return [_summary(name, clips, share) for name, clips in groups.items() if clips]


def attention_share(results: Results) -> float:
    """Share of the dense run's wall time that attention took, in [0, 1): the median over scenes.

    Text encoding and decoding count as time without attention, so bounds hold for the whole call.
    """
    shares = [
        clip.attention_seconds / clip.seconds
        for clip in results.clips
        if clip.kind == BASELINE and clip.seconds > 0
    ]
    return _median(torch.tensor(shares, dtype=torch.float64)) if shares else 0.0


def estimate(values: Sequence[float]) -> Estimate:
    """Median, and its 95 % percentile bootstrap interval over scenes (Efron, 1979), drawn with a fixed seed.

    Args:
        values: One a scene, at least one.

    Returns:
        The estimate.
    """
    known = torch.tensor(values, dtype=torch.float64)
    count = len(known)
    if count < FEWEST_SCENES:
        return Estimate(_median(known), None, None, count)
    generator = torch.Generator().manual_seed(0)
    drawn = known[torch.randint(count, (RESAMPLES, count), generator=generator)]
    low, high = drawn.quantile(0.5, dim=1).quantile(torch.tensor(LEVELS, dtype=torch.float64)).tolist()
    return Estimate(_median(known), low, high, count)


def _median(values: torch.Tensor) -> float:
    return values.quantile(0.5).item()


def _summary(name: str, clips: list[ClipResult], share: float) -> MethodSummary:
    speedup = estimate([clip.speedup for clip in clips])
    density = estimate([clip.run_density for clip in clips])
    bound = amdahl_bound(share, density.median)
    right = [clip.accuracy["all"] for clip in clips if clip.accuracy is not None]
    return MethodSummary(
        method=name,
        kind=clips[0].kind,
        scenes=len(clips),
        seconds=estimate([clip.seconds for clip in clips]),
        speedup=speedup,
        run_density=density,
        sparse_density=_measured([clip.sparse_density for clip in clips]),
        recall=_measured([clip.recall for clip in clips]),
        psnr=_measured([clip.psnr for clip in clips]),
        ssim=_measured([clip.ssim for clip in clips]),
        accuracy=sum(right) / len(right) if right else None,
        bound=bound,
        free_bound=amdahl_bound(share, 0.0),
        reached=speedup.median / bound,
    )


def _measured(values: list[float | None]) -> Estimate | None:
    known = [value for value in values if value is not None]
    return estimate(known) if known else None
