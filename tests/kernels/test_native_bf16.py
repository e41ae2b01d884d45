"""Products of bf16 by the native CPU kernel, where the processor has them: what the tests of all sets leave open."""

import os
from pathlib import Path

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from videosieve.call import AttentionCall
from videosieve.comparison.plan import name_recipes
from videosieve.errors import BackendError, RecipeError
from videosieve.forward import Site
from videosieve.kernels import block_sparse_attention, centroids_of, native_library
from videosieve.kernels.block_sparse_attention import native
from videosieve.kernels.native_library import SWITCH, NativeLibrary, load, refuse_library, refuse_products
from videosieve.layout import VideoLayout
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.recipe import Recipe
from videosieve.run import Run
from videosieve.testing.factories import make_qkv, random_mask, random_ragged_mask
from videosieve.testing.kernel_inputs import KernelCall
from videosieve.testing.oracles import attention_oracle, pairs_oracle
from videosieve.testing.tolerances import assert_attention

if (reason := refuse_library()) is not None:
    pytest.skip(f"the native kernels cannot run here: {reason}", allow_module_level=True)

SETS = load().instruction_sets
WITH_PAIRS = [name for name in SETS if name.endswith("bf16")]
needs_pairs = pytest.mark.skipif(not WITH_PAIRS, reason="the processor or the build has no products of bf16")


def attend(q, k, v, mask, instruction_set=None, orders=(None, None)):
    scale = q.shape[-1] ** -0.5
    return native.block_sparse_attention(q, k, v, mask, scale, *orders, instruction_set=instruction_set)


