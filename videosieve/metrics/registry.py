"""The video metrics by name: which can run here, why not the others, and all of them with one call.

A metric that lacks its weights or its program, or that cannot measure these frames, has no value and a reason. Nothing
is ever measured in its place.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from videosieve.errors import MetricError, ShapeError, VideosieveError
from videosieve.metrics.flicker import flicker_per_frame
from videosieve.metrics.flip import flip
from videosieve.metrics.frames import unit_pair
from videosieve.metrics.lpips import lpips, st_lpips
from videosieve.metrics.ms_ssim import WEIGHTS, ms_ssim
from videosieve.metrics.video import psnr, ssim_per_frame, ssim_uniform_per_frame
from videosieve.metrics.vmaf import vmaf, why_no_vmaf
from videosieve.metrics.weights import MetricFiles, find_lpips, find_st_lpips


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a metric says about a video.

    Attributes:
        value: The figure of the whole video; None where there is none.
        frames: Its curve: one figure a frame (temporal_flicker: one a pair of neighbours); empty without a value.
        note: What a reader must know to compare the figure, for example the scales of MS-SSIM.
        reason: Why there is no value; empty where there is one.
    """

    value: float | None
    frames: tuple[float, ...] = ()
    note: str = ""
    reason: str = ""

    def __str__(self) -> str:
        if self.value is None:
            return f"unavailable: {self.reason}"
        return f"{self.value:.4g}" + (f" ({self.note})" if self.note else "")


@dataclass(frozen=True, slots=True)
class Metric:
    """A video metric.

    Attributes:
        unit: Of its figures; empty for a plain number.
        better: "higher" or "lower".
        measure: Takes video, reference and weight files.
        require: Raises MetricError where this machine cannot run it.
    """

    unit: str
    better: str
    measure: Callable[[Tensor, Tensor, MetricFiles], Measurement]
    require: Callable[[MetricFiles], object] = lambda _: None


def available_metrics(files: MetricFiles | None = None) -> dict[str, str]:
    """Every metric's name, with the reason why it cannot run on this machine; "" where it can.

    Args:
        files: Weight files given by hand.

    Returns:
        In the order of `METRICS`.
    """
    return {name: _why_not(metric, files or MetricFiles()) for name, metric in METRICS.items()}


def measure(
    names: Iterable[str], video: Tensor, reference: Tensor, files: MetricFiles | None = None
) -> dict[str, Measurement]:
    """Measure a video against a reference by several metrics.

    Args:
        names: Of `METRICS`.
        video: Decoded frames before any codec: float in [0, 1], or uint8 [frames, channels, height, width].
        reference: The same shape; the dense run's of the same prompt and noise.
        files: Weight files given by hand.

    Returns:
        One measurement a name, in their order; without a value where the metric cannot run or cannot take these frames.

    Raises:
        MetricError: A name is unknown.
        ShapeError: The videos differ in shape, or are neither float nor uint8.
    """
    names = list(names)
    if unknown := [name for name in names if name not in METRICS]:
        raise MetricError(f"unknown metrics {', '.join(unknown)}; there are {', '.join(METRICS)}")
    unit_pair(video, reference)
    return {name: _measure(METRICS[name], video, reference, files or MetricFiles()) for name in names}


def _measure(metric: Metric, video: Tensor, reference: Tensor, files: MetricFiles) -> Measurement:
    if reason := _why_not(metric, files):
        return Measurement(None, reason=reason)
    try:
        return metric.measure(video, reference, files)
    except (MetricError, ShapeError) as error:
        return Measurement(None, reason=str(error))


def _why_not(metric: Metric, files: MetricFiles) -> str:
    try:
        metric.require(files)
    except VideosieveError as error:
        return str(error)
    return ""


def _curve(values: Tensor, note: str = "") -> Measurement:
    return Measurement(values.mean().item(), tuple(values.tolist()), note)


def _psnr(video: Tensor, reference: Tensor, files: MetricFiles) -> Measurement:
    del files
    result = psnr(video, reference)
    note = f"pooled {result.pooled:.2f}, worst frame {result.worst:.2f}"
    return Measurement(result.mean, result.frames, note)


def _ms_ssim(video: Tensor, reference: Tensor, files: MetricFiles) -> Measurement:
    del files
    result = ms_ssim(video, reference)
    return Measurement(result.mean, result.frames, f"{result.scales} of {len(WEIGHTS)} scales")


def _flicker(video: Tensor, reference: Tensor, files: MetricFiles) -> Measurement:
    del files
    return _curve(flicker_per_frame(video), f"reference {flicker_per_frame(reference).mean().item():.4f}")


def _require_vmaf(files: MetricFiles) -> None:
    del files
    if reason := why_no_vmaf():
        raise MetricError(reason)


METRICS = {
    "psnr": Metric("dB", "higher", _psnr),
    "ssim": Metric("", "higher", lambda video, reference, _: _curve(ssim_per_frame(video, reference))),
    "ssim_uniform": Metric(
        "", "higher", lambda video, reference, _: _curve(ssim_uniform_per_frame(video, reference))
    ),
    "ms_ssim": Metric("", "higher", _ms_ssim),
    "flip": Metric("", "lower", lambda video, reference, _: _curve(flip(video, reference).mean((1, 2)))),
    "temporal_flicker": Metric("", "higher", _flicker),
    "st_lpips": Metric(
        "",
        "lower",
        lambda video, reference, files: _curve(st_lpips(video, reference, find_st_lpips(files))),
        find_st_lpips,
    ),
    "lpips": Metric(
        "",
        "lower",
        lambda video, reference, files: _curve(lpips(video, reference, *find_lpips(files))),
        find_lpips,
    ),
    "vmaf": Metric("", "higher", lambda video, reference, _: _curve(vmaf(video, reference)), _require_vmaf),
}
