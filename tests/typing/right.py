"""A user's script that a type checker must take as it is."""

from pathlib import Path

import torch
from diffusers import DiffusionPipeline

import videosieve
from videosieve import Recipe, SparseVideoGen


def use(pipe: DiffusionPipeline, transformer: torch.nn.Module) -> None:
    with videosieve.sparsify(pipe, "svg", density=0.3, dense_steps=0.2, recall_rows=0) as run:
        run.trace.keep = "last"
        run.on_generation(lambda number, summary: (number, summary.run_density))
    videosieve.sparsify(transformer, Path("recipe.toml"), steps=50, backend="cpu", fused=None)
    videosieve.sparsify(pipe, SparseVideoGen(density=0.3), reuse_range=2, token_order="4x4x4")
    videosieve.sparsify(pipe, Recipe.of("radial"), tile=None, window=(3, 3, 3), block=None)
    maps = videosieve.saliency(
        pipe, "a cat", ["cat", "grass"], layers=[0, 1], num_inference_steps=20, generator=torch.Generator()
    )
    assert maps.maps.ndim
    videosieve.inspect_attention(pipe, "a cat", heads=[0], recipe="svg", guidance_scale=1.0)
    outcome = videosieve.tune(pipe, ["a cat"], psnr=30.0, minutes=15, folder="tuned", seeds=[0, 1])
    assert outcome.reached
