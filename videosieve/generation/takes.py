"""The repeats of one video of a comparison, and the line of results that they come to."""

from dataclasses import dataclass, field, replace

from videosieve.generation.generate import Clip
from videosieve.generation.quality import Quality
from videosieve.generation.request import Request
from videosieve.report import ClipResult
from videosieve.report.curves import density_by_step, head_atlas, recall_by_step, steps_kept_dense


@dataclass(slots=True)
class Takes:
    """All repeats of one video. They show the same; only the first one's frames are kept, and only where asked.

    Attributes:
        method: Name of the recipe.
        kind: "baseline", "method" or "floor".
        request: What was generated.
        quality: What was measured of the first repeat.
        files: Names of the files in the results folder.
        clips: The repeats, without frames.
    """

    method: str
    kind: str
    request: Request
    quality: Quality
    files: dict[str, str]
    clips: list[Clip] = field(default_factory=list)

    def add(self, clip: Clip) -> None:
        """One more repeat; its frames and latents are let go."""
        self.clips.append(replace(clip, frames=clip.frames[:0], latent=None))

    @property
    def median(self) -> Clip:
        """The repeat with the (lower) median of the seconds, so that all of its times belong together."""
        return sorted(self.clips, key=lambda clip: clip.seconds)[(len(self.clips) - 1) // 2]

    def result(self, dense_seconds: float) -> ClipResult:
        """The line of results.

        Args:
            dense_seconds: Median seconds of the baseline of the same scene.

        Returns:
            Times of the median repeat, and the quality.
        """
        clip, quality = self.median, self.quality
        summary, records = clip.trace.summary(), clip.trace.records
        fidelity, ssim = quality.psnr, quality.ssim_frames
        return ClipResult(
            method=self.method,
            kind=self.kind,
            prompt=self.request.prompt,
            seed=self.request.seed,
            seconds=clip.seconds,
            denoising_seconds=clip.denoising_seconds,
            attention_seconds=summary.attention_seconds,
            text_seconds=clip.text_seconds,
            decode_seconds=clip.decode_seconds,
            peak_bytes=clip.peak_bytes,
            speedup=dense_seconds / clip.seconds,
            run_density=summary.run_density,
            sparse_density=summary.sparse_density,
            recall=summary.recall,
            recall_steps=recall_by_step(records),
            density_steps=density_by_step(records),
            dense_steps=steps_kept_dense(records),
            dense_reasons=summary.dense_reasons,
            psnr=fidelity.mean if fidelity else None,
            psnr_pooled=fidelity.pooled if fidelity else None,
            psnr_worst=fidelity.worst if fidelity else None,
            psnr_frames=list(fidelity.frames) if fidelity else None,
            ssim=sum(ssim) / len(ssim) if ssim else None,
            ssim_frames=ssim,
            scores=quality.scores,
            accuracy=quality.accuracy,
            atlas=head_atlas(records),
            files=self.files,
            all_seconds=[take.seconds for take in self.clips],
        )
