"""Ulysses: several processes on the CPU draw what one draws, whatever a method asks about heads."""

import socket
from typing import Any

import pytest
import torch
from diffusers.hooks import context_parallel
from integrations.ulysses_cases import CASES, DEALT, UNEVEN, generate

pytestmark = pytest.mark.slow  # every process imports everything again


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def gather_uneven(tensor: torch.Tensor, dim: int, group: Any) -> torch.Tensor:
    """What diffusers asks of all_gather, which gloo cannot: parts of different sizes."""
    from torch.distributed import all_gather

    size = [torch.zeros(1, dtype=torch.int64) for _ in range(group.size())]
    all_gather(size, torch.tensor([tensor.shape[dim]]), group=group)
    longest = max(int(one) for one in size)
    rows = tensor.movedim(dim, 0)
    mine = torch.cat([rows, rows.new_zeros(longest - len(rows), *rows.shape[1:])])
    parts = [torch.empty_like(mine) for _ in size]
    all_gather(parts, mine, group=group)
    return torch.cat([x[: int(n)] for x, n in zip(parts, size, strict=True)]).movedim(0, dim)


def work(rank: int, ranks: int, port: int, names: list[str], folder: Any, anything: bool) -> None:
    from torch.distributed import TCPStore, destroy_process_group, init_process_group

    torch.set_num_threads(1)
    context_parallel._all_gather_anything = gather_uneven  # type: ignore[assignment]
    init_process_group(
        "gloo", store=TCPStore("127.0.0.1", port, ranks, is_master=rank == 0), rank=rank, world_size=ranks
    )
    torch.save({name: generate(name, True, anything) for name in names}, folder / f"{rank}.pt")
    destroy_process_group()


def spawn(ranks: int, names: list[str], folder: Any, anything: bool = False) -> list[dict[str, Any]]:
    arguments = (ranks, free_port(), names, folder, anything)
    torch.multiprocessing.spawn(work, arguments, nprocs=ranks)
    return [torch.load(folder / f"{rank}.pt") for rank in range(ranks)]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return spawn(2, [*CASES, *DEALT], tmp_path_factory.mktemp("two"))


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_draw_what_one_draws(two, name):
    expected = generate(name, False)
    for rank in range(2):
        found = two[rank][name]
        torch.testing.assert_close(found["latents"], expected["latents"], rtol=0, atol=2e-5)
        assert found["sparse_calls"] == expected["sparse_calls"]
        assert 2 * found["pairs"] == expected["pairs"]
        assert found["all_density"] == pytest.approx(expected["density"], abs=1e-9)
        assert found["by_rank"] == [two[other][name]["density"] for other in range(2)]


@pytest.mark.parametrize("name", DEALT)
def test_two_ranks_that_deal_heads_draw_what_one_draws(two, name):
    expected = generate(name, False)
    assert "nobody to deal the heads of" in expected["notes"][0]
    for rank in range(2):
        found = two[rank][name]
        torch.testing.assert_close(found["latents"], expected["latents"], rtol=0, atol=2e-5)
        assert found["all_density"] == pytest.approx(expected["density"], abs=1e-9)
        assert not found["notes"]
        if name.endswith("dealt"):
            held = [{two[other][name]["heads"][layer] for other in range(2)} for layer in range(2)]
            assert held == [{(0, 2), (1, 3)}, {(0, 3), (1, 2)}]


@pytest.mark.parametrize("name", [name for name in DEALT if name.endswith("twice")])
def test_a_second_generation_is_dealt_by_what_the_first_computed(two, name):
    undealt, both = two[0][name]["balances"]
    assert undealt[0] == undealt[1] > 1.02
    assert both[0] == pytest.approx(undealt[0])  # the same video again
    second = 2 * both[1] - undealt[1]
    assert 1 <= second < 1 + (undealt[1] - 1) / 2
    assert two[0][name]["balances"] == two[1][name]["balances"]


def test_a_table_of_windows_deals_the_first_generation(two):
    ((before, after),) = two[0]["wan, windows"]["balances"]
    assert after < before - 0.02


def test_the_summary_of_all_ranks_tells_the_uneven_ones(two):
    found = two[0]["wan, xattention, sparsify after"]
    low, high = sorted(found["by_rank"])
    assert low < high
    assert found["imbalance"] == pytest.approx(high / ((low + high) / 2))


def test_heads_and_tokens_that_the_ranks_do_not_divide(tmp_path):
    ranks = spawn(2, list(UNEVEN), tmp_path, anything=True)
    for name in UNEVEN:
        expected = generate(name, False)
        for rank in ranks:
            torch.testing.assert_close(rank[name]["latents"], expected["latents"], rtol=0, atol=2e-5)
            assert rank[name]["all_density"] == pytest.approx(expected["density"], abs=1e-9)
        assert [3 * rank[name]["pairs"] for rank in ranks] == [2 * expected["pairs"], expected["pairs"]]


def test_four_ranks_with_a_head_each(tmp_path):
    eight = "wan of 8 heads, xattention, twice"
    names = ["wan, svg2, sparsify after", "wan, adaspa, sparsify before", "hunyuanvideo, svg", eight]
    ranks = spawn(4, names, tmp_path)
    for name in names:
        expected = generate(name, False)
        for rank in ranks:
            torch.testing.assert_close(rank[name]["latents"], expected["latents"], rtol=0, atol=2e-5)
    undealt, both = ranks[0][eight]["balances"]
    assert both[1] < both[0] == pytest.approx(undealt[0])
