"""HunyuanVideo-1.5's memory against tokens, stock and through videosieve: `python -m benchmarks.hunyuanvideo15_memory`.

One forward of a transformer with one narrow layer (2 heads of 64 channels) and the released text rows (729 image, 256
byT5, 1,000 mllm), in fp32 on a CPU; peak as PyTorch's allocator counts it, beyond weights and inputs. The stock
processor says which text rows are padding with a mask of every token with every token, and no width of the model makes
that smaller; what we hand to attention has no padding and needs no mask. From the two longest sequences follow bytes
per token and bytes per pair of tokens: peak = tokens · a + tokens² · b.
"""

import argparse
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from diffusers import HunyuanVideo15Transformer3DModel

from videosieve.bench.timing import describe_machine, peak_extra_memory
from videosieve.integrations.diffusers import sparsify

IMAGE, BYT5, MLLM = 729, 256, 1000
VALID = 100
"""Valid rows of the prompt: what people write is far shorter than what is padded to."""
FRAMES = (2, 4, 7, 14, 28)
"""Latent frames of 32 × 32 tokens."""
STOCK_FRAMES = 14
"""The longest that the stock processor is asked for; twice as many take more than 5 GiB."""
LARGE = 111_600 + IMAGE + BYT5 + MLLM
"""Tokens at 720p and 121 frames, padding included."""


def narrow_transformer() -> Any:
    """The real class with one layer of 128 channels."""
    torch.manual_seed(0)
    return HunyuanVideo15Transformer3DModel(
        in_channels=9, out_channels=4, num_attention_heads=2, attention_head_dim=64, num_layers=1,
        num_refiner_layers=1, mlp_ratio=1.0, text_embed_dim=16, text_embed_2_dim=16, image_embed_dim=16,
        rope_axes_dim=(16, 24, 24),
    ).eval()  # fmt: skip


def forward_of(transformer: Any, frames: int) -> Callable[[], object]:
    """One forward, text to video, for peak_extra_memory."""
    texts = {
        "encoder_hidden_states": torch.randn(1, MLLM, 16),
        "encoder_attention_mask": (torch.arange(MLLM) < VALID)[None].long(),
        "encoder_hidden_states_2": torch.randn(1, BYT5, 16),
        "encoder_attention_mask_2": torch.zeros(1, BYT5, dtype=torch.long),
        "image_embeds": torch.zeros(1, IMAGE, 16),
    }
    latents = torch.randn(1, 9, frames, 32, 32)

    @torch.no_grad()
    def forward() -> object:
        return transformer(hidden_states=latents, timestep=torch.tensor([500.0]), **texts, return_dict=False)

    return forward


def measure(frames: int) -> tuple[int, dict[str, float]]:
    """Tokens with padding, and MiB at the peak: stock, dense through videosieve, and sparse (svg, density 0.3)."""
    transformer = narrow_transformer()
    forward = forward_of(transformer, frames)
    recipes: dict[str, Callable[[], Any]] = {
        "stock": nullcontext,
        "dense": lambda: sparsify(transformer, "dense"),
        "svg": lambda: sparsify(transformer, "svg", density=0.3, dense_steps=0, steps=1, min_tokens=0),
    }
    if frames > STOCK_FRAMES:
        del recipes["stock"]
    peaks = {}
    for name, hooked in recipes.items():
        with hooked():
            forward()  # what is made once, lookup tables of libraries and the like, is no part of it
            peaks[name] = peak_extra_memory(forward)
    return frames * 32 * 32 + IMAGE + BYT5 + MLLM, peaks


def coefficients(rows: list[tuple[int, float]]) -> tuple[float, float]:
    """Bytes per token and per pair of tokens, from the last two of (tokens, MiB)."""
    (n, first), (m, second) = ((tokens, 2**20 * mebibytes) for tokens, mebibytes in rows[-2:])
    pair = (second / m - first / n) / (m - n)
    return first / n - pair * n, pair


def main(longest: int = FRAMES[-1]) -> None:
    """Print the table.

    Args:
        longest: Longer videos are left out, latent frames.
    """
    print(", ".join(f"{key} {value}" for key, value in describe_machine().items()))
    print("| tokens | stock, MiB | dense through videosieve, MiB | svg, MiB |\n| --- | --- | --- | --- |")
    rows = []
    for frames in FRAMES:
        if frames > longest:
            break
        rows.append(measure(frames))
        tokens, peaks = rows[-1]
        cells = (f"{peaks[name]:.0f}" if name in peaks else "–" for name in ("stock", "dense", "svg"))
        print(f"| {tokens:,} | " + " | ".join(cells) + " |", flush=True)
    for name in rows[0][1]:
        token, pair = coefficients([(tokens, peaks[name]) for tokens, peaks in rows if name in peaks])
        print(
            f"{name}: {token:.0f} bytes per token, {pair:.2f} bytes per pair of tokens; the pairs of {LARGE:,} "
            f"tokens (720p, 121 frames) take {pair * LARGE**2 / 1e9:.1f} GB"
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--longest", type=int, default=FRAMES[-1], help="latent frames")
    main(parser.parse_args().longest)
