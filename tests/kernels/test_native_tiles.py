"""Tiles of AMX: the emulated instructions, the kernels compiled against them, and both against the processor's own."""

import subprocess
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import torch
from native_sources import (  # type: ignore[import-not-found]
    EMULATED,
    IS_X86,
    SOURCES,
    build_library,
    compiler,
)
from torch.nn.functional import scaled_dot_product_attention

from videosieve.errors import BackendError
from videosieve.kernels import native_library
from videosieve.kernels.block_sparse_attention import native
from videosieve.kernels.native_library import load, refuse_library
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.testing.factories import make_qkv, random_mask, random_ragged_mask
from videosieve.testing.kernel_inputs import KernelCall, draw_call
from videosieve.testing.oracles import attention_oracle, pairs_oracle
from videosieve.testing.tolerances import assert_attention

DRIVER = Path(__file__).with_name("tile_driver.cpp")
OPS = (
    *("block_sparse_attention", "dense_attention", "sampled_attention", "block_mass", "antidiagonal_scores"),
    *("antidiagonal_mass", "compensated_attention", "centroid_mass"),
)
HAS_TILES = refuse_library() is None and "amx_bf16" in load().instruction_sets
needs_tiles = pytest.mark.skipif(not HAS_TILES, reason="the processor, the system or the build has no tiles")


@pytest.fixture(scope="session")
def emulated(tmp_path_factory):
    """The library with emulated tiles and no other vector instructions."""
    return build_library(tmp_path_factory.mktemp("tiles"), "-O1", EMULATED, vectors=False)


@pytest.fixture
def tiles(emulated, monkeypatch):
    """That library in the place of the installed one."""
    monkeypatch.setattr(native_library, "PATH", emulated)
    monkeypatch.delenv(native_library.SWITCH, raising=False)
    names = load().instruction_sets
    assert names[0] == "amx_bf16"
    assert names[-1] == "portable"


def drawn_answers(op, dtype, backend, count):
    """Drawn calls with their results, but those whose memory the kernel refuses."""
    answers = []
    for seed in range(count):
        call = draw_call(Random(seed), op, (dtype,))
        with suppress(BackendError):
            answers.append((call, call.run(backend)))
    return answers


