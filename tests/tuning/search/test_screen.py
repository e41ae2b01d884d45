"""What a screening predicts, against loops; and plans against all plans."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from tuning_world import LAYERS, STEPS, make_screen

from videosieve.errors import RecipeError
from videosieve.forward import Site
from videosieve.schedule import KINDS, Action
from videosieve.tuning.search import Candidate, Choice, Screen
from videosieve.tuning.search.calibration import predictor
from videosieve.tuning.search.plans import best_plan, prices
from videosieve.tuning.search.screen import harm_table, predicted_recall, saved_share

CANDIDATES = [
    Candidate("good", 0.3, 2, 1),
    Candidate("good", 0.4, 1, 2, reuse=2, start=3, stop=10),
    Candidate("caching", reuse=3, start=1, stop=12, dense_steps=4),
    Candidate("poor", 0.1, 0, 0, reuse=4, start=5, stop=12),
    Candidate("good", 0.3, 0, 1, reuse=3, start=0, stop=11, offset=2),
    Candidate("good", 0.3, plan=tuple("FWAWAA" if step else "FWFWFW" for step in range(STEPS))),
]


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda c: c.words())
def test_sites_are_what_the_schedule_does(screen: Screen, candidate: Candidate):
    sites, schedule = screen.sites(candidate), candidate.schedule(STEPS)
    for step, layer in product(range(STEPS), range(LAYERS)):
        action = schedule.action(Site(layer, LAYERS, step, STEPS))
        reused = int(sites.gaps["attention"][step, layer]) > 0
        assert reused == (action is Action.REUSE)
        sparse = action is Action.SPARSE and candidate.family != "caching"
        assert bool(sites.sparse[step, layer]) == sparse


@pytest.mark.parametrize("candidate", CANDIDATES, ids=lambda c: c.words())
def test_harm_and_time_are_sums_over_sites(screen: Screen, candidate: Candidate):
    schedule = candidate.schedule(STEPS)
    choice = None if candidate.family == "caching" else screen.look_up(candidate.family, candidate.knob)
    error = None if choice is None else screen.over_steps(choice.error)
    sparse, reuse = screen.over_steps(screen.sparse_harm), screen.over_steps(screen.reuse_harm["attention"])
    harm, saved = 0.0, 0.0
    for layer in range(LAYERS):
        source, held = 0, 0.0
        for step in range(STEPS):
            action = schedule.action(Site(layer, LAYERS, step, STEPS))
            if action is Action.REUSE:
                gap = step - source
                drift = screen.drift["attention"][min(gap, 4) - 1, step, layer] * gap / min(gap, 4)
                harm += float(held + reuse[step, layer] * drift**2)
                saved += float(screen.share["attention"][layer]) / STEPS
                continue
            source, held = step, 0.0
            if action is Action.SPARSE and error is not None and choice is not None:
                held = float(sparse[step, layer] * error[step, layer] ** 2)
                saved += float(screen.share["core"][layer]) * (1 - choice.cost) / STEPS
            harm += held
    assert float(harm_table(screen, candidate).sum()) == pytest.approx(harm, rel=1e-9)
    assert saved_share(screen, candidate) == pytest.approx(saved, rel=1e-9)


def test_a_joint_output_stands_for_attention_where_both_are_reused(screen: Screen):
    single = torch.arange(LAYERS) >= 2  # the others have a feed-forward of their own
    tables = screen.drift["attention"]
    drift = screen.drift | {"mlp": 0.5 * tables * ~single, "joint": 0.3 * tables * single}
    share = screen.share | {"mlp": 0.02 * (~single).double(), "joint": 0.03 * single.double()}
    weights = screen.reuse_harm["attention"]
    harms = {"attention": weights, "mlp": 0.7 * weights, "joint": 0.4 * weights}
    screen = replace(screen, drift=drift, share=share, reuse_harm=harms)
    candidate = Candidate(reuse=2, start=2, stop=STEPS, mlp=3, offset=1)
    schedule = candidate.schedule(STEPS)
    reuse = {kind: screen.over_steps(table) for kind, table in harms.items()}
    harm = saved = 0.0
    for layer in range(LAYERS):
        sources = dict.fromkeys(KINDS, 0)
        for step in range(STEPS):
            gaps = {}
            for kind in KINDS:
                reused = schedule.reuses(kind, Site(layer, LAYERS, step, STEPS))
                sources[kind] = sources[kind] if reused else step
                gaps[kind] = step - sources[kind]
                if reused and kind in share:
                    saved += float(share[kind][layer]) / STEPS
            if gaps["joint"] and single[layer]:
                del gaps["attention"]
            harm += sum(
                float(reuse[kind][step, layer] * drift[kind][gap - 1, step, layer] ** 2)
                for kind, gap in gaps.items()
                if gap and kind in drift
            )
    assert float(harm_table(screen, candidate).sum()) == pytest.approx(harm, rel=1e-9)
    assert saved_share(screen, candidate) == pytest.approx(saved, rel=1e-9)


def test_dense_harms_nothing_and_saves_nothing(screen: Screen):
    dense = Candidate()
    assert float(harm_table(screen, dense).sum()) == saved_share(screen, dense) == 0
    assert predicted_recall(screen, dense) == 1


def test_more_density_means_less_harm_and_less_saving(screen: Screen):
    rows = [Candidate("good", knob) for knob in (0.1, 0.2, 0.35, 0.5, 0.6, 0.7)]
    harms = [predictor(screen, row, "psnr", 0.0) for row in rows]
    saved = [saved_share(screen, row) for row in rows]
    assert harms == sorted(harms)
    assert saved == sorted(saved, reverse=True)


def test_screened_knobs_are_looked_up_as_they_are(screen: Screen):
    for choice in screen.choices:
        found = screen.look_up(choice.family, choice.knob)
        torch.testing.assert_close(found.error, choice.error)
        assert found.cost == pytest.approx(choice.cost)


def test_a_given_recipe_has_no_prediction(screen: Screen):
    with pytest.raises(RecipeError, match="nothing can be predicted"):
        screen.sites(Candidate(given="[method]\nname = 'svg'", label="svg"))


def test_a_screen_survives_json(screen: Screen):
    back = Screen.from_json(screen.as_json())
    for candidate in CANDIDATES:
        torch.testing.assert_close(harm_table(back, candidate), harm_table(screen, candidate))
        assert saved_share(back, candidate) == saved_share(screen, candidate)


@pytest.mark.parametrize("price", [1e-4, 1e-3, 1e-2])
def test_a_plan_is_the_best_of_all_plans(price: float):
    full = make_screen()
    looked, steps, layers = (1, 3), 5, 1
    error, recall = torch.tensor([[0.2], [0.1]]).double(), torch.ones(2, 1).double()
    small = Screen(
        looked,
        (Choice("good", 0.3, error, recall, 0.4, 0.3),),
        full.sparse_harm[:2, :1],
        {"attention": full.reuse_harm["attention"][:2, :1]},
        {"attention": full.drift["attention"][:, :steps, :1]},
        {key: share[:1] for key, share in full.share.items()},
        torch.tensor([0.5, 0.8, 1.0, 1.2, 1.5]).double(),
        1.0,
    )

    def cost(candidate: Candidate) -> float:
        harm = harm_table(small, candidate).sum(1) @ small.weight(1.5) / steps
        return float(harm) - price * saved_share(small, candidate)

    rows = [letters for letters in product("FWA", repeat=steps) if letters[0] != "A"]
    every = [Candidate("good", 0.3, plan=tuple(letters)) for letters in rows]
    found = best_plan(small, "good", 0.3, price, 1.5)
    assert layers == len(found.plan[0])
    assert cost(found) == pytest.approx(min(map(cost, every)), rel=1e-9, abs=1e-12)


def test_higher_prices_make_faster_plans(screen: Screen):
    saved = [saved_share(screen, best_plan(screen, "good", 0.3, price, 0.0)) for price in prices(screen)]
    assert saved == sorted(saved)
    assert saved[0] < 0.1 < saved[-1]
