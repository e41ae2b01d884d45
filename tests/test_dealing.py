"""Heads dealt to ranks: equally many each, nearly equal work, and the figures that say so."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from torch.distributed import HashStore, destroy_process_group, init_process_group

from videosieve import IntegrationError, Site, Trace, sparsify
from videosieve.dealing import HeadWork, busiest, deal_heads, rooms
from videosieve.integrations.diffusers.ulysses import read_deal
from videosieve.ranks import Balance, gather_balance, work_by_head
from videosieve.records import Outcome, Record
from videosieve.summary import Summary
from videosieve.testing.factories import make_call
from videosieve.testing.pipelines import tiny_wan_transformer


def sparse(layer: int, densities: list[float], heads: tuple[int, ...] = (), pairs: int = 100) -> Record:
    mean = sum(densities) / len(densities)
    return Record(layer, 0, "cond", "sparse", "", "cpu", pairs, mean, densities=densities, heads=heads)


def least(work: list[float]) -> float:
    """The busiest of two ranks in the best of all deals."""
    half = len(work) // 2
    return min(max(sum(some), sum(work) - sum(some)) for some in combinations(work, half))


@pytest.mark.parametrize(("heads", "ranks"), [(4, 2), (12, 4), (10, 4), (3, 2), (40, 8), (6, 1), (8, 8)])
def test_every_rank_gets_its_number_of_heads_and_every_head_one_rank(heads, ranks):
    generator = torch.Generator().manual_seed(heads)
    work = torch.rand(heads, generator=generator).tolist()
    order = deal_heads(work, ranks)
    assert sorted(order) == list(range(heads))
    assert sum(rooms(heads, ranks)) == heads
    assert busiest(work, order, ranks) <= busiest(work, range(heads), ranks)


@pytest.mark.parametrize("seed", range(20))
def test_two_ranks_come_close_to_the_best_deal(seed):
    generator = torch.Generator().manual_seed(seed)
    work = torch.rand(12, generator=generator).square().tolist()
    order = deal_heads(work, 2)
    assert busiest(work, order, 2) <= 1.03 * least(work)


def test_heads_of_equal_work_stay_where_they_are():
    assert deal_heads([0.3] * 6, 3) == tuple(range(6))
    assert deal_heads([0.0] * 5, 2) == tuple(range(5))


def test_work_is_the_same_from_calls_as_they_run_and_from_their_trace():
    trace, noted = Trace(), HeadWork()
    for layer, density in ((0, torch.tensor([[0.2, 0.6], [0.4, 1.0]])), (2, torch.tensor([[0.5, 0.1]]))):
        call = make_call(heads=2, batch=2, site=Site(layer, 3, heads=4, head_numbers=(3, 1)))
        outcome = Outcome("sparse", "cpu", call.pairs(causal=False), density)
        trace.add(call.site, outcome, 1.0)
        noted.note(call, outcome, "transformer")
    each = call.tokens**2 * 2
    expected = each * torch.tensor([[0, 0.8, 0, 0.3], [0, 0, 0, 0], [0, 0.1, 0, 0.5]], dtype=torch.float64)
    torch.testing.assert_close(noted.table("transformer"), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(HeadWork.of(trace.records).table(""), expected, rtol=1e-6, atol=0)
    assert [record.heads for record in trace.records] == [(3, 1), (3, 1)]
    assert noted.owners == ["transformer"]


def test_a_rank_whose_heads_are_equal_tells_what_it_knows():
    """A rank that holds one head, or equal ones, has a density and no densities."""
    records = [
        Record(0, 0, "cond", "sparse", "", "cpu", 8, 0.5, heads=(2,)),
        Record(1, 0, "cond", "sparse", "", "cpu", 8, 0.25, heads=(0, 1)),
        Record(1, 0, "cond", "sparse", "", "cpu", 8, 0.25),
    ]
    assert HeadWork.of(records).table("").tolist() == [[0, 0, 4], [1, 1, 0]]


def test_there_is_no_balance_where_no_call_says_which_heads_it_held():
    """Processes with a batch each: every one holds all heads."""
    init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        assert gather_balance([sparse(0, [0.1, 0.3])]) is None
        assert gather_balance([sparse(0, [0.1, 0.3], heads=(0, 1))]) == Balance(1.0, 1.0)
    finally:
        destroy_process_group()


def test_a_record_has_densities_by_head_where_they_differ():
    trace = Trace()
    for density in (torch.tensor([[0.25, 0.75]]), torch.tensor([[0.5, 0.5]]), torch.tensor([[0.5]]), 0.5):
        trace.add(Site(), Outcome("sparse", "cpu", 8, density), 1.0)
    assert [record.densities for record in trace.records] == [[0.25, 0.75], [], [], []]
    assert {record.density for record in trace.records} == {0.5}


def test_calls_are_told_by_head():
    records = [
        sparse(0, [0.5, 0.25], heads=(3, 1), pairs=8),
        Record(1, 0, "cond", "dense", "", "sdpa", 8, 1.0),
    ]
    assert work_by_head(records, 4).tolist() == [[0, 1, 0, 2], [2, 2, 2, 2]]
    assert work_by_head([], 4).shape == (0, 4)


def test_the_balance_is_of_several_ranks_alone():
    assert gather_balance([sparse(0, [0.1, 0.3])]) is None
    whole = Summary.of([sparse(0, [0.1, 0.3])])
    assert "the mean" not in str(whole.over_ranks())
    told = str(replace(whole, balance=Balance(1.04, 1.31)))
    assert "the busiest does 1.04 × the mean, with heads in the model's order 1.31 ×" in told
    assert str(replace(whole, balance=Balance(1.3, 1.3))).count("1.30") == 1


@pytest.mark.parametrize(
    ("deal", "message"),
    [
        (True, 'deal must be None, "density", a trace'),
        ("densities", 'deal must be None, "density", a trace'),
        (Trace([Record(0, 0, "cond", "dense", "", "sdpa", 1, 1.0)]), "no call whose heads differ"),
        (Trace([sparse(0, [0.1, 0.2, 0.3])]), "1 layers of 3 heads, and transformer has 2 of 2"),
        (Trace([sparse(2, [0.1, 0.2])]), "3 layers of 2 heads, and transformer has 2 of 2"),
    ],
)
def test_a_deal_that_says_nothing_of_this_model_changes_nothing(deal: Any, message):
    transformer = tiny_wan_transformer()
    before = [type(module.attn1.processor) for module in transformer.blocks]
    with pytest.raises(IntegrationError, match=message):
        sparsify(transformer, "svg", steps=2, deal=deal)
    assert [type(module.attn1.processor) for module in transformer.blocks] == before


def test_a_trace_is_read_from_its_file(tmp_path):
    path = tmp_path / "trace.jsonl"
    Trace([sparse(1, [0.25, 0.75], heads=(2, 0))]).save(path)
    for deal in (path, str(path)):
        work = read_deal(deal)
        assert work is not None
        assert work.table("").tolist() == [[0, 0, 0], [37.5, 0, 12.5]]
    assert read_deal(None) is None
    density = read_deal("density")
    assert density is not None
    assert density.owners == []
