import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

import videosieve.methods.dense as dense_module
from videosieve import (
    AttentionCall,
    BackendError,
    BlockMask,
    BlockSize,
    Dense,
    DenseFirst,
    Method,
    NumericsError,
    Recipe,
    RecipeError,
    Run,
    Selection,
    Site,
    SpatialOnly,
    VideoLayout,
)

LAYOUT = VideoLayout.of(3, 4, 5, text_last=7)


def make_call(site: Site | None = None, seed: int = 0) -> AttentionCall:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(2, 3, 67, 8, generator=generator) for _ in range(3))
    return AttentionCall(q, k, v, LAYOUT, site or Site())


def dense(call: AttentionCall) -> torch.Tensor:
    return scaled_dot_product_attention(call.q, call.k, call.v)


class FirstHalf(Method):
    """Keeps the first three of five key blocks and counts its calls in its state."""

    name = "first_half"

    def select(self, call, state):
        keep = torch.zeros(1, 1, 5, 5, dtype=torch.bool)
        keep[..., : 3 if state is None else 5] = True
        return Selection(BlockMask(keep, BlockSize(16, 16), call.tokens)), (state or 0) + 1


def make_run(method: Method, schedule: DenseFirst = DenseFirst(0, 0), **options) -> Run:
    return Run(Recipe(method, schedule, min_tokens=0), **options)


def test_a_dense_recipe_is_dense_attention():
    run = make_run(Dense())
    torch.testing.assert_close(run.attend(make_call()), dense(make_call()))
    assert run.trace.records[0].reason == "the method is dense"


def test_the_schedule_decides_when():
    run = make_run(FirstHalf(), DenseFirst(steps=1, layers=1))
    for step in range(3):
        for layer in range(2):
            run.attend(make_call(Site(layer, 2, step, 3)))
    actions = [record.action for record in run.trace.records]
    assert actions == ["dense", "dense", "dense", "sparse", "dense", "sparse"]
    assert {record.reason for record in run.trace.records} == {"warm-up", ""}


def test_dense_takes_the_kernel_that_its_recipe_names():
    call = make_call()
    for kernel in (None, "reference", "block-sparse"):
        run = Run(Recipe.from_toml(Recipe(Dense(kernel)).to_toml()))
        torch.testing.assert_close(run.attend(call), dense(call))
        assert run.trace.records[0].kernel == (kernel or "sdpa")


def test_dense_steps_of_a_sparse_recipe_take_the_fastest_kernel(monkeypatch):
    monkeypatch.setattr(dense_module, "fastest", lambda *_, **__: "reference")
    run = make_run(FirstHalf(), DenseFirst(steps=1, layers=0))
    for step in range(2):
        output = run.attend(make_call(Site(0, 1, step, 2)))
        if not step:
            torch.testing.assert_close(output, dense(make_call()))
    assert run.trace.records[0].kernel == "reference"
    plain = Run(Recipe(Dense(), min_tokens=0))
    plain.attend(make_call())
    assert plain.trace.records[0].kernel == "sdpa"


def test_short_sequences_stay_dense_and_say_so():
    run = Run(Recipe(FirstHalf(), DenseFirst(0, 0), min_tokens=68))
    run.attend(make_call())
    assert run.trace.records[0].reason == "fewer than 68 tokens"


def test_only_the_kept_keys_are_seen():
    run = make_run(FirstHalf())
    call = make_call()
    expected = scaled_dot_product_attention(call.q, call.k[:, :, :48], call.v[:, :, :48])
    torch.testing.assert_close(run.attend(call), expected)
    assert run.trace.records[0].density == pytest.approx(48 / 67)
    assert run.trace.records[0].kernel in ("native", "cpu")


def test_recall_is_the_softmax_mass_of_the_kept_keys():
    run = make_run(FirstHalf(), recall_rows=67)
    call = make_call()
    run.attend(call)
    mass = (call.q @ call.k.mT * 8**-0.5).softmax(-1)[..., :48].sum(-1).mean((0, 2))
    assert run.trace.records[0].recall == pytest.approx(mass.tolist(), abs=1e-5)


