"""Triton turns an argument of 1 into a constant: every kernel must compile where all its sizes are 1."""

import pytest
import torch

from videosieve.kernels.antidiagonal_scores import launch as antidiagonal_launch
from videosieve.kernels.antidiagonal_scores import triton as antidiagonal
from videosieve.kernels.block_mass import launch as block_mass_launch
from videosieve.kernels.block_mass import triton as block_mass
from videosieve.kernels.centroid_mass import launch as centroid_mass_launch
from videosieve.kernels.centroid_mass import triton as centroid_mass
from videosieve.kernels.kmeans import launch as kmeans_launch
from videosieve.kernels.kmeans import triton as kmeans
from videosieve.kernels.norm_rope import HeadNorm, Rotation, Stream
from videosieve.kernels.norm_rope import triton as norm_rope
from videosieve.kernels.pool_blocks import launch as pool_launch
from videosieve.kernels.pool_blocks import triton as pool
from videosieve.kernels.reorder_tokens import launch as reorder_launch
from videosieve.kernels.reorder_tokens import triton as reorder
from videosieve.kernels.sampled_attention import launch as sampled_launch
from videosieve.kernels.sampled_attention import triton as sampled
from videosieve.masks.block_mask import BlockSize
from videosieve.testing.triton_compile import compile_for

X = torch.zeros(1, 1, 1, 64, dtype=torch.bfloat16)
ONE, ORDER, HEADS = (
    torch.zeros(1, 1, 1),
    torch.zeros(1, dtype=torch.int64),
    torch.ones(1, 1, dtype=torch.bool),
)
SIDES = BlockSize(1, 1)
MASK = torch.ones(1, 1, 1, 1, dtype=torch.bool)


def norm_rope_arguments():
    stream = Stream(
        X,
        X,
        HeadNorm("rms", 1e-6, X[0, 0, 0], None, True),
        None,
        Rotation(ONE[0].expand(1, 32), ONE[0].expand(1, 32)),
    )
    return {
        **norm_rope.kernel_arguments(stream, [X, X, None, None, None, None], ORDER, HEADS, 1),
        "BT": 4,
        "BH": 16,
    }


EDGES = torch.tensor([[[0, 1]]])
CASES = {
    "pool_blocks": lambda: (
        pool.pool_blocks_kernel,
        pool.prepare(X, EDGES, ORDER, X, ONE, pool_launch.find_launch(X)),
    ),
    "centroid_mass": lambda: (
        centroid_mass.centroid_mass_kernel,
        centroid_mass.prepare(
            X, X, (ONE, EDGES, ORDER), MASK.float(), 0.1, centroid_mass_launch.find_launch(X)
        ),
    ),
    "norm_rope": lambda: (norm_rope.norm_rope_kernel, norm_rope_arguments()),
    "reorder_tokens": lambda: (
        reorder.reorder_kernel,
        reorder.prepare(X, X, ORDER, HEADS, reorder_launch.find_launch(X)),
    ),
    "antidiagonal_scores": lambda: (
        antidiagonal.antidiagonal_kernel,
        antidiagonal.prepare(X, X, MASK.float(), 1, 0.1, antidiagonal_launch.find_launch(X)),
    ),
    "block_mass": lambda: (
        block_mass.block_mass_kernel,
        block_mass.prepare(X, X, ONE, MASK.float(), SIDES, 0.1, block_mass_launch.find_launch(X)),
    ),
    "sampled_attention": lambda: (
        sampled.sampled_kernel,
        sampled.prepare(X, X, X, [MASK], (X.float()[None, None], ONE), 0.1, sampled_launch.find_launch(X)),
    ),
    "kmeans assign": lambda: (
        kmeans.assign_kernel,
        kmeans.prepare_assign(X, X.float(), ONE.int(), kmeans_launch.find_launch(X)),
    ),
    "kmeans update": lambda: (
        kmeans.update_kernel,
        kmeans.prepare_update(X, ONE.long(), ONE.int(), X.float(), X.float(), kmeans_launch.find_launch(X)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_sizes_of_one_compile(name):
    kernel, arguments = CASES[name]()
    assert compile_for(kernel, arguments, 90, num_warps=8).spills == 0
