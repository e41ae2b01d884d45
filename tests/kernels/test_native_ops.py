"""The native kernels besides block-sparse attention: instruction sets, elements, odd head_dim, threads, refusals."""

import pytest
import torch

from videosieve.errors import BackendError
from videosieve.kernels import antidiagonal_scores, block_mass, sampled_attention
from videosieve.kernels.antidiagonal_scores import native as antidiagonals
from videosieve.kernels.antidiagonal_scores import reference as antidiagonals_reference
from videosieve.kernels.block_mass import native as masses
from videosieve.kernels.block_mass import reference as masses_reference
from videosieve.kernels.native_library import ELEMENTS, load, refuse_library
from videosieve.kernels.sampled_attention import native as sampled
from videosieve.masks.block_mask import BlockSize
from videosieve.testing.factories import make_qkv
from videosieve.testing.tolerances import assert_attention, assert_within

if (reason := refuse_library()) is not None:
    pytest.skip(f"the native kernels cannot run here: {reason}", allow_module_level=True)

SETS = load().instruction_sets
combinations = pytest.mark.parametrize(
    ("instruction_set", "dtype", "head_dim"),
    [(name, dtype, head_dim) for name in SETS for dtype in ELEMENTS for head_dim in (7, 32, 128)],
)


def random_masks(rows, keys, count):
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(1, 2, rows, keys, generator=generator) < 0.3 for _ in range(count)]


@combinations
def test_sampled_attention_matches_fp64(instruction_set, dtype, head_dim):
    """141 rows: three tasks, of which the last is one narrow panel; 333 keys: more than two chunks."""
    q, k, v = make_qkv(141, 333, heads=2, head_dim=head_dim, dtype=dtype)
    masks = random_masks(141, 333, 2)
    output, lse, *masked = sampled.sampled_attention(q, k, v, masks, 0.3, instruction_set)
    q, k, v = q.float(), k.float(), v.float()
    assert_attention((output, lse), q, k, v, torch.ones(1, 1, 141, 333, dtype=torch.bool), 0.3)
    for masked_output, masked_lse, mask in zip(*masked, masks, strict=True):
        assert_attention((masked_output, masked_lse), q, k, v, mask, 0.3)


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("gap", [20.0, 60.0, 400.0])
def test_sampled_attention_is_exact_where_a_mask_keeps_almost_nothing(instruction_set, gap):
    """Key 40 outweighs the others by exp(gap); masks drop it, a row keeps nothing, stretches are dropped by all."""
    q, k, v = make_qkv(45, 333, heads=2, head_dim=32)
    q[..., 0], k[..., 0] = gap, 0.0
    k[:, :, 40] = 0.0
    k[:, :, 40, 0] = 1.0
    masks = random_masks(45, 333, 2)
    for mask in masks:
        mask[..., 40] = False
    masks[0][:, :, 7] = False
    masks[1][..., 90:250] = False
    _, _, *masked = sampled.sampled_attention(q, k, v, masks, 1.0, instruction_set)
    for output, lse, mask in zip(*masked, masks, strict=True):
        assert_attention((output, lse), q, k, v, mask, 1.0)
    assert bool((masked[1][0, :, :, 7] == -torch.inf).all())


def test_masks_of_any_strides_give_the_same_bits():
    q, k, v = make_qkv(45, 75, heads=2, head_dim=32)
    mask = random_masks(45, 75, 1)[0]
    first = mask[:, :1, :1].expand(1, 2, 45, 75)
    wide = torch.ones(1, 2, 45, 151, dtype=torch.bool)
    wide[..., 76:] = mask
    strided = [mask.mT.contiguous().mT, wide[..., 76:], first]
    plain = [mask, mask, first.contiguous()]
    results = [sampled.sampled_attention(q, k, v, masks, 0.3) for masks in (strided, plain)]
    assert all(torch.equal(x, y) for x, y in zip(*results, strict=True))


