"""Samples videos for unseen captions and judges them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from videosieve.judging.judge import Verdict, judge_video, summarise
from videosieve.shapes.model import FRAMES
from videosieve.shapes.pipeline import GUIDANCE, ShapesPipeline
from videosieve.shapes.world.captions import parse_caption, write_captions
from videosieve.shapes.world.factors import sample_factors

UNSEEN = 10**9  # training seeds stay below; see TrainConfig.seed


@dataclass(frozen=True)
class Evaluation:
    """Captions, the videos made for them, and the verdicts.

    Args:
        captions: One a video.
        videos: RGB in [0, 1] [videos, frames, 3, height, width].
        verdicts: One a video.
    """

    captions: list[str]
    videos: torch.Tensor
    verdicts: list[Verdict]

    @property
    def scores(self) -> dict[str, float]:
        """Averages over all videos; see videosieve.judging.judge.summarise."""
        return summarise(self.verdicts)

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % confidence interval of every score; see `bootstrap_intervals`."""
        return bootstrap_intervals(self.verdicts)

    def scores_for(self, objects: int) -> dict[str, float]:
        """Averages over the videos whose caption names that many objects; there must be one."""
        return summarise([v for v in self.verdicts if len(v.seen) == objects])


def bootstrap_intervals(verdicts: list[Verdict], resamples: int = 1000) -> dict[str, tuple[float, float]]:
    """95 % percentile bootstrap over videos: two objects of one video are not two independent cases.

    Args:
        verdicts: One a video, at least one.
        resamples: How often the videos are drawn again with replacement.

    Returns:
        (low, high) of every score of `summarise` except the number of videos.
    """
    generator = torch.Generator().manual_seed(0)
    names = [name for name in summarise(verdicts) if name != "videos"]
    drawn: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(resamples):
        picks = torch.randint(len(verdicts), (len(verdicts),), generator=generator).tolist()
        for name, value in summarise([verdicts[pick] for pick in picks]).items():
            if name in drawn:
                drawn[name].append(value)
    levels = torch.tensor([0.025, 0.975], dtype=torch.float64)
    ends = {name: torch.tensor(v, dtype=torch.float64).quantile(levels).tolist() for name, v in drawn.items()}
    return {name: (low, high) for name, (low, high) in ends.items()}


def unseen_captions(count: int, seed: int = 0, two_objects: float = 0.5, held_out: bool = False) -> list[str]:
    """Captions of clips that training never rendered.

    Args:
        count: How many, >= 1.
        seed: Another seed, other captions; in [0, 1000).
        two_objects: Share with two objects.
        held_out: True uses (colour, shape, motion) combinations excluded from training.

    Returns:
        Captions.
    """
    seeds = UNSEEN + seed * 10**6 + torch.arange(count)
    factors = sample_factors(seeds, two_objects, held_out)
    return write_captions([factors.named(i) for i in range(count)], seeds)


class Keeper(Protocol):
    """Keeps finished batches, so that an interrupted evaluation can go on."""

    def find(self, first: int) -> torch.Tensor | None:
        """The frames [videos, frames, 3, height, width] of the batch that begins with this caption, or None."""
        ...

    def keep(self, first: int, frames: torch.Tensor) -> None:
        """Keep the frames of the batch that begins with this caption."""
        ...


def evaluate(
    pipe: ShapesPipeline,
    captions: list[str],
    seed: int = 0,
    steps: int = 20,
    batch: int = 8,
    guidance: float = GUIDANCE,
    watch: Callable[[int], None] = lambda _: None,
    keeper: Keeper | None = None,
) -> Evaluation:
    """Makes one video a caption and judges it.

    Args:
        pipe: The model.
        captions: What to make; each names one or two objects.
        seed: Of the initial noise.
        steps: Denoising steps.
        batch: Videos made at a time.
        guidance: Classifier-free guidance; 1 is none.
        watch: Called after every batch with the number of videos made so far.
        keeper: Asked for every batch before it is made, and handed every batch that was.

    Returns:
        Captions, videos and verdicts.
    """
    videos = []
    generator = torch.Generator().manual_seed(seed)
    pixels, channels = pipe.vae.sample_size, pipe.transformer.config.in_channels
    for start in range(0, len(captions), batch):
        some = captions[start : start + batch]
        # Drawn for kept batches too: the noise of a video does not depend on where an interruption was.
        noise = pipe.prepare_latents(
            len(some), channels, pixels, pixels, FRAMES, torch.float32, torch.device("cpu"), generator
        )
        frames = keeper.find(start) if keeper else None
        if frames is None or len(frames) != len(some):
            made = pipe(
                some,
                num_frames=FRAMES,
                num_inference_steps=steps,
                true_cfg_scale=guidance,
                latents=noise,
                output_type="pt",
            )
            frames = made.frames.float().cpu()
            if keeper:
                keeper.keep(start, frames)
        videos.append(frames)
        watch(start + len(some))
    frames = torch.cat(videos)
    verdicts = [judge_video(video, parse_caption(text)) for video, text in zip(frames, captions, strict=True)]
    return Evaluation(captions, frames, verdicts)
