"""What Ulysses refuses, and how its order of tokens is told; one process is enough for that."""

import pytest
import torch
from diffusers import ContextParallelConfig, ParallelConfig
from torch.distributed import HashStore, destroy_process_group, init_process_group

from videosieve import IntegrationError, ShapeError, Site, sparsify
from videosieve.integrations.diffusers import enable_ulysses
from videosieve.integrations.diffusers.ulysses.enable import require_divisible
from videosieve.integrations.diffusers.ulysses.share import _order
from videosieve.methods import AdaSpa, SemanticPermutation
from videosieve.methods.oracle import RandomBlocks
from videosieve.ranks import RankTotals, gather_totals, imbalance, merged
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
    for first in (0, 1, 2):
        some = slice(first, first + 2)
        call = make_call(heads=2, site=Site(heads=4, first_head=first))
        call = type(call)(whole.q[:, some], whole.k[:, some], whole.v[:, some], whole.layout, call.site)
        part = method.select(call, None)[0]
        torch.testing.assert_close(
            part.mask.head_density, chosen.mask.head_density[..., some], rtol=0, atol=0
        )


def test_adaspa_cannot_rank_some_heads_without_asking_for_the_others():
    call = make_call(heads=2, site=Site(heads=4, first_head=2))
    method = AdaSpa(block=8)
    with pytest.raises(ShapeError, match="2 of 4 heads, .* needs `gather`"):
        method._search(call, torch.zeros(1, 2, call.tokens))


def test_a_call_with_heads_that_the_model_lacks_is_refused():
    with pytest.raises(ShapeError, match="holds 2 heads from head 3 on, and the model has 4"):
        make_call(heads=2, site=Site(heads=4, first_head=3))
    with pytest.raises(ShapeError, match="first_head < heads"):
        Site(heads=4, first_head=4)


def test_totals_of_ranks_are_weighted_by_pairs_and_take_the_slowest():
    ranks = (RankTotals(1.0, None, None, 2.0, 100, 0), RankTotals(0.5, 0.5, 0.9, 3.0, 300, 300))
    told = merged(ranks)
    assert told["run_density"] == pytest.approx(0.625)
    assert (told["sparse_density"], told["recall"], told["attention_seconds"]) == (0.5, 0.9, 3.0)
    assert imbalance(ranks) == pytest.approx(150 / 125)
    assert merged(ranks[:1])["sparse_density"] is None
    assert gather_totals(ranks[0]) == (ranks[0],)
