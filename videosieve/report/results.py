"""What a comparison leaves on disk: results.json, versioned, whole at every moment of the run.

The report is drawn from this file and the media beside it, on any machine, long after the models are gone.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from videosieve.errors import OutputError
from videosieve.fields import checked, from_table
from videosieve.files import is_file, read_json, write_text

SCHEMA = 2
RESULTS = "results.json"
RUNNING, COMPLETE, INTERRUPTED = "running", "complete", "interrupted"
BASELINE, METHOD, FLOOR = "baseline", "method", "floor"


@dataclass(frozen=True, slots=True)
class Atlas:
    """Which pattern every head used, at every layer and step.

    Attributes:
        patterns: Names of the patterns, e.g. ["spatial", "temporal"].
        steps: The denoising steps, in order.
        choice: choice[step][layer] has one character per head: the index of its pattern, or "-" where it was dense.
    """

    patterns: list[str]
    steps: list[int]
    choice: list[list[str]]


@dataclass(frozen=True, slots=True)
class ClipResult:
    """One video of a comparison. Densities and recall are fractions in [0, 1]. Times are those of the median repeat.

    Attributes:
        method: Name of the method as the comparison calls it; "dense" is the baseline.
        kind: "baseline", "method", or "floor": dense attention again by another kernel, which `method` names. What
            separates the floor from the baseline is rounding, so no method can be told from dense above it.
        prompt: What the video shows.
        seed: Seed of the initial noise.
        seconds: Wall time of the whole pipeline call.
        denoising_seconds: Wall time from the first transformer call to the end of the last.
        attention_seconds: Time inside attention calls, selection included.
        text_seconds: Wall time of text encoding; None where the pipeline has no such part.
        decode_seconds: Wall time inside the VAE's decoder; None where the pipeline has no such part.
        peak_bytes: Peak memory of the call: on CUDA the most that was allocated, weights included; on a CPU the growth
            of the resident set, weights left out; None where it cannot be measured.
        speedup: Seconds of the dense video of the same prompt and seed ÷ seconds.
        run_density: Computed query–key pairs ÷ all pairs, dense steps and layers included.
        sparse_density: The same over the sparse calls only; None without any.
        recall: True softmax mass inside the kept blocks, mean over sparse calls and heads; None if not measured.
        recall_steps: The same for every denoising step; None for steps without a measured sparse call.
        density_steps: Run density of every denoising step.
        dense_steps: For every denoising step, whether all of its calls were dense, as in the warm-up.
        dense_reasons: Attention calls that stayed dense, by reason.
        psnr: Mean PSNR over the frames against the dense video, dB; None for dense itself, as are the next four.
        psnr_pooled: PSNR of the mean squared error of the whole video, dB.
        psnr_worst: PSNR of the worst frame, dB.
        psnr_frames: PSNR of every frame, dB.
        ssim: Mean SSIM against the dense video; None for dense itself and for frames below 11 pixels.
        ssim_frames: SSIM of every frame.
        scores: Further metrics by name: "latent_relative_l2", …
        accuracy: What the bundled model's judge says: the share of asked objects with the right "colour", "motion",
            "shape" and "size", and under "all" 1.0 where everything asked is right; None for other models.
        atlas: Pattern of every head; None where the method has one pattern.
        files: Names of the files in the results folder: video, poster, difference, trace.
        all_seconds: Seconds of every timed repeat.
    """

    method: str
    kind: str
    prompt: str
    seed: int
    seconds: float
    denoising_seconds: float
    attention_seconds: float
    text_seconds: float | None
    decode_seconds: float | None
    peak_bytes: int | None
    speedup: float
    run_density: float
    sparse_density: float | None
    recall: float | None
    recall_steps: list[float | None]
    density_steps: list[float]
    dense_steps: list[bool]
    dense_reasons: dict[str, int]
    psnr: float | None
    psnr_pooled: float | None
    psnr_worst: float | None
    psnr_frames: list[float] | None
    ssim: float | None
    ssim_frames: list[float] | None
    scores: dict[str, float]
    accuracy: dict[str, float] | None
    atlas: Atlas | None
    files: dict[str, str]
    all_seconds: list[float]

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "ClipResult":
        """Back from `dataclasses.asdict`; an OutputError names what is missing, unknown or of another type."""
        if isinstance(entry, dict) and isinstance(atlas := entry.get("atlas"), dict):
            entry = {**entry, "atlas": from_table(Atlas, atlas, "its atlas", OutputError)}
        return from_table(cls, entry, "a clip", OutputError)


@dataclass(slots=True)
class Results:
    """A comparison.

    Attributes:
        model: The model as the caller named it.
        pipeline: Class of the pipeline.
        machine: What it ran on: device, processor, threads, system.
        versions: Versions of videosieve, torch, diffusers and Python.
        settings: Steps, size, frames, guidance, dtype, repeats, warm-up steps, frames per second.
        recipes: The recipe of every method as TOML, by name, the baseline first, then the floor, if there is one.
        dense_kernel: The kernel that computed the baseline's attention.
        command: The command line that made it; empty from Python.
        unavailable: What could not be measured, and why, by name.
        warnings: What was not as a recipe means it, by method: sentences.
        status: "running", "complete" or "interrupted".
        created: When it started, ISO 8601 with time zone.
        resumed: When it went on after an interruption, likewise, on the same machine and with the same versions.
        clips: The finished videos.
        schema: Version of this layout.
    """

    model: str
    pipeline: str
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, Any]
    recipes: dict[str, str]
    created: str
    dense_kernel: str = ""
    command: str = ""
    unavailable: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, str] = field(default_factory=dict)
    status: str = RUNNING
    clips: list[ClipResult] = field(default_factory=list)
    resumed: list[str] = field(default_factory=list)
    schema: int = SCHEMA

    def save(self, folder: Path) -> None:
        """Write results.json, whole or not at all; an OutputError says why it could not."""
        write_text(folder / RESULTS, json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Results":
        """Read what `save` wrote.

        Args:
            folder: The results folder.

        Returns:
            The results.

        Raises:
            OutputError: There is no results.json, or it is damaged or of another version.
        """
        path = folder / RESULTS
        if not is_file(path):
            raise OutputError(
                f"cannot read {str(path)!r}: there is no such file; give a folder that `videosieve compare` wrote"
            )
        try:
            values = read_json(path, "results", OutputError)
        except OutputError as error:
            raise OutputError(f"{str(path)!r} is damaged: {error}; run the comparison again") from None
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            found = values.get("schema") if isinstance(values, dict) else None
            raise OutputError(
                f"{str(path)!r} must have schema {SCHEMA}, got {found!r}; run the comparison again"
            )
        try:
            clips = checked("clips", values.get("clips"), list[dict], OutputError)
            clips = [ClipResult.from_json(entry) for entry in clips]
            return from_table(cls, {**values, "clips": clips}, "it", OutputError)
        except OutputError as error:
            raise OutputError(
                f"{str(path)!r} is not a comparison: {error}; run the comparison again"
            ) from None

    def scenes(self) -> list[tuple[str, int]]:
        """Prompt and seed of every group of videos to be compared, in order."""
        return list(dict.fromkeys((clip.prompt, clip.seed) for clip in self.clips))

    def of_scene(self, prompt: str, seed: int) -> list[ClipResult]:
        """The videos of one prompt and seed, the baseline first."""
        return [clip for clip in self.clips if (clip.prompt, clip.seed) == (prompt, seed)]

    def of_method(self, method: str) -> list[ClipResult]:
        """The videos of one method."""
        return [clip for clip in self.clips if clip.method == method]
