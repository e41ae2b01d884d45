"""A selection taken over by another guidance branch: the same pairs of video tokens, whatever the text's length."""

from dataclasses import dataclass, field, replace

import pytest
import torch

from videosieve import Method, Recipe, RecipeError, Run, Selection
from videosieve.call import AttentionCall
from videosieve.forward import Site
from videosieve.inspection.kept import KeptRows
from videosieve.layout import VideoLayout
from videosieve.lending import Lent
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.methods import METHODS, attend_selected, make_method
from videosieve.schedule import DenseFirst
from videosieve.testing.factories import make_call

VIDEO = (3, 5, 8)  # 120 tokens: no side of 16 ends with the video
OPTIONS = {
    "sieve": {"density": 0.4, "block": 16, "centroids": False},
    "svg": {"density": 0.5, "block": 16},
    "spatial_only": {"density": 0.4, "block": 16},
    "temporal_only": {"density": 0.4, "block": 16},
    "xattention": {"threshold": 0.5, "stride": 4, "block": 16},
    "minference": {"density": 0.4, "block": 16},
    "svg2": {"query_clusters": 5, "key_clusters": 7, "min_share": 0.0, "density": 0.4},
    "svg_ear": {"query_clusters": 5, "key_clusters": 7, "min_share": 0.0, "density": 0.4},
    "nabla": {"threshold": 0.4, "window": None, "tile": (1, 3, 4)},
    "lvsa": {"density": 0.7, "window": 0, "block": 16},
    "radial": {"density": 0.5, "block": 8},
    "sliding_tile": {"density": 0.4, "tile": (1, 3, 4)},
    "sparge": {"density": 0.4, "block": 16},
    "draft": {"density": 0.4, "tile": (1, 3, 4)},
    "vsa_coarse": {"density": 0.4, "tile": (2, 2, 4)},
    "oracle_top_k": {"density": 0.4, "block": 16},
    "random_blocks": {"density": 0.4, "block": 16},
}


def call_of(branch: str, text: int, step: int = 0, seed: int = 0) -> AttentionCall:
    layout = VideoLayout.of(*VIDEO, text_last=text)
    generator = torch.Generator().manual_seed(seed)
    return make_call(layout, batch=2, heads=3, site=Site(0, 1, step, 4, branch), generator=generator)


def video_pairs(selection: Selection, call: AttentionCall) -> torch.Tensor:
    rows = torch.arange(call.layout.grid.tokens)
    return torch.stack(
        [
            KeptRows(selection, batch, head)(rows)[:, : len(rows)]
            for batch in range(call.batch)
            for head in range(call.heads)
        ]
    )


def masked_attention(call: AttentionCall, selection: Selection) -> torch.Tensor:
    """fp64, from the mask as the model numbers its tokens."""
    rows = torch.arange(call.tokens)
    kept = torch.stack(
        [
            torch.stack([KeptRows(selection, batch, head)(rows) for head in range(call.heads)])
            for batch in range(call.batch)
        ]
    )
    scores = (call.q.double() @ call.k.double().mT * call.scale).masked_fill(~kept, -torch.inf)
    return scores.softmax(-1) @ call.v.double()


@pytest.mark.parametrize("text", [9, 2, 8, 21, 40])
@pytest.mark.parametrize("name", list(OPTIONS))
def test_the_other_branch_sees_the_same_pairs_of_video_tokens(name: str, text: int):
    first, second = call_of("cond", 9), call_of("uncond", text, seed=1)
    selection, _ = make_method(name, **OPTIONS[name]).select(first, None)
    assert selection is not None
    borrowed = Lent.of(first, selection).to(second)
    assert borrowed is not None
    assert torch.equal(video_pairs(borrowed, second), video_pairs(selection, first))
    assert borrowed.recall is None, "the share of another branch's mass"
    output = attend_selected(second, replace(borrowed, compensate=False)).output
    torch.testing.assert_close(output.double(), masked_attention(second, borrowed), atol=1e-5, rtol=1e-5)


def test_every_method_that_chooses_is_tried_here():
    shareable = {name for name in METHODS if _is_shareable(name) and not make_method(name).is_causal}
    assert shareable == {*OPTIONS, "adaspa"}, (
        "adaspa chooses at its second call: see test_adaspa_searches_once"
    )


def _is_shareable(name: str) -> bool:
    try:
        Recipe(make_method(name), shared_selection=True)
    except RecipeError:
        return False
    return True


