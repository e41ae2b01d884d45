"""What is to be done: one job a video, and the order that all of them share. Plain data, as JSON between processes."""

import hashlib
import json
import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from videosieve.errors import ModelError, PromptError
from videosieve.fields import Extent, OneOf, Seed, Steps, Whole, check_fields
from videosieve.frame_rate import FRAME_RATE
from videosieve.generation.media import VIDEO_SUFFIXES, Fps
from videosieve.generation.request import Guidance

LONGEST_NAME = 60  # characters of the prompt in a file name


@dataclass(frozen=True, slots=True)
class Job:
    """One video.

    Attributes:
        number: Place among the prompts, from 0.
        prompt: What the video shows.
        seed: Seed of the initial noise.
        negative_prompt: What it should not show; empty for none.
        image: Path of the first frame; empty for none.
        name: File name of the video without its ending; empty for number, words of the prompt and seed.
    """

    number: Whole
    prompt: str
    seed: Seed = 0
    negative_prompt: str = ""
    image: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        check_fields(self, PromptError)

    @property
    def stem(self) -> str:
        """File name of the video without its ending."""
        if self.name:
            return self.name
        words = re.sub(r"[^a-z0-9]+", "-", self.prompt.lower()).strip("-")[:LONGEST_NAME].strip("-")
        return f"{self.number:06d}-{words or 'prompt'}-{self.seed}"


@dataclass(frozen=True, slots=True)
class Order:
    """What all jobs of a batch share.

    Attributes:
        model: As `videosieve.generation.load.load_pipeline` takes it.
        recipe: Recipe as TOML.
        folder: Where videos go.
        suffix: ".mp4", ".gif" or ".webp".
        fps: Frames per second of the written videos.
        dtype: As for the loader; empty for its default.
        steps: Denoising steps; None for the model's own, as for the rest.
        height: Pixels.
        width: Pixels.
        frames: Video frames.
        guidance: Guidance scale.
    """

    model: str
    recipe: str
    folder: str
    suffix: Annotated[str, OneOf(VIDEO_SUFFIXES)] = ".mp4"
    fps: Fps = FRAME_RATE
    dtype: str = ""
    steps: Steps | None = None
    height: Extent | None = None
    width: Extent | None = None
    frames: Extent | None = None
    guidance: Guidance | None = None

    def __post_init__(self) -> None:
        check_fields(self, ModelError)

    def fingerprint(self, jobs: list[Job]) -> str:
        """Digest of everything that decides what the videos look like; the folder does not."""
        shared = {key: value for key, value in asdict(self).items() if key != "folder"}
        plain = [{key: value for key, value in asdict(job).items() if key != "name" or value} for job in jobs]
        text = json.dumps([shared, plain], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt at a job ended.

    Attributes:
        number: Of the job.
        status: "done"; "refused" for an error that another attempt would meet again; "failed" for any other;
            "stopped" where nothing more can be written.
        output: File name of the video.
        reason: Why not; empty when done.
        seconds: Wall time of the generation.
        run_density: Density over all its attention calls.
        warning: What was not as the recipe means it; empty where all was.
    """

    number: int
    status: Literal["done", "refused", "failed", "stopped"]
    output: str = ""
    reason: str = ""
    seconds: float = 0.0
    run_density: float = 1.0
    warning: str = ""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


Jobs = deque[Job]
Executor = Callable[[Order, Jobs, list[str]], Iterator[tuple[Job, Outcome]]]