def test_the_set_is_chosen_where_the_processor_has_it():
    """Tiles come first; without them pairs do, but on Intel's processors, where fp32 is faster."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        pytest.skip("there is no /proc/cpuinfo")
    if SWITCH in os.environ:
        pytest.skip(f"{SWITCH} is set")
    flags = cpuinfo.read_text().partition("\nflags")[2].partition("\n")[0].split()
    assert ("avx512_bf16" in SETS) == ("avx512" in SETS and "avx512_bf16" in flags)
    if "amx_bf16" in SETS:  # the system may refuse what the processor has
        assert {"amx_bf16", "amx_tile", "avx512_bf16"} <= set(flags)
        assert SETS[0] == "amx_bf16"
    if "avx512_bf16" in SETS:
        behind = "GenuineIntel" in cpuinfo.read_text()
        assert (SETS.index("avx512_bf16") > SETS.index("avx512")) == behind


def test_a_slower_set_is_chosen_by_name(monkeypatch):
    monkeypatch.setenv(SWITCH, SETS[-1])
    assert load().instruction_sets == SETS[-1:]
    q, k, v = make_qkv(33, 40, head_dim=20)
    mask = random_mask(33, 40, BlockSize(16, 16), 0.5)
    by_name = native.block_sparse_attention(q, k, v, mask, 0.3)
    monkeypatch.delenv(SWITCH)
    expected = native.block_sparse_attention(q, k, v, mask, 0.3, instruction_set=SETS[-1])
    for one, other in zip(by_name, expected, strict=True):
        assert torch.equal(one, other)
    missing = next((name for name in native_library.SETS if name not in SETS), None)
    if missing is not None:
        monkeypatch.setenv(SWITCH, missing)
        assert f"{SWITCH} asks for {missing}, and this processor and build have {SETS[0]}" in refuse_library()


@needs_pairs
@pytest.mark.parametrize("instruction_set", WITH_PAIRS)
def test_other_elements_keep_the_bits_of_the_set_without_pairs(instruction_set):
    for dtype in (torch.float32, torch.float16):
        q, k, v = make_qkv(300, 333, heads=2, head_dim=33, dtype=dtype)
        mask = random_mask(300, 333, BlockSize(48, 16), 0.5, heads=2)
        for one, other in zip(
            attend(q, k, v, mask, instruction_set), attend(q, k, v, mask, "avx512"), strict=True
        ):
            assert torch.equal(one, other)


@needs_pairs
@pytest.mark.parametrize("head_dim", [64, 65, 128])
@pytest.mark.parametrize("side", [32, 33], ids=["even", "odd"])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("name", WITH_PAIRS)
def test_pairs_made_once_give_the_bits_of_pairs_made_by_every_task(head_dim, side, ordered, name):
    """700 queries read a key often enough for pairs of all keys; 32 of them alone do not. 515 keys: an odd end."""
    q, k, v = make_qkv(700, 515, heads=2, head_dim=head_dim, dtype=torch.bfloat16)
    mask = random_mask(700, 515, BlockSize(32, side), 0.6, heads=2)
    order = torch.randperm(515, generator=torch.Generator().manual_seed(0)) if ordered else None
    output, lse = attend(q, k, v, mask, name, (None, order))
    for row in range(0, 22, 7):
        queries = slice(row * 32, min(row * 32 + 32, 700))
        part = BlockMask(
            mask.keep[:, :, row : row + 1], BlockSize(32, side), queries.stop - queries.start, 515
        )
        alone = attend(q[:, :, queries], k, v, part, name, (None, order))
        assert torch.equal(alone[0], output[:, :, queries])
        assert torch.equal(alone[1], lse[:, :, queries])


@needs_pairs
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("name", WITH_PAIRS)
def test_keys_that_are_not_kept_are_not_read_from_pairs_either(ordered, name):
    """Every odd column is dropped and poisoned: blocks of 7 keys, so that kept and dropped values are neighbours."""
    q, k, v = make_qkv(600, 203, heads=2, head_dim=32, dtype=torch.bfloat16)
    keep = torch.ones(1, 1, 5, 29, dtype=torch.bool)
    keep[..., 1::2] = False
    mask = BlockMask(keep, BlockSize(128, 7), 600, 203)
    order = torch.randperm(203, generator=torch.Generator().manual_seed(0)) if ordered else None
    expected = attend(q, k, v, mask, name, (None, order))
    dropped = (torch.arange(203) // 7) % 2 == 1
    poisoned = [x.clone() for x in (k, v)]
    for x in poisoned:
        x[:, :, dropped if order is None else order[dropped]] = torch.nan
    for one, other in zip(attend(q, *poisoned, mask, name, (None, order)), expected, strict=True):
        assert torch.equal(one, other)


@needs_pairs
@pytest.mark.parametrize("head_dim", [64, 128])
@pytest.mark.parametrize("name", WITH_PAIRS)
def test_the_error_is_within_twice_that_of_torch(head_dim, name):
    """Both round weights to bf16 and sum in fp32; the output's own rounding is the larger part of either error."""
    q, k, v = make_qkv(520, 1030, heads=2, head_dim=head_dim, dtype=torch.bfloat16)
    exact, _ = attention_oracle(q, k, v, torch.ones(1, 1, 520, 1030, dtype=torch.bool), head_dim**-0.5)
    errors = [
        (output.double() - exact).abs()
        for output in (
            attend(q, k, v, BlockMask.dense(520, BlockSize(128, 128), keys=1030), name)[0],
            scaled_dot_product_attention(q, k, v),
        )
    ]
    assert errors[0].max() <= 2 * errors[1].max()
    assert errors[0].mean() <= 2 * errors[1].mean()


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_logits_of_ten_thousand_are_weighed_without_nan(instruction_set, sign):
    q, k, v = make_qkv(300, 400, heads=2, head_dim=64, dtype=torch.bfloat16)
    q = q * (1e4 / (q.double() @ k.double().mT * 0.125).abs().amax()).to(q.dtype) * 8
    scores = q.double() @ k.double().mT * 0.125
    assert scores.abs().amax() > 5e4
    for mask in (
        BlockMask.dense(300, BlockSize(64, 64), keys=400),
        random_ragged_mask(300, 400, (5, 40), 0.5, heads=2),
    ):
        actual = native.block_sparse_attention(q, k, v, mask, sign * 0.125, instruction_set=instruction_set)
        assert actual[0].isfinite().all()
        assert_attention(actual, q, k, v, pairs_oracle(mask), sign * 0.125)


@needs_pairs
@pytest.mark.parametrize("name", WITH_PAIRS)
def test_heads_that_share_keys_share_their_pairs(name):
    q, k, v = make_qkv(400, 300, heads=6, head_dim=64, dtype=torch.bfloat16)
    k, v = k[:, ::3].contiguous(), v[:, ::3].contiguous()
    mask = random_mask(400, 300, BlockSize(32, 32), 0.7, heads=6)
    repeated = (x.repeat_interleave(3, 1) for x in (k, v))
    for one, other in zip(attend(q, k, v, mask, name), attend(q, *repeated, mask, name), strict=True):
        assert torch.equal(one, other)


@needs_pairs
@pytest.mark.parametrize("head_dim", [1, 7, 64, 128])
def test_fp32_rounded_inside_is_bf16_but_for_the_output(head_dim):
    """q, k, v are rounded once, in every way of reading them; the output is that of bf16 before it is rounded."""
    q, k, v = make_qkv(300, 333, heads=2, head_dim=head_dim)
    order = torch.randperm(333, generator=torch.Generator().manual_seed(0))
    for mask, key_order in (
        (random_mask(300, 333, BlockSize(32, 32), 0.7, heads=2), None),
        (random_mask(300, 333, BlockSize(32, 32), 0.7, heads=2), order),
        (random_ragged_mask(300, 333, (5, 40), 0.5, heads=2), None),
        (BlockMask.dense(300, BlockSize(64, 64), keys=333, causal=True), None),
    ):
        output, lse = block_sparse_attention(
            q, k, v, mask, scale=0.3, backend="native-bf16", key_order=key_order
        )
        halves = [x.bfloat16() for x in (q, k, v)]
        expected, expected_lse = block_sparse_attention(*halves, mask, scale=0.3, key_order=key_order)
        assert output.dtype == torch.float32
        assert torch.equal(output.bfloat16(), expected)
        assert torch.equal(lse, expected_lse)
        plain = block_sparse_attention(q, k, v, mask, scale=0.3, key_order=key_order)[0]
        assert not torch.equal(output, plain)


