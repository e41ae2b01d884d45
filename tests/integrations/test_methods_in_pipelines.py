"""Methods inside whole pipelines: the dense limit gives the dense video, state stays with its branch."""

import pytest
import torch

from videosieve import AdaSpa, DenseFirst, MInference, OracleTopK, Recipe, XAttention, sparsify
from videosieve.methods import Sieve

LIMITS = {
    "sieve": Sieve(1.0, block=8),
    "adaspa": AdaSpa(1.0, search_steps=(1, 2), block=8),
    "xattention": XAttention(1.0, stride=4, block=8),
    "minference": MInference(1.0, block=8),
    "oracle_top_k": OracleTopK(1.0, block=8),
}


@pytest.mark.parametrize("method", LIMITS.values(), ids=LIMITS.keys())
def test_keeping_everything_draws_the_dense_video(wan, method):
    with sparsify(wan.target, Recipe(method, DenseFirst(0, 0), min_tokens=0)) as run:
        video = wan.generate()
    assert {record.action for record in run.trace.records} == {"sparse"}
    torch.testing.assert_close(video, wan.untouched, atol=1e-4, rtol=1e-4)


def test_adaspa_searches_once_per_layer_and_branch_and_then_reuses(wan):
    method = AdaSpa(0.4, search_steps=(0,), block=4)
    with sparsify(wan.target, Recipe(method, DenseFirst(0, 0), min_tokens=0)) as run:
        first = wan.generate()
        states = run.states()
        second = wan.generate()
    assert {key[1:] for key in states} == {
        (layer, branch) for layer in range(2) for branch in ("cond", "uncond")
    }
    assert [state.step for state in states.values()] == [0] * 4
    density = {step: {r.density for r in run.trace.records if r.step == step} for step in range(3)}
    assert density[0] == {1.0}
    assert max(density[1] | density[2]) < 1
    assert torch.equal(first, second)  # the second generation started from no state


def test_compensation_counts_in_pipelines_and_leaves_them_as_they_were(wan):
    videos = {}
    for compensate in ("none", "centroids"):
        with sparsify(wan.target, "svg", density=0.3, block=4, min_tokens=0, compensate=compensate) as run:
            videos[compensate] = wan.generate()
        summary = run.summary()
        assert (summary.compensated is not None) == (compensate == "centroids")
    errors = {name: (video - wan.untouched).abs().mean() for name, video in videos.items()}
    assert errors["centroids"] < errors["none"]
    assert torch.equal(wan.generate(), wan.untouched)


def test_sieve_keeps_its_space_for_a_generation_and_forgets_it_after(wan):
    with sparsify(wan.target, Sieve(0.4, block=4), min_tokens=0, dense_steps=1) as run:
        first = wan.generate()
        spaces = {key: state.space.keys for key, state in run.states().items()}
        second = wan.generate()
        again = {key: state.space.keys for key, state in run.states().items()}
    assert torch.equal(first, second)
    assert len(spaces) == 4
    assert all(torch.equal(spaces[key], again[key]) and spaces[key] is not again[key] for key in spaces)
