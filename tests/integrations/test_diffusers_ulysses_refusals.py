"""What Ulysses refuses, and how its order of tokens is told; one process is enough for that."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import ContextParallelConfig, ParallelConfig
from torch.distributed import HashStore, destroy_process_group, init_process_group

from videosieve import IntegrationError, Run, ShapeError, Site, sparsify
from videosieve.dealing import HeadWork
from videosieve.integrations.diffusers import describe, enable_ulysses
from videosieve.integrations.diffusers.ulysses import Dealer
from videosieve.integrations.diffusers.ulysses.enable import require_divisible
from videosieve.integrations.diffusers.ulysses.share import _order
from videosieve.methods import AdaSpa, SemanticPermutation
from videosieve.methods.oracle import RandomBlocks
from videosieve.ranks import RankTotals, gather_totals, imbalance, merged
from videosieve.recipe import Recipe
from videosieve.records import Outcome, Record
from videosieve.testing.factories import make_call
from videosieve.testing.pipelines import tiny_hunyuanvideo_transformer, tiny_wan_transformer


def test_the_order_of_two_streams_is_video_and_text_of_every_rank_in_turn():
    # Two ranks, five video tokens and two of text: what arrives is v0 v1 v2 t0 | v3 v4 t1.
    assert _order((5, 2), 2).tolist() == [0, 1, 2, 4, 5, 3, 6]
    assert sorted(_order((13, 7), 4).tolist()) == list(range(20))


def test_without_a_process_group_nothing_is_enabled():
    with pytest.raises(IntegrationError, match="torchrun"):
        enable_ulysses(tiny_wan_transformer())
    init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(IntegrationError, match="at least 2 processes, the group has 1"):
            enable_ulysses(tiny_wan_transformer())
    finally:
        destroy_process_group()


@pytest.mark.parametrize(
    ("transformer", "degrees", "message"),
    [
        (tiny_wan_transformer, {"ring_degree": 2}, "ring context parallelism .* Use ulysses_degree"),
        (tiny_wan_transformer, {"ulysses_degree": 2}, "was not set up"),
        (
            lambda: tiny_hunyuanvideo_transformer(condition="token_replace"),
            {"ulysses_degree": 2},
            "first frame is modulated apart",
        ),
    ],
)
def test_a_forward_that_cannot_be_shared_is_refused(transformer, degrees, message):
    model = transformer()
    model._parallel_config = ParallelConfig(context_parallel_config=ContextParallelConfig(**degrees))
    latents = torch.randn(1, model.config.in_channels, 3, 4, 6)
    text = torch.randn(1, 4, 16 if hasattr(model, "context_embedder") else 32)
    arguments = {"hidden_states": latents, "timestep": torch.tensor([500]), "encoder_hidden_states": text}
    if hasattr(model, "context_embedder"):
        arguments |= {
            "encoder_attention_mask": torch.ones(1, 4, dtype=torch.bool),
            "pooled_projections": torch.randn(1, 8),
        }
    with sparsify(model, "dense"), pytest.raises(IntegrationError, match=message), torch.no_grad():
        model(**arguments)


def test_heads_divide_or_are_dealt_from_the_first_rank_on():
    assert require_divisible(12, 4, False) == ""
    assert "10 heads do not divide among 4" in require_divisible(10, 4, False)
    assert require_divisible(10, 4, True) == ""  # 3, 3, 3, 1
    assert "leave some of 5 processes" in require_divisible(8, 5, True)  # 2, 2, 2, 2 and none


@pytest.mark.parametrize(
    "method",
    [SemanticPermutation(query_clusters=5, key_clusters=7), RandomBlocks(block=8)],
    ids=["svg2", "random"],
)
def test_seeded_methods_choose_for_a_head_what_they_choose_beside_others(method):
    whole = make_call(heads=4)
    chosen = method.select(whole, None)[0]
    for held in ((0, 1), (2, 3), (3, 1)):
        some = list(held)
        call = make_call(heads=2, site=Site(heads=4, head_numbers=held))
        call = type(call)(whole.q[:, some], whole.k[:, some], whole.v[:, some], whole.layout, call.site)
        part = method.select(call, None)[0]
        torch.testing.assert_close(
            part.mask.head_density, chosen.mask.head_density[..., some], rtol=0, atol=0
        )


def test_adaspa_cannot_rank_some_heads_without_asking_for_the_others():
    call = make_call(heads=2, site=Site(heads=4, head_numbers=(2, 3)))
    method = AdaSpa(block=8)
    with pytest.raises(ShapeError, match="2 of 4 heads, .* needs `gather`"):
        method._search(call, torch.zeros(1, 2, call.tokens))


def test_a_call_with_heads_that_the_model_lacks_is_refused():
    with pytest.raises(ShapeError, match="holds 2 heads, and its site names 1 of the model.s 4"):
        make_call(heads=2, site=Site(heads=4, head_numbers=(3,)))
    for fields in ({"head_numbers": (4,)}, {"head_numbers": (1, 1)}, {}, {"heads": 0, "head_numbers": (1,)}):
        with pytest.raises(ShapeError, match="head_numbers < heads that it holds, each once, or neither"):
            Site(**{"heads": 4, **fields})


def test_totals_of_ranks_are_weighted_by_pairs_and_take_the_slowest():
    ranks = (RankTotals(1.0, None, None, 2.0, 100, 0), RankTotals(0.5, 0.5, 0.9, 3.0, 300, 300))
    told = merged(ranks)
    assert told["run_density"] == pytest.approx(0.625)
    assert (told["sparse_density"], told["recall"], told["attention_seconds"]) == (0.5, 0.9, 3.0)
    assert imbalance(ranks) == pytest.approx(150 / 125)
    assert merged(ranks[:1])["sparse_density"] is None
    assert gather_totals(ranks[0]) == (ranks[0],)


@pytest.fixture
def alone() -> Any:
    """A group of this process, and a share of two ranks that it stands for."""
    init_process_group("gloo", store=HashStore(), rank=0, world_size=1)
    mesh = SimpleNamespace(get_group=lambda: None)
    config = SimpleNamespace(context_parallel_config=SimpleNamespace(_ulysses_mesh=mesh))
    try:
        yield SimpleNamespace(config=config, degree=2)
    finally:
        destroy_process_group()


def dealer_of(work: HeadWork) -> tuple[Dealer, Run]:
    torch.manual_seed(0)
    run = Run(Recipe.of("xattention"))
    run.work = HeadWork()
    transformer = tiny_hunyuanvideo_transformer(layers=1, single_layers=1)
    (found,) = describe(transformer)
    object.__setattr__(found, "heads", 4)
    return Dealer(found, run, work), run


def compute(run: Run, *densities: float) -> None:
    """Both layers compute these densities by head."""
    assert run.work is not None
    for layer in range(2):
        call = make_call(heads=4, site=Site(layer, 2))
        outcome = Outcome("sparse", "cpu", call.pairs(causal=False), torch.tensor([densities]))
        run.work.note(call, outcome, "transformer")


def test_heads_change_hands_between_generations_where_it_is_worth_it(alone):
    dealer, run = dealer_of(HeadWork())
    ask = lambda generation: dealer.orders(generation, alone, None, torch.device("cpu"))  # noqa: E731
    assert ask(0) is None
    compute(run, 0.9, 0.8, 0.2, 0.1)
    assert ask(0) is None, "a generation keeps its deal"
    dealt = ask(1)
    assert dealt is not None
    assert [order.numbers for order in dealt] == [(0, 3, 1, 2)] * 2
    for order in dealt:
        assert order.places[order.inverse].tolist() == [0, 1, 2, 3]
    compute(run, 0.9, 0.8, 0.2, 0.11)
    assert ask(2) is dealt, "half a percent is worth no exchange"
    assert ask(3) is dealt, "nothing was computed since"
    compute(run, 0.1, 0.9, 0.8, 0.2)
    assert ask(4) is None, "the model's own order is as good again"
    assert ask(1) is dealt
    for generation in range(5, 13):
        ask(generation)
    assert len(dealer._deals) == 8


def test_the_trace_of_one_process_among_several_is_no_deal(alone):
    part = Record(1, 0, "cond", "sparse", "", "cpu", 8, 0.3, densities=[0.1, 0.5], heads=(0, 2))
    dealer, _ = dealer_of(HeadWork.of([part]))
    with pytest.raises(IntegrationError, match="nothing of head 1 in layer 1 and do of others"):
        dealer.orders(0, alone, None, torch.device("cpu"))