@pytest.mark.parametrize(
    "other",
    [
        call_of("uncond", 9, step=1),
        call_of("cond", 9),
        replace(call_of("uncond", 9), layout=VideoLayout.of(5, 3, 8, text_last=9)),
        replace(call_of("uncond", 9), layout=VideoLayout.of(*VIDEO, text_first=9)),
    ],
    ids=["another step", "the same branch", "another grid", "text in front"],
)
def test_what_does_not_fit_is_not_taken(other: AttentionCall):
    first = call_of("cond", 9)
    selection, _ = make_method("radial", **OPTIONS["radial"]).select(first, None)
    assert selection is not None
    assert Lent.of(first, selection).to(other) is None


@dataclass(frozen=True)
class Counting(Method):
    """Keeps the diagonal and notes where it was asked to choose, and to learn."""

    name = "counting"
    asked: list[Site] = field(default_factory=list)
    taught: list[Site] = field(default_factory=list)

    def select(self, call, state):
        self.asked.append(call.site)
        blocks = -(-call.tokens // 16)
        keep = torch.eye(blocks, dtype=torch.bool)[None, None]
        return Selection(BlockMask(keep, BlockSize(16, 16), call.tokens)), (state or 0) + 1

    def observe(self, call, result, state):
        self.taught.append(call.site)
        return state


def guided_run(shared: bool, **options: object) -> tuple[Run, Counting]:
    method = Counting()
    run = Run(Recipe(method, DenseFirst(1, 0), min_tokens=0, shared_selection=shared), **options)
    for step in range(3):
        for branch, text in (("cond", 9), ("uncond", 2)):
            run.attend(call_of(branch, text, step))
    return run, method


def test_only_the_first_branch_of_a_step_is_asked():
    run, method = guided_run(shared=True)
    assert [(site.step, site.branch) for site in method.asked] == [(1, "cond"), (2, "cond")]
    assert method.taught == method.asked
    assert [r.source for r in run.trace.records] == [(), (), (), (1, "cond"), (), (2, "cond")]
    assert {key[2]: state for key, state in run.states().items()} == {"cond": 2, "uncond": None}
    summary = run.summary()
    assert (summary.sparse_calls, summary.borrowed_calls) == (4, 2)
    assert "2 took over the selection of another guidance branch" in str(summary)
    assert all(0 < recall < 1 for record in run.trace.records if record.source for recall in record.recall)


def test_without_it_every_branch_chooses():
    run, method = guided_run(shared=False)
    assert len(method.asked) == 4
    assert run.summary().borrowed_calls == 0
    assert "took over" not in str(run.summary())


def test_what_is_kept_is_counted_forgotten_and_put_back():
    run, method = guided_run(shared=True)
    assert run.memory().states > 0
    put_back = run.snapshot()
    run.begin()
    run.attend(call_of("uncond", 2, 2))
    assert method.asked[-1].branch == "uncond", "a new generation: nothing is left to take over"
    put_back()
    run.attend(call_of("uncond", 2, 2))
    assert run.trace.records[-1].source == (2, "cond")


def test_adaspa_searches_once():
    """Its first search is dense; the branch that takes it over needs neither a search nor a state."""
    run = Run(Recipe(make_method("adaspa", block=16), DenseFirst(0, 0), min_tokens=0, shared_selection=True))
    for step in range(2):
        for branch, text in (("cond", 9), ("uncond", 2)):
            run.attend(call_of(branch, text, step))
    densities = [record.density for record in run.trace.records]
    assert densities[:2] == [1.0, 1.0]
    assert max(densities[2:]) < 1
    assert list(run.states()) == [("", 0, "cond")]


@pytest.mark.parametrize("name", ["dense", "window_residual"])
def test_methods_without_a_choice_of_blocks_refuse(name: str):
    with pytest.raises(RecipeError, match=f"shared_selection needs a method that chooses.*'{name}' is none"):
        Recipe.of(name, shared_selection=True)


def test_a_recipe_says_it_and_reads_it_back():
    recipe = Recipe.of("xattention", shared_selection=True)
    assert "shared_selection = true" in recipe.to_toml()
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert "shared_selection" not in Recipe.of("xattention").to_toml()
    with pytest.raises(RecipeError, match="shared_selection must be true or false, got shared_selection=1"):
        Recipe.of("xattention", shared_selection=1)
