"""Other people's kernels: capability checks by name, and the self-test that finds those which are wrong."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

from videosieve.errors import BackendError
from videosieve.kernels import block_sparse_attention
from videosieve.kernels.block_sparse_attention import IMPLEMENTATIONS, reference
from videosieve.kernels.block_sparse_attention.foreign import adapters
from videosieve.kernels.block_sparse_attention.foreign.self_test import find_failure
from videosieve.kernels.dispatch import Implementation, choose
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.masks.ragged_mask import RaggedBlockMask
from videosieve.testing.factories import make_qkv, random_mask
from videosieve.testing.oracles import pairs_oracle
from videosieve.testing.tolerances import assert_attention

CPU, BLOCK = torch.device("cpu"), BlockSize(16, 32)


@pytest.fixture(autouse=True)
def _forget_tests():
    yield
    adapters._test_once.cache_clear()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_right_kernel_passes_the_self_test_in_every_precision(dtype):
    assert find_failure(reference.block_sparse_attention, CPU, dtype, 64, BLOCK) is None


def dense(q, k, v, mask, scale):
    return reference.block_sparse_attention(q, k, v, BlockMask.dense(mask.queries, mask.block), scale)


def log2_lse(q, k, v, mask, scale):
    output, lse = reference.block_sparse_attention(q, k, v, mask, scale)
    return output, lse / torch.log(torch.tensor(2.0))


def drops_the_last_block(q, k, v, mask, scale):
    keep = mask.keep.clone()
    keep[..., -1] = False
    return reference.block_sparse_attention(q, k, v, BlockMask(keep, mask.block, mask.queries), scale)


def nan_in_empty_rows(q, k, v, mask, scale):
    output, lse = reference.block_sparse_attention(q, k, v, mask, scale)
    return output.masked_fill(lse.isneginf().unsqueeze(-1), torch.nan), lse


def transposed(q, k, v, mask, scale):
    output, lse = reference.block_sparse_attention(q, k, v, mask, scale)
    return output.transpose(1, 2), lse


def raises(*_):
    raise RuntimeError("no kernel image\nis available")


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (dense, "off by .* allowed; it looks like dense attention"),
        (log2_lse, "LSE is off by"),
        (drops_the_last_block, "off by"),
        (nan_in_empty_rows, "off by nan"),
        (transposed, "returned shapes"),
        (raises, "raised RuntimeError: no kernel image is available"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_wrong_kernel_fails_the_self_test_with_a_reason(kernel, message, dtype):
    import re

    failure = find_failure(kernel, CPU, dtype, 64, BLOCK)
    assert failure is not None
    assert re.search(message, failure), failure


def test_none_is_taken_unasked():
    by_name = {i.name for i in IMPLEMENTATIONS if not i.automatic}
    assert by_name >= {"flex", "flash-attn-4", "flashinfer"}


@pytest.mark.parametrize(
    ("name", "package"), [("flash-attn-4", "flash-attn-4"), ("flashinfer", "flashinfer-python")]
)
def test_what_is_not_installed_says_so(name, package):
    q, k, v = make_qkv(64, 64)
    with pytest.raises(BackendError, match=f"{name} cannot run this .*: {package} is not installed"):
        block_sparse_attention(q, k, v, random_mask(64, 64, BLOCK, 0.5), backend=name)


def pretend(monkeypatch, arch):
    """A machine with the packages and a GPU."""
    monkeypatch.setattr(adapters, "_refuse_package", lambda *_: None)
    monkeypatch.setattr(adapters, "architecture", lambda _: arch)


@pytest.mark.parametrize(
    ("arch", "block", "head_dim", "message"),
    [
        (
            80,
            BlockSize(128, 128),
            64,
            "it skips blocks on sm90 and sm100 only and ignores the mask silently before, got sm80",
        ),
        (120, BlockSize(128, 128), 64, "got sm120"),
        (90, BlockSize(64, 64), 64, "sm90 needs blocks of a multiple of 128 queries × 128 keys, got 64 × 64"),
        (100, BlockSize(128, 128), 64, "sm100 needs blocks of a multiple of 256 queries"),
        (90, BlockSize(128, 128), 256, "head_dim from 8 to 128, got torch.bfloat16 and 256"),
        (90, BlockSize(128, 128), 64, None),
        (100, BlockSize(256, 128), 128, None),
    ],
    ids=str,
)
def test_flash_attn_4_runs_only_where_it_really_skips(monkeypatch, arch, block, head_dim, message):
    pretend(monkeypatch, arch)
    q, k, v = make_qkv(512, 512, head_dim=head_dim, dtype=torch.bfloat16)
    reason = adapters.refuse_flash4(q, k, v, random_mask(512, 512, block, 0.5), 1.0)
    assert reason is None if message is None else message in str(reason)


def test_flashinfer_names_what_it_lacks(monkeypatch):
    pretend(monkeypatch, 90)
    mask = random_mask(64, 64, BLOCK, 0.5)
    q, k, v = make_qkv(64, 64, batch=2, head_dim=64, dtype=torch.float16)
    assert adapters.refuse_flashinfer(q, k, v, mask, 1.0) == "it needs batch 1, got 2"
    assert "head_dim of 64, 128, 256, got torch.float16 and 16" in str(
        adapters.refuse_flashinfer(*(x[:1, ..., :16] for x in (q, k, v)), mask, 1.0)
    )
    assert adapters.refuse_flashinfer(q[:1], k[:1], v[:1], mask, 1.0) is None


def test_ragged_masks_are_refused(monkeypatch):
    pretend(monkeypatch, 90)
    q, k, v = make_qkv(64, 64)
    offsets = torch.tensor([[[0, 20, 64]]])
    ragged = RaggedBlockMask(torch.ones(1, 1, 2, 2, dtype=torch.bool), offsets, offsets, 64)
    for refuse in (adapters.refuse_flash4, adapters.refuse_flashinfer):
        assert "ragged" in str(refuse(q, k, v, ragged, 1.0))


def test_a_failed_self_test_disables_a_kernel_with_its_reason(monkeypatch):
    monkeypatch.setitem(adapters.RUNS, "flex", dense)
    q, k, v = make_qkv(64, 64)
    arguments = q, k, v, random_mask(64, 64, BLOCK, 0.5), 0.25
    able = Implementation("flex", lambda *_: None, dense, automatic=False, verify=adapters.verify("flex"))
    with pytest.raises(BackendError, match="flex cannot run this .* is off by .* looks like dense attention"):
        choose("block_sparse_attention", [able], "flex", *arguments)


def test_flash_attn_4_is_called_with_whole_blocks_only(monkeypatch):
    """Its Python signature, played by a module that computes what the lists say."""

    def flash_attn_func(q, k, v, *, softmax_scale, block_sparse_tensors, return_lse):
        lists = block_sparse_tensors
        assert return_lse
        assert not lists.mask_block_cnt.any()
        assert lists.full_block_idx.dtype == torch.int32
        keep = torch.zeros(lists.full_block_idx.shape, dtype=torch.bool)
        real = torch.arange(keep.shape[-1]) < lists.full_block_cnt.unsqueeze(-1)
        for at in real.nonzero().tolist():
            keep[(*at[:3], int(lists.full_block_idx[tuple(at)]))] = True
        mask = BlockMask(keep, BlockSize(*lists.block_size), q.shape[1])
        rows = (x.transpose(1, 2) for x in (q, k, v))
        output, lse = reference.block_sparse_attention(*rows, mask, softmax_scale)
        return output.transpose(1, 2), lse

    cute, sparsity = ModuleType("flash_attn.cute"), ModuleType("flash_attn.cute.block_sparsity")
    cute.flash_attn_func, sparsity.BlockSparseTensorsTorch = flash_attn_func, SimpleNamespace
    monkeypatch.setitem(sys.modules, "flash_attn", ModuleType("flash_attn"))
    monkeypatch.setitem(sys.modules, "flash_attn.cute", cute)
    monkeypatch.setitem(sys.modules, "flash_attn.cute.block_sparsity", sparsity)
    q, k, v = make_qkv(75, 75, batch=2, heads=3)
    mask = random_mask(75, 75, BLOCK, 0.5, heads=3)
    assert_attention(adapters.flash4(q, k, v, mask, 0.25), q, k, v, pairs_oracle(mask), 0.25)
    assert find_failure(adapters.flash4, CPU, torch.float32, 64, BLOCK) is None


def test_flex_attention_gets_the_mask_as_whole_blocks(monkeypatch):
    """Played by a function that computes what the block mask says, for compiled FlexAttention has no LSE on CPU."""

    def flex_attention(q, k, v, *, block_mask, scale, return_aux):
        assert return_aux.lse
        assert not block_mask.kv_num_blocks.any()
        counts, indices = block_mask.full_kv_num_blocks, block_mask.full_kv_indices
        keep = torch.zeros(indices.shape, dtype=torch.bool)
        for at in (torch.arange(keep.shape[-1]) < counts.unsqueeze(-1)).nonzero().tolist():
            keep[(*at[:3], int(indices[tuple(at)]))] = True
        mask = BlockMask(keep, BlockSize(*block_mask.BLOCK_SIZE), *block_mask.seq_lengths)
        output, lse = reference.block_sparse_attention(q, k, v, mask, scale)
        return output, SimpleNamespace(lse=lse)

    monkeypatch.setattr(adapters, "_compiled_flex", lambda: flex_attention)
    q, k, v = make_qkv(75, 75, batch=2, heads=3)
    mask = random_mask(75, 75, BLOCK, 0.5, heads=3)
    assert_attention(adapters.flex(q, k, v, mask, 0.25), q, k, v, pairs_oracle(mask), 0.25)
    assert find_failure(adapters.flex, CPU, torch.float32, 64, BLOCK) is None


def test_flashinfer_gets_every_head_its_own_map(monkeypatch):
    """Its wrapper, played by one that computes what the plan says and answers with the LSE in base 2."""

    class VariableBlockSparseAttentionWrapper:
        def __init__(self, workspace, backend):
            assert workspace.dtype == torch.uint8

        def plan(self, **arguments):
            self.plan = arguments

        def run(self, q, k, v, *, return_lse):
            plan = self.plan
            offsets = [
                torch.nn.functional.pad(plan[f"block_{axis}_sz"].long().cumsum(-1), (1, 0))
                for axis in ("row", "col")
            ]
            mask = RaggedBlockMask(plan["block_mask_map"][None], *(x[None] for x in offsets), q.shape[1])
            rows = (x[None] for x in (q, k, v))
            output, lse = reference.block_sparse_attention(*rows, mask, plan["sm_scale"])
            return output[0], lse[0] / torch.log(torch.tensor(2.0))

    module = ModuleType("flashinfer")
    module.VariableBlockSparseAttentionWrapper = VariableBlockSparseAttentionWrapper
    monkeypatch.setitem(sys.modules, "flashinfer", module)
    assert find_failure(adapters.flashinfer, CPU, torch.float16, 64, BLOCK) is None


def test_flex_attention_is_refused_on_a_cpu_before_it_compiles():
    q, k, v = make_qkv(64, 64)
    with pytest.raises(
        BackendError, match="flex cannot run this .* it returns the LSE on CUDA only, got cpu"
    ):
        block_sparse_attention(q, k, v, random_mask(64, 64, BLOCK, 0.5), backend="flex")