def run_driver(folder, *arguments):
    driver = folder / "driver"
    command = [compiler(), "-std=c++17", "-O1", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off"]
    subprocess.run([*command, f"-I{SOURCES}", DRIVER, *arguments, "-o", driver], check=True)
    result = subprocess.run([driver], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert result.stdout == "400 products\n"


def test_emulated_instructions_do_what_fp64_says(tmp_path):
    run_driver(tmp_path)


@needs_tiles
def test_emulated_instructions_are_the_processors_bit_for_bit(tmp_path):
    """Shapes of any size, infinities, NaN and numbers too small among them."""
    run_driver(tmp_path, "-DREAL_TILES", SOURCES / "processor.cpp")


@pytest.mark.parametrize("head_dim", [1, 7, 32, 33, 64, 80, 128, 256])
def test_attention_by_emulated_tiles_matches_fp64(tiles, head_dim):
    """141 queries: full and narrow panels; 333 keys: several chunks, the last one odd."""
    q, k, v = make_qkv(141, 333, heads=2, head_dim=head_dim, dtype=torch.bfloat16)
    for mask in (
        random_mask(141, 333, BlockSize(48, 16), 0.7, heads=2),
        random_ragged_mask(141, 333, (5, 40), 0.5, heads=2),
        BlockMask.dense(141, BlockSize(64, 64), keys=333, causal=True),
    ):
        assert_attention(native.block_sparse_attention(q, k, v, mask, 0.3), q, k, v, pairs_oracle(mask), 0.3)


@pytest.mark.parametrize("op", OPS)
def test_every_op_by_emulated_tiles_is_what_fp64_says(tiles, op):
    """Odd sizes anywhere in memory, orders and groups of heads; fp32 rounded inside as well, where an op rounds."""
    cases = [("native", torch.bfloat16)]
    if op in ("block_sparse_attention", "dense_attention", "compensated_attention"):
        cases.append(("native-bf16", torch.float32))
    for backend, dtype in cases:
        answers = drawn_answers(op, dtype, backend, 80)
        assert len(answers) >= 20
        for call, result in answers:
            call.judge(result, backend)


def test_values_read_from_blocks_of_all_keys_have_the_bits_of_copies(tiles):
    """Spans that begin and end anywhere: 700 queries pair all keys beforehand, 32 of them alone do not."""
    q, k, v = make_qkv(704, 515, heads=2, head_dim=40, dtype=torch.bfloat16)
    mask = random_ragged_mask(704, 515, (22, 13), 0.5, heads=2)
    whole = native.block_sparse_attention(q, k, v, mask, 0.3)
    assert_attention(whole, q, k, v, pairs_oracle(mask), 0.3)
    every = random_mask(704, 515, BlockSize(32, 33), 0.6, heads=2)
    whole = native.block_sparse_attention(q, k, v, every, 0.3)
    for row in (0, 9, 21):
        part = BlockMask(every.keep[:, :, row : row + 1], BlockSize(32, 33), 32, 515)
        queries = slice(32 * row, 32 * row + 32)
        alone = native.block_sparse_attention(q[:, :, queries], k, v, part, 0.3)
        for one, other in zip(alone, whole, strict=True):
            assert torch.equal(one, other[:, :, queries])


def test_what_is_not_kept_is_not_read_by_tiles(tiles):
    """Tiles are 16 keys high and 32 wide: what lies beside kept keys is poison."""
    q, k, v = make_qkv(600, 203, heads=2, head_dim=32, dtype=torch.bfloat16)
    keep = torch.ones(1, 1, 5, 12, dtype=torch.bool)
    keep[..., 1::2] = False
    mask = BlockMask(keep, BlockSize(128, 17), 600, 203)
    expected = native.block_sparse_attention(q, k, v, mask, 0.3)
    dropped = (torch.arange(203) // 17) % 2 == 1
    k[:, :, dropped] = v[:, :, dropped] = torch.nan
    for one, other in zip(native.block_sparse_attention(q, k, v, mask, 0.3), expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_logits_of_ten_thousand_are_weighed_without_nan(tiles, sign):
    q, k, v = make_qkv(75, 140, heads=1, head_dim=64, dtype=torch.bfloat16)
    q = q * (5e4 / (q.double() @ k.double().mT * 0.125).abs().amax()).to(q.dtype)
    mask = BlockMask.dense(75, BlockSize(64, 64), keys=140)
    actual = native.block_sparse_attention(q, k, v, mask, sign * 0.125)
    assert actual[0].isfinite().all()
    assert_attention(actual, q, k, v, pairs_oracle(mask), sign * 0.125)


def test_the_error_is_within_twice_that_of_torch(tiles):
    q, k, v = make_qkv(260, 515, heads=2, head_dim=64, dtype=torch.bfloat16)
    exact, _ = attention_oracle(q, k, v, torch.ones(1, 1, 260, 515, dtype=torch.bool), 0.125)
    call = KernelCall("dense_attention", {"q": q, "k": k, "v": v, "scale": 0.125})
    errors = [(x.double() - exact).abs() for x in (call.run("native"), scaled_dot_product_attention(q, k, v))]
    assert errors[0].max() <= 2 * errors[1].max()
    assert errors[0].mean() <= 2 * errors[1].mean()


@pytest.mark.slow
@needs_tiles
def test_kernels_by_emulated_tiles_have_the_processors_bits(tmp_path, monkeypatch):
    """The same source with the same vector instructions, tiles emulated and not."""
    library = build_library(tmp_path, "-O2", EMULATED, vectors=IS_X86)
    answers = [answer for op in OPS for answer in drawn_answers(op, torch.bfloat16, "native", 60)]
    assert len(answers) > 120
    monkeypatch.setattr(native_library, "PATH", library)
    for call, result in answers:
        results = ([x] if isinstance(x, torch.Tensor) else list(x) for x in (call.run("native"), result))
        for one, other in zip(*results, strict=True):
            assert one is other is None or torch.equal(one.nan_to_num(7), other.nan_to_num(7)), str(call)
