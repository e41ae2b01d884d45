"""The Triton kernel of block-sparse attention, compiled ahead of time at every row of its launch table."""

import pytest
import torch

pytest.importorskip("triton")

from benchmarks.resources import HEADS, TOKENS, compile_call
from videosieve.kernels.block_sparse_attention import launch as launches
from videosieve.kernels.block_sparse_attention.fp8 import reference as fp8
from videosieve.kernels.block_sparse_attention.fp8.triton import rounding_arguments
from videosieve.kernels.block_sparse_attention.fp8.triton_kernel import round_block
from videosieve.kernels.block_sparse_attention.launch import TABLE, find_launch
from videosieve.kernels.block_sparse_attention.triton_kernel_lists import list_kept_blocks
from videosieve.kernels.block_sparse_attention.work import listing_arguments
from videosieve.kernels.launch import SHARED_MEMORY, Launch
from videosieve.masks.block_mask import BlockSize
from videosieve.testing.factories import make_qkv, random_mask
from videosieve.testing.triton_compile import compile_for

NEVER_SPILLED = 64  # bytes outside the main loop, once per program: lost beside hundreds of steps


def check_costs(compiled):
    assert compiled.loop_spills == 0
    assert compiled.spills <= NEVER_SPILLED
    assert compiled.shared <= SHARED_MEMORY[compiled.arch]
    assert compiled.asynchronous_copies


ROWS = [(arch, *key) for arch, key, _ in TABLE if arch in (80, 90, 100)]


@pytest.mark.parametrize(("arch", "head_dim", "value_bytes", "side"), ROWS, ids=lambda value: str(value))
def test_a_row_of_the_table_compiles_without_spills_and_fits(arch, head_dim, value_bytes, side):
    compiled = compile_call(arch, head_dim, value_bytes, side, TABLE.find(arch, head_dim, value_bytes, side))
    check_costs(compiled)
    if value_bytes < 4:
        assert (compiled.wgmma, compiled.tcgen05) == (arch == 90, arch == 100)


@pytest.mark.parametrize("arch", [80, 90, 100])
@pytest.mark.parametrize("variant", ["ragged", "ordered", "head_dim 96"])
def test_other_forms_of_the_kernel_compile_as_well(arch, variant):
    head_dim = 96 if variant == "head_dim 96" else 128
    compiled = compile_call(arch, head_dim, 2, 64, ragged=variant == "ragged", ordered=variant == "ordered")
    check_costs(compiled)
    assert (compiled.wgmma, compiled.tcgen05) == (arch == 90, arch == 100)


TIGHT = [(80, 64, 4, 64), (90, 128, 2, 128), (100, 128, 2, 64)]


@pytest.mark.parametrize(("arch", "head_dim", "value_bytes", "side"), TIGHT, ids=str)
@pytest.mark.parametrize("form", [{}, {"ordered": True}], ids=["in order", "ordered"])
def test_centroids_cost_no_spills(arch, head_dim, value_bytes, side, form):
    """The rows of the table that have the fewest registers left."""
    compiled = compile_call(arch, head_dim, value_bytes, side, answered=True, **form)
    check_costs(compiled)
    if value_bytes < 4:
        assert (compiled.wgmma, compiled.tcgen05) == (arch == 90, arch == 100)


def test_counts_of_one_compile_with_centroids():
    assert compile_call(80, 64, 2, 64, heads=1, tokens=1, answered=True).loop_spills == 0


@pytest.mark.parametrize("arch", [80, 90, 100])
def test_the_smallest_blocks_compile(arch):
    compiled = compile_call(arch, 48, 2, 16)
    assert compiled.spills == 0
    assert not compiled.wgmma  # it takes 64 rows at a time


@pytest.mark.parametrize(
    "form", [{}, {"ragged": True, "ordered": True}], ids=["uniform", "ragged and ordered"]
)
def test_counts_of_one_become_constants_and_still_compile(form):
    assert compile_call(80, 64, 2, 64, heads=1, tokens=1, **form).loop_spills == 0


@pytest.mark.parametrize("sized", [False, True], ids=["uniform", "ragged"])
def test_the_listing_kernel_compiles(sized):
    keep = random_mask(32, 16 * 900, BlockSize(16, 16), 0.5).keep
    sizes = torch.ones(900, dtype=torch.int32) if sized else None
    indices, counts = (torch.empty(1, dtype=torch.int32) for _ in range(2))
    compiled = compile_for(list_kept_blocks, listing_arguments(keep, sizes, indices, counts, 64), 80)
    assert compiled.spills == 0


@pytest.mark.parametrize("side", [64, 128])
def test_the_rounding_kernel_compiles(side):
    x = make_qkv(TOKENS, 1, heads=HEADS, head_dim=128, dtype=torch.bfloat16)[0]
    mean, products = torch.zeros(1, HEADS, 128), torch.zeros(1, HEADS, TOKENS)
    arguments = rounding_arguments(x, side, fp8.quantise(x, side), products, mean, None)
    compiled = compile_for(round_block, arguments, 90)
    assert compiled.spills == 0


def test_a_launch_never_exceeds_the_block_or_the_device():
    for arch in (80, 86, 89, 90, 100, 103, 120):
        for head_dim in (16, 64, 96, 128):
            for side in (16, 48, 64, 128, 192, 256):
                launch = find_launch(arch, head_dim, 2, side, side)
                assert all(side % tile == 0 for tile in launch.tile)
    small = find_launch(90, 128, 2, 128, 16)
    assert (small.tile, small.num_warps) == ((128, 16), 4)


def test_the_newest_rows_that_fit_are_taken():
    assert find_launch(90, 96, 2, 256, 128) == TABLE.find(90, 128, 2, 128)
    assert find_launch(100, 32, 2, 64, 64) == TABLE.find(100, 64, 2, 64)
    assert find_launch(90, 128, 4, 128, 128) == TABLE.find(80, 128, 4, 64)
    assert find_launch(89, 64, 1, 128, 128) == Launch((64, 64), 4, 3)
    assert launches.tile_side(96) == 32
