"""The repeats of one video of a comparison, and the line of results that they come to."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from videosieve.comparison.quality import Quality
from videosieve.generation.generate import Clip
from videosieve.generation.request import Request
from videosieve.report import ClipResult
from videosieve.report.comparison.curves import density_by_step, head_atlas, recall_by_step, steps_kept_dense


def first_take(
    method: str, kind: str, request: Request, clip: Clip, quality: Quality, files: dict[str, str]
) -> ClipResult:
    """The first run of a video as a line of results, as if it were its own baseline.

    Args:
        method: Name of the recipe.
        kind: "baseline", "method" or "floor".
        request: What was generated.
        clip: The run.
        quality: What was measured of its frames.
        files: Names of the files in the results folder.

    Returns:
        The line, with a speed-up of 1.
    """
    fidelity, ssim = quality.psnr, quality.ssim_frames
    return ClipResult(
        method=method,
        kind=kind,
        prompt=request.prompt,
        seed=request.seed,
        psnr=fidelity.mean if fidelity else None,
        psnr_pooled=fidelity.pooled if fidelity else None,
        psnr_worst=fidelity.worst if fidelity else None,
        psnr_frames=list(fidelity.frames) if fidelity else None,
        ssim=sum(ssim) / len(ssim) if ssim else None,
        ssim_frames=ssim,
        scores=quality.scores,
        accuracy=quality.accuracy,
        files=files,
        **_of_run(clip),
    )


def next_take(first: ClipResult, clip: Clip, trace: str) -> ClipResult:
    """A further run of a video: it shows the same, so only what was timed and traced is new.

    Args:
        first: The first run.
        clip: This run.
        trace: Name of its trace in the results folder.
    """
    return replace(first, files={**first.files, "trace": trace}, **_of_run(clip))


def _of_run(clip: Clip) -> dict[str, Any]:
    summary, records = clip.trace.summary(), clip.trace.records
    return {
        "seconds": clip.seconds,
        "denoising_seconds": clip.denoising_seconds,
        "attention_seconds": summary.attention_seconds,
        "text_seconds": clip.text_seconds,
        "decode_seconds": clip.decode_seconds,
        "peak_bytes": clip.peak_bytes,
        "speedup": 1.0,
        "run_density": summary.run_density,
        "sparse_density": summary.sparse_density,
        "recall": summary.recall,
        "recall_steps": recall_by_step(records),
        "density_steps": density_by_step(records),
        "dense_steps": steps_kept_dense(records),
        "dense_reasons": summary.dense_reasons,
        "atlas": head_atlas(records),
        "all_seconds": [clip.seconds],
    }


@dataclass(slots=True)
class Takes:
    """All repeats of one video.

    Attributes:
        rows: One line of results a repeat, in order.
    """

    rows: list[ClipResult] = field(default_factory=list)

    @property
    def median(self) -> ClipResult:
        """The repeat with the (lower) median of the seconds, so that all of its times belong together."""
        return sorted(self.rows, key=lambda row: row.seconds)[(len(self.rows) - 1) // 2]

    def result(self, dense_seconds: float) -> ClipResult:
        """The line of results.

        Args:
            dense_seconds: Median seconds of the baseline of the same scene.

        Returns:
            Times of the median repeat, and the quality.
        """
        median = self.median
        seconds = [row.seconds for row in self.rows]
        return replace(median, speedup=dense_seconds / median.seconds, all_seconds=seconds)

    def settle(self, folder: Path) -> None:
        """Keep only the trace of the median repeat, under the name of the first; may be done again after a kill."""
        first, median = self.rows[0].files, folder / self.median.files["trace"]
        if median.is_file():
            median.replace(folder / first["trace"])
        for row in self.rows:
            if row.files["trace"] != first["trace"]:
                (folder / row.files["trace"]).unlink(missing_ok=True)
        self.rows = [replace(row, files=first) for row in self.rows]