def test_recall_can_be_turned_off():
    run = make_run(FirstHalf(), recall_rows=0)
    run.attend(make_call())
    assert run.trace.records[0].recall == []
    assert "not measured" in str(run.summary())


def test_states_are_kept_per_layer_branch_and_owner_and_forgotten_at_a_new_generation():
    run = make_run(FirstHalf())
    sites = [Site(0, 2), Site(1, 2), Site(0, 2, branch="uncond")]
    for site in sites:
        run.attend(make_call(site))
    run.attend(make_call(sites[0]), owner="second transformer")
    assert [round(record.density, 3) for record in run.trace.records] == [0.716] * 4
    run.attend(make_call(sites[0]))
    assert run.trace.records[-1].density == 1.0
    run.begin()
    run.attend(make_call(sites[0]))
    assert run.trace.records[-1].density < 1.0


def test_two_runs_do_not_see_each_other():
    first, second = make_run(FirstHalf()), make_run(FirstHalf())
    first.attend(make_call())
    second.attend(make_call())
    assert first.trace.records[0].density == second.trace.records[0].density == pytest.approx(48 / 67)
    assert len(first.trace) == len(second.trace) == 1


def test_check_finite_stops_before_anything_is_computed():
    run = make_run(Dense(), check_finite=True)
    call = make_call()
    call.v[0, 0, 0, 0] = torch.nan
    with pytest.raises(NumericsError, match="v must be finite"):
        run.attend(call)
    assert len(run.trace) == 0


def test_remove_undoes_in_reverse_order_once():
    undone = []
    with make_run(Dense()) as run:
        run.on_remove(lambda: undone.append("first"))
        run.on_remove(lambda: undone.append("second"))
    run.remove()
    assert undone == ["second", "first"]


def test_output_is_contiguous_for_permuted_methods():
    run = make_run(SpatialOnly(density=1.0, block=16))
    output = run.attend(make_call())
    assert output.is_contiguous()
    torch.testing.assert_close(output, dense(make_call()))


class DenseOnce(Method):
    """Asks for full attention, keeps its LSE, and then attends to the diagonal alone."""

    name = "dense_once"

    def select(self, call, state):
        keep = torch.ones(5, 5, dtype=torch.bool) if state is None else torch.eye(5, dtype=torch.bool)
        return Selection(BlockMask(keep[None, None], BlockSize(16, 16), call.tokens)), state

    def observe(self, call, result, state):
        return result.lse if state is None else state


def test_a_method_observes_what_its_selection_computed():
    run = make_run(DenseOnce())
    call = make_call()
    torch.testing.assert_close(run.attend(call), dense(call))
    ((key, lse),) = run.states().items()
    assert key == ("", 0, "cond")
    torch.testing.assert_close(lse, (call.q @ call.k.mT * 8**-0.5).logsumexp(-1))
    run.attend(call)
    assert run.trace.records[-1].density < 0.25
    run.begin()
    assert not run.states()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"recall_rows": 1.5}, RecipeError, "recall_rows must be a whole number >= 0, got recall_rows=1.5"),
        ({"recall_rows": -1}, RecipeError, "recall_rows must be a whole number >= 0"),
        ({"check_finite": "no"}, RecipeError, "check_finite must be true or false"),
        ({"backend": "nativ"}, BackendError, "no backend 'nativ' .did you mean 'native'"),
        ({"backend": 3}, BackendError, "no backend 3"),
    ],
)
def test_options_without_a_meaning_are_refused(options: dict, error: type, said: str):
    with pytest.raises(error, match=said):
        make_run(Dense(), **options)
    with pytest.raises(RecipeError, match="recipe must be a Recipe, got recipe='svg'"):
        Run("svg")  # pyright: ignore[reportArgumentType]
