"""The noise floor of a comparison: dense attention again, by another kernel than the baseline's.

Two kernels that both compute everything differ by rounding, and a diffusion model makes more of it. So the row says two
things: a method whose PSNR reaches the floor's cannot be told from dense attention here, and the floor's speed-up is
what the kernel alone brings, with nothing left out.
"""

from typing import TYPE_CHECKING

import torch

from videosieve.errors import BackendError
from videosieve.generation.generate import Clip, rehearse
from videosieve.generation.request import Request
from videosieve.methods import Dense
from videosieve.recipe import Recipe

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

# In the order in which they are tried; "sdpa" is missing, it may be the baseline's kernel under another name.
KERNELS = ("native", "flash", "block-sparse", "reference")
MOST_SCORES = 2**29  # "reference" holds all scores of a call at once: 2 GiB in fp32


def dense_kernels(clip: Clip) -> list[str]:
    """Kernels that computed the dense calls of a clip, the most frequent first."""
    names = [record.kernel for record in clip.trace.records if record.action == "dense"]
    return sorted(set(names), key=lambda name: -names.count(name))


def choose_floor(pipe: "DiffusionPipeline", request: Request, dense: Clip) -> Recipe:
    """Find another dense kernel that can run a request; it is warmed up on the way.

    Args:
        pipe: A diffusers video pipeline.
        request: What to generate.
        dense: The rehearsal of the baseline. A kernel whose rehearsal is the same bit by bit computes the same way
            under another name, and says nothing about rounding.

    Returns:
        A dense recipe that names the kernel.

    Raises:
        BackendError: There is none; the message has each reason.
    """
    reasons = []
    for kernel in [name for name in KERNELS if name not in dense_kernels(dense)]:
        if (
            kernel == "reference"
            and (most := max(record.pairs for record in dense.trace.records)) > MOST_SCORES
        ):
            reasons.append(f"reference would hold {most:,} scores at once")
            continue
        recipe = floor_recipe(kernel)
        try:
            clip = rehearse(pipe, request, recipe)
        except BackendError as error:
            reasons.append(str(error))
            continue
        if not torch.equal(clip.frames, dense.frames):
            return recipe
        reasons.append(f"{kernel} computes what the baseline computes, bit by bit")
    raise BackendError(f"no second dense kernel: {'; '.join(reasons)}")


def floor_recipe(kernel: str) -> Recipe:
    """Dense attention by a named kernel, under a name that says so."""
    return Recipe(Dense(kernel), name=f"dense ({kernel} kernel)")
