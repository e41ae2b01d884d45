"""Token reordering in Triton: interpreted, and compiled without a GPU."""

import pytest
import torch

from videosieve.errors import BackendError
from videosieve.kernels import reorder_tokens
from videosieve.kernels.launch import SHARED_MEMORY
from videosieve.kernels.reorder_tokens.launch import LAUNCHES
from videosieve.kernels.reorder_tokens.triton import prepare
from videosieve.kernels.reorder_tokens.triton_kernel import reorder_kernel
from videosieve.layout import inverse_order
from videosieve.testing.factories import make_qkv
from videosieve.testing.oracles import reorder_oracle
from videosieve.testing.triton_compile import compile_for
from videosieve.testing.triton_interpreter import interpreted


@pytest.mark.parametrize(("tokens", "head_dim"), [(1, 64), (75, 64), (63, 128), (200, 96), (75, 1), (33, 8)])
@pytest.mark.parametrize("lanes", [(), (1, 3), (2, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("contiguous", [True, False], ids=["heads first", "tokens first"])
def test_chosen_heads_are_gathered_and_put_back(tokens, head_dim, lanes, contiguous):
    x, _, _ = make_qkv(
        tokens, 1, batch=2, heads=3, head_dim=head_dim, dtype=torch.bfloat16, contiguous=contiguous
    )
    order = torch.rand(*lanes, tokens, generator=torch.Generator().manual_seed(0)).argsort(-1)
    heads = torch.tensor([[True, False, True], [False, False, True]])
    with interpreted():
        moved = reorder_tokens(x, order, heads=heads, backend="triton")
        everything = reorder_tokens(x, order, backend="triton")
        back = reorder_tokens(moved, inverse_order(order), heads=heads, backend="triton")
    assert moved.dtype == x.dtype
    assert torch.equal(moved, reorder_oracle(x, order.expand(2, 3, -1), heads))
    assert torch.equal(everything, reorder_oracle(x, order.expand(2, 3, -1), heads | True))
    assert torch.equal(back, x)


def test_nothing_to_move_is_nothing():
    with interpreted():
        assert reorder_tokens(
            torch.zeros(1, 0, 5, 64), torch.arange(5), backend="triton"
        ).shape == (1, 0, 5, 64)  # fmt: skip


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(1, 1, 5, 64, dtype=torch.float64), "it needs bfloat16, float16, float32, got float64"),
        (torch.zeros(1, 1, 64, 5).mT, "must lie next to one another, got strides"),
        (
            torch.zeros(1, 1, 1, 1).expand(400, 200, 5, 1),
            "batch · heads must be at most 65535, got 400 · 200",
        ),
        (torch.zeros(1, 1, 5, 192), "head_dim must be at most 128, got 192"),
        (torch.zeros(1, 1, 5, 64, requires_grad=True), "no backward"),
    ],
)
def test_what_it_cannot_move_is_refused_in_a_sentence(x, message):
    with interpreted(), pytest.raises(BackendError, match=message):
        reorder_tokens(x, torch.arange(5), backend="triton")


@pytest.mark.parametrize("arch", [80, 90, 100])
@pytest.mark.parametrize("key", sorted({key for _, key, _ in LAUNCHES}), ids=str)
def test_every_launch_compiles_without_spills(key, arch):
    launch = LAUNCHES.find(arch, *key)
    x = torch.empty(1, 119056, 24, key[0], dtype=torch.bfloat16, device="meta").transpose(1, 2)
    order = torch.empty(119056, dtype=torch.int64, device="meta")
    heads = torch.empty(1, 24, dtype=torch.bool, device="meta")
    compiled = compile_for(
        reorder_kernel,
        prepare(x, x, order, heads, launch),
        arch,
        num_warps=launch.num_warps,
        num_stages=launch.num_stages,
    )
    assert compiled.spills == compiled.loop_spills == 0
    assert compiled.shared <= SHARED_MEMORY[arch]
    assert "ld.global.v4" in compiled.ptx