@combinations
@pytest.mark.parametrize("block", [BlockSize(200, 13), BlockSize(16, 128)], ids=str)
def test_block_mass_matches_fp64(instruction_set, dtype, head_dim, block):
    q, k, _ = make_qkv(141, 333, heads=2, head_dim=head_dim, dtype=dtype)
    lse = (q.double() @ k.double().mT * 0.3).logsumexp(-1).float()
    actual = masses.block_mass(q, k, lse, block, 0.3, instruction_set)
    exact = masses_reference.block_mass(q.double(), k.double(), lse.double(), block, 0.3)
    assert_within(actual, masses_reference.block_mass(q.float(), k.float(), lse, block, 0.3), exact, "mass")


@combinations
@pytest.mark.parametrize("stride", [3, 16, 400])
def test_antidiagonal_scores_match_fp64(instruction_set, dtype, head_dim, stride):
    q, k, _ = make_qkv(641, 333, heads=2, head_dim=head_dim, dtype=dtype)
    actual = antidiagonals.antidiagonal_scores(q, k, stride, 0.3, instruction_set)
    exact = antidiagonals_reference.antidiagonal_scores(q.double(), k.double(), stride, 0.3)
    rough = antidiagonals_reference.antidiagonal_scores(q.float(), k.float(), stride, 0.3)
    assert_within(actual, rough, exact, "scores")


def test_the_number_of_threads_changes_no_bit(monkeypatch):
    q, k, v = make_qkv(400, 900, heads=4, head_dim=64)
    lse = torch.zeros(1, 4, 400) + 7
    masks = [random_masks(400, 900, 1)[0][:, :1]]
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        results.append(
            [
                *sampled.sampled_attention(q, k, v, masks, 0.1),
                masses.block_mass(q, k, lse, BlockSize(48, 32), 0.1),
                antidiagonals.antidiagonal_scores(q, k, 4, 0.1),
            ]
        )
    for other in results[1:]:
        assert all(torch.equal(x, y) for x, y in zip(other, results[0], strict=True))


def test_mass_overflows_to_infinity_and_nan_stays_in_its_block():
    q, k, _ = make_qkv(32, 32, heads=1)
    lse = torch.zeros(1, 1, 32)
    lse[..., :16] = -300.0
    k[..., 20, :] = torch.nan
    for instruction_set in SETS:
        mass = masses.block_mass(q, k, lse, BlockSize(16, 16), 0.1, instruction_set)
        assert mass[0, 0, 0, 0] == torch.inf
        assert mass[0, 0, :, 1].isnan().all()
        assert mass[0, 0, 1, 0].isfinite()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda q, k: sampled_attention(q, k, k, [], backend="native"), "torch.float64"),
        (lambda q, k: block_mass(q, k, q[..., 0], BlockSize(4, 4), backend="native"), "torch.float64"),
        (lambda q, k: antidiagonal_scores(q, k, 4, backend="native"), "torch.float64"),
        (
            lambda q, k: antidiagonal_scores(q.float(), k.float(), 2000, backend="native"),
            "at most 1024 tokens",
        ),
        (
            lambda q, k: sampled_attention(
                q.float(), k.float(), k.float(), random_masks(16, 16, 9), backend="native"
            ),
            "at most 8 masks, got 9",
        ),
        (
            lambda q, k: sampled_attention(
                q.float(), k.float(), k.float(), [torch.ones(1, 1, 16, 16)], backend="native"
            ),
            "bool masks on the CPU, got torch.float32",
        ),
        (
            lambda q, k: block_mass(
                q.float(),
                k.float(),
                torch.zeros(1, 2, 16).requires_grad_(),
                BlockSize(4, 4),
                backend="native",
            ),
            "has no backward",
        ),
    ],
)
def test_what_they_cannot_run_is_refused_with_the_reason(call, message):
    q, k, _ = make_qkv(16, 16, dtype=torch.float64)
    with pytest.raises(BackendError, match=f"native cannot run this .*{message}"):
        call(q, k)
