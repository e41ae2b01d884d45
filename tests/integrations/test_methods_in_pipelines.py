"""Methods inside whole pipelines: the dense limit gives the dense video, state stays with its branch."""

import pytest
import torch

from videosieve import AdaSpa, DenseFirst, MInference, OracleTopK, Recipe, XAttention, sparsify

LIMITS = {
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
