"""Dealing a budget: against one pair at a time, ties, empty clusters, what is no number, refusals."""

import pytest
import torch

from videosieve.errors import ShapeError
from videosieve.kernels import deal_budget
from videosieve.kernels.native_library import refuse_library
from videosieve.testing.clusters import judge_deal_budget

BACKENDS = ["reference", *(["native"] if refuse_library() is None else [])]
backends = pytest.mark.parametrize("backend", BACKENDS)


def tables(rows, columns, batch=2, heads=3, seed=0):
    """Worths and sizes; some clusters of keys are empty."""
    generator = torch.Generator().manual_seed(seed)
    worth = torch.rand(batch, heads, rows, columns, generator=generator)
    of_rows = torch.randint(0, 30, (batch, heads, rows), generator=generator)
    return worth, of_rows, torch.randint(0, 20, (batch, heads, columns), generator=generator)


@backends
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 40), (6, 9), (33, 70)])
@pytest.mark.parametrize("budget", [-7, 0, 300, 1_500, 100_000, 10**9])
def test_it_keeps_what_one_pair_at_a_time_keeps(backend, rows, columns, budget):
    arguments = (*tables(rows, columns), torch.full((2, 3), budget))
    keep = deal_budget(*arguments, backend=backend)
    judge_deal_budget(keep, backend, *arguments)
    assert bool(keep.any(-1).all())
    assert bool(keep.all()) or budget < 10**9


@backends
def test_of_equals_the_first_come_first(backend):
    worth, rows, columns = tables(20, 31)
    arguments = ((worth * 3).floor(), rows, columns, torch.full((2, 3), 900))
    judge_deal_budget(deal_budget(*arguments, backend=backend), backend, *arguments)


@backends
def test_clusters_without_keys_are_kept_and_cost_nothing(backend):
    worth = torch.tensor([[[[0.5, 9.0, 0.1], [0.2, 9.0, 0.3]]]])
    sizes = torch.tensor([[[4, 4]]]), torch.tensor([[[5, 0, 5]]])
    keep = deal_budget(worth, *sizes, torch.zeros(1, 1).long(), backend=backend)
    assert keep.tolist() == [[[[True, True, False], [False, True, True]]]]


@backends
def test_what_is_no_number_is_worth_nothing(backend):
    worth = torch.tensor([[[[torch.nan, 1.0, torch.nan]]]])
    sizes = torch.tensor([[[4]]]), torch.tensor([[[5, 5, 5]]])
    keep = deal_budget(worth, *sizes, torch.full((1, 1), 16), backend=backend)
    assert keep.tolist() == [[[[False, True, False]]]]


@backends
def test_each_head_has_a_budget_of_its_own(backend):
    worth, rows, columns = tables(8, 12)
    budgets = torch.tensor([[0, 200, 10**6], [500, -1, 60]])
    together = deal_budget(worth, rows, columns, budgets, backend=backend)
    for b in range(2):
        for h in range(3):
            one = (x[b : b + 1, h : h + 1] for x in (worth, rows, columns, budgets))
            assert torch.equal(deal_budget(*one, backend=backend)[0, 0], together[b, h])


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("query_sizes", torch.full((2, 3, 5), 1), "query_sizes must be \\[2, 3, 6\\]"),
        ("key_sizes", torch.full((2, 3, 9), -1), "numbers of tokens, 0 or more"),
        ("key_sizes", torch.full((2, 3, 9), 2**30), "at most 2,147,483,647 in all"),
        ("budget", torch.zeros(2, 3), "budget must be"),
    ],
)
def test_what_does_not_fit_is_refused(name, value, says):
    worth, rows, columns = tables(6, 9)
    arguments = {"query_sizes": rows, "key_sizes": columns, "budget": torch.zeros(2, 3).long()}
    with pytest.raises(ShapeError, match=says):
        deal_budget(worth, **(arguments | {name: value}))