@needs_pairs
def test_centroids_and_dense_attention_are_rounded_inside_as_well():
    q, k, v = make_qkv(203, 203, heads=2, head_dim=64)
    mask = random_mask(203, 203, BlockSize(32, 32), 0.4, heads=2)
    centroids = centroids_of(k, v, mask)
    for op, arguments in (
        ("compensated_attention", {"mask": mask, "centroids": centroids}),
        ("block_sparse_attention", {"mask": mask}),
        ("dense_attention", {"causal": True}),
    ):
        call = KernelCall(op, {"q": q, "k": k, "v": v, "scale": 0.3, **arguments})
        call.judge(call.run("native-bf16"), "native-bf16")


def test_what_cannot_be_rounded_is_refused_with_the_reason():
    q, k, v = make_qkv(63, 63, dtype=torch.float16)
    mask = random_mask(63, 63, BlockSize(16, 16), 0.5)
    with pytest.raises(BackendError, match=r"it rounds fp32 to bf16, got torch.float16"):
        block_sparse_attention(q, k, v, mask, backend="native-bf16")


def test_the_library_itself_refuses_to_round_without_products(monkeypatch):
    q, k, v = make_qkv(63, 63)
    mask = random_mask(63, 63, BlockSize(16, 16), 0.5)
    with pytest.raises(BackendError, match="refused attention: this instruction set has no products of bf16"):
        native.block_sparse_attention(q, k, v, mask, 0.3, instruction_set="portable", rounded=True)
    with pytest.raises(BackendError, match="refused attention: only fp32 is rounded"):
        native.block_sparse_attention(*(x.half() for x in (q, k, v)), mask, 0.3, rounded=True)
    monkeypatch.setattr(native_library, "load", lambda: NativeLibrary(None, ("avx2", "portable")))
    assert "the fastest set of this processor and build is avx2" in refuse_products()
    with pytest.raises(BackendError, match=r"prefers bf16: it needs products of bf16 .* Leave prefer out"):
        Run(Recipe.of("svg", prefer="bf16"))


@needs_pairs
def test_a_recipe_that_prefers_bf16_rounds_dense_and_sparse_calls_of_fp32_alone():
    recipe = Recipe.of("svg", prefer="bf16", dense_steps=1, dense_layers=0, min_tokens=0)
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    run = Run(recipe)
    for dtype, kernels in ((torch.float32, ["native-bf16"] * 2), (torch.bfloat16, ["native"] * 2)):
        q, k, v = make_qkv(256, 256, heads=2, head_dim=64, dtype=dtype)
        for step in range(2):
            site = Site(step=step, steps=2)
            run.attend(AttentionCall(q, k, v, VideoLayout.of(4, 8, 8), site, 0.125))
        assert [record.kernel for record in run.trace.records[-2:]] == kernels
    assert [record.action for record in run.trace.records] == ["dense", "sparse"] * 2
    q, k, v = make_qkv(256, 256, heads=2, head_dim=64, dtype=torch.float16)
    with pytest.raises(BackendError, match="it rounds fp32 to bf16, got torch.float16"):
        run.attend(AttentionCall(q, k, v, VideoLayout.of(4, 8, 8), Site(step=1, steps=2), 0.125))


def test_prefer_is_checked():
    with pytest.raises(RecipeError, match="prefer"):
        Recipe.of("svg", prefer="fp8")
    with pytest.raises(RecipeError, match="'dense' computes what the untouched pipeline does"):
        Recipe.of("dense", prefer="bf16")
    with pytest.raises(RecipeError, match="leave one of them out"):
        Run(Recipe.of("svg", prefer="bf16"), backend="cpu")


def test_a_comparison_of_what_prefers_bf16_shows_what_rounding_alone_costs():
    named = name_recipes([Recipe.of("svg", prefer="bf16")])
    assert list(named) == ["dense", "dense (native-bf16 kernel)", "svg"]
    assert list(name_recipes([Recipe.of("svg", prefer="bf16")], floor=False)) == ["dense", "svg"]
    assert list(name_recipes([Recipe.of("svg")])) == ["dense", "svg"]
