"""The training objective: rectified flow on frame subsets of rendered clips."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from diffusers import HunyuanVideoTransformer3DModel
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast

from videosieve.shapes.codec import ShapesCodec
from videosieve.shapes.model import FRAMES, Networks
from videosieve.shapes.training.phases import Phase
from videosieve.shapes.training.reading import Reader, reading_loss, word_labels
from videosieve.shapes.world.captions import write_captions, write_fragments
from videosieve.shapes.world.factors import Factors, sample_factors
from videosieve.shapes.world.render import render
from videosieve.shapes.world.seeds import Stream, generator_for, uniforms

FRAGMENTS = 0.1  # of the captions name only a part of the clip


class _SubsetRope(nn.Module):
    """Rotary tables of some frames of a longer clip, at their true positions."""

    def __init__(self, full: nn.Module, frames: torch.Tensor) -> None:
        super().__init__()
        self.full = full
        self.frames = frames

    def forward(self, hidden_states: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shape = (1, 1, FRAMES, *hidden_states.shape[3:])
        tables = self.full(torch.empty(shape, device=hidden_states.device))
        cos, sin = (table.unflatten(0, (FRAMES, -1))[self.frames].flatten(0, 1) for table in tables)
        return cos, sin


@contextmanager
def frame_subset(transformer: HunyuanVideoTransformer3DModel, frames: torch.Tensor) -> Iterator[None]:
    """Inside, the transformer reads its input frames as frames `frames` of a 16-frame clip.

    Args:
        transformer: Its `rope` is replaced inside the block and put back after it.
        frames: int64 frame indices in [0, 16) [input frames].

    Yields:
        Nothing.
    """
    rope = transformer.rope
    transformer.add_module("rope", _SubsetRope(rope, frames))
    try:
        yield
    finally:
        transformer.add_module("rope", rope)


@dataclass(frozen=True)
class Batch:
    """One training batch.

    Args:
        latents: Clean latents x0 [batch, 12, frames, rows, columns].
        weight: Loss weight of each latent cell [batch, 1, frames, rows, columns].
        input_ids: Caption ids [batch, tokens].
        attention_mask: 1 for real caption tokens [batch, tokens].
        frames: Which of the 16 frames these are [frames].
        sigma: Noise level, in (0, 1) [batch].
        noise: Like `latents`.
        labels: What each caption token tells, see videosieve.shapes.training.reading.word_labels [batch, tokens, 5].
    """

    latents: torch.Tensor
    weight: torch.Tensor
    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    frames: torch.Tensor
    sigma: torch.Tensor
    noise: torch.Tensor
    labels: torch.Tensor


def choose_frames(num_frames: int, generator: torch.Generator) -> torch.Tensor:
    """Chooses evenly spaced frames of a 16-frame clip: any start, any stride that fits.

    Args:
        num_frames: 1 to 16.
        generator: CPU generator.

    Returns:
        int64 indices [num_frames].
    """
    longest = (FRAMES - 1) // max(num_frames - 1, 1)
    # the widest strides show motion best and are drawn more often
    stride = max(int(torch.randint(1, longest + 1, (2,), generator=generator).max()), 1)
    start = int(torch.randint(FRAMES - stride * (num_frames - 1), (1,), generator=generator))
    return start + stride * torch.arange(num_frames)


def _foreground(masks: torch.Tensor, emphasis: float) -> torch.Tensor:
    near = F.max_pool3d(masks.sum(1, keepdim=True).clamp(0, 1), (1, 4, 4), (1, 2, 2), (0, 1, 1))
    return 1 + (emphasis - 1) * (near > 0.05)


def _choose_texts(named: list[Factors], seeds: torch.Tensor, dropout: float) -> list[str]:
    """Captions; some are dropped for guidance, some say only a part."""
    luck = uniforms(seeds, 2, Stream.NOISE)[:, 1].tolist()
    captions, fragments = write_captions(named, seeds), write_fragments(named, seeds)
    return [
        "" if u < dropout else fragment if u < dropout + FRAGMENTS else caption
        for u, caption, fragment in zip(luck, captions, fragments, strict=True)
    ]


def draw_batch(
    seeds: torch.Tensor,
    num_frames: int,
    pixels: int,
    phase: Phase,
    tokenizer: PreTrainedTokenizerFast,
    codec: ShapesCodec,
    device: torch.device | str = "cpu",
) -> Batch:
    """Renders a training batch; a pure function of its arguments.

    Args:
        seeds: int64 seeds on the CPU [batch].
        num_frames: Frames out of 16.
        pixels: Height and width.
        phase: Says what clips show, how many captions are dropped, the noise levels, and the loss weight of objects
            and their rims.
        tokenizer: Of the model.
        codec: Of the model.
        device: Where the batch goes.

    Returns:
        The batch.
    """
    generator = generator_for(int(seeds[0]), Stream.NOISE)
    frames = choose_frames(num_frames, generator)
    levels = torch.tensor(phase.levels)[torch.randint(len(phase.levels), (len(seeds),), generator=generator)]
    sigma = torch.sigmoid(levels + torch.randn(len(seeds), generator=generator))
    factors = sample_factors(seeds, phase.two_objects, orbits=phase.orbits)
    texts = _choose_texts([factors.named(i) for i in range(len(seeds))], seeds, phase.dropout)
    tokens = tokenizer(texts, padding="max_length", return_tensors="pt")
    clip = render(factors, seeds, frames / (FRAMES - 1), pixels, pixels)
    latents = codec.pack(clip.video) * codec.scaling_factor
    noise = torch.randn(latents.shape, generator=generator)
    weight = _foreground(clip.masks, phase.emphasis)
    words = (tokens.input_ids, tokens.attention_mask)
    parts = (latents, weight, *words, frames, sigma, noise, word_labels(texts))
    return Batch(*(part.to(device) for part in parts))


def predict_velocity(networks: Networks, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """The velocity eps - x0 that a model sees in a noisy batch.

    Args:
        networks: Transformer and text encoder, on the batch's device.
        batch: Clips, captions and noise.

    Returns:
        Like `batch.latents`, and the text encoder's states [batch, tokens, width].
    """
    sigma = batch.sigma[:, None, None, None, None]
    text = networks.text_encoder(batch.input_ids, batch.attention_mask)
    with frame_subset(networks.transformer, batch.frames):
        velocity = networks.transformer(
            hidden_states=(1 - sigma) * batch.latents + sigma * batch.noise,
            timestep=batch.sigma * 1000,
            encoder_hidden_states=text.last_hidden_state,
            encoder_attention_mask=batch.attention_mask,
            pooled_projections=text.pooler_output,
            return_dict=False,
        )[0]
    return velocity, text.last_hidden_state


def flow_loss(
    networks: Networks, batch: Batch, reader: Reader | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted mean squared error of the predicted velocity, and how well the captions are read.

    Args:
        networks: Transformer and text encoder, on the batch's device.
        batch: What to learn.
        reader: Heads of the reading loss; without, it is 0.

    Returns:
        Scalar loss of the video, and of `videosieve.shapes.training.reading.reading_loss`.
    """
    velocity, text = predict_velocity(networks, batch)
    error = (velocity.float() - (batch.noise - batch.latents)).square()
    video = (error * batch.weight).mean() / batch.weight.mean()
    words = reading_loss(reader, text, batch.labels) if reader else video.new_zeros(())
    return video, words
