"""PAB as a schedule: VideoSys' rule, written as its counter loop, and the conversion of its windows."""

import random

import pytest

from videosieve import Action, RecipeError, Site
from videosieve.schedule import Broadcast, FirstMatch, Table, window_of_timesteps
from videosieve.schedule.dense_first import DenseFirst


def actions(schedule, steps, layer=0, layers=4):
    return [schedule.action(Site(layer, layers, step, steps)) for step in range(steps)]


def reused(schedule, steps, kind="attention", layer=0, layers=4):
    return [step for step in range(steps) if schedule.reuses(kind, Site(layer, layers, step, steps))]


def videosys(timesteps, every, low, high):
    """The rule of pab_mgr.py: a counter per module, and a timestep window that excludes its bounds."""
    count, broadcast = 0, []
    for step, time in enumerate(timesteps):
        if count % every != 0 and low < int(time) < high:
            broadcast.append(step)
        count = (count + 1) % len(timesteps)
    return broadcast


def test_the_rule_is_that_of_videosys_for_any_descending_timesteps():
    draw = random.Random(0)
    for _ in range(200):
        steps = draw.randint(2, 60)
        timesteps = sorted(draw.sample(range(1000), steps), reverse=True)
        low, high, every = draw.randint(0, 300), draw.randint(500, 1000), draw.randint(1, 6)
        if not any(low < time < high for time in timesteps):
            continue
        start, stop = window_of_timesteps(timesteps, low, high)
        assert reused(Broadcast(every, start, stop), steps) == videosys(timesteps, every, low, high)


def shifted(shift, steps=50):
    """Timesteps of flow matching with a shift, sigmas from 1 down to 1 / steps."""
    sigmas = [1 - step / steps for step in range(steps)]
    return [1000 * shift * sigma / (1 + (shift - 1) * sigma) for sigma in sigmas]


@pytest.mark.parametrize(
    ("name", "timesteps", "bounds", "count"),
    [
        ("pab-cogvideox", [999 - 20 * step for step in range(50)], (100, 850), 18),
        ("pab-hunyuanvideo", shifted(7), (100, 800), 9),
        ("pab-wan", shifted(5), (100, 800), 10),
    ],
)
def test_the_bundled_windows_are_the_published_timestep_windows(name, timesteps, bounds, count):
    from videosieve import Recipe

    schedule = Recipe.of(name).schedule
    assert (schedule.start, schedule.stop) == window_of_timesteps(timesteps, *bounds)
    assert len(reused(schedule, 50)) == count


def test_a_range_of_one_reuses_nothing():
    assert set(actions(Broadcast(1, 0.0, 1.0), 20)) == {Action.SPARSE}
    assert Broadcast(1).reused_kinds == ()


def test_the_first_step_is_computed_whatever_the_window():
    for every in range(1, 6):
        for offset in range(every):
            schedule = Broadcast(every, 0.0, 1.0, cross=every, mlp=every, offset=offset)
            assert all(0 not in reused(schedule, 9, kind) for kind in ("attention", "cross", "mlp"))


def test_an_offset_moves_the_computed_steps_of_every_kind():
    schedule = Broadcast(2, 0.3, 1.0, mlp=3, offset=1)
    assert reused(schedule, 10) == [4, 6, 8]
    assert reused(schedule, 10, "mlp") == [3, 5, 6, 8, 9]
    moved = Broadcast(4, 0.2, 1.0, offset=3)
    assert reused(moved, 12) == [4, 5, 6, 8, 9, 10]


def test_each_kind_of_module_has_its_own_range_and_the_mlp_its_layers():
    schedule = Broadcast(2, 0.0, 1.0, cross=4, mlp=3, mlp_layers=2)
    assert schedule.reused_kinds == ("attention", "cross", "mlp", "joint")
    assert reused(schedule, 8) == [1, 3, 5, 7]
    assert reused(schedule, 8, "cross") == [1, 2, 3, 5, 6, 7]
    assert reused(schedule, 8, "mlp", layer=1) == [1, 2, 4, 5, 7]
    assert reused(schedule, 8, "mlp", layer=2) == []
    assert Broadcast(2, 0.0, 1.0).reused_kinds == ("attention",)


def test_a_shared_projection_is_reused_where_both_are():
    schedule = Broadcast(2, 0.0, 1.0, mlp=3, mlp_layers=2)
    assert reused(schedule, 8, "joint", layer=1) == [1, 5, 7]
    assert reused(schedule, 8, "joint", layer=2) == []
    assert Broadcast(1, 0.0, 1.0, mlp=2).reused_kinds == ("mlp",)
    both = FirstMatch((DenseFirst(3), schedule))
    assert reused(both, 8, "joint", layer=1) == [5, 7]


def test_dense_steps_and_layers_come_before_the_broadcast():
    schedule = FirstMatch((DenseFirst(3, 1), Broadcast(2, 0.0, 1.0, mlp=2)))
    D, S, R = Action.DENSE, Action.SPARSE, Action.REUSE
    assert actions(schedule, 7, layer=1) == [D, D, D, R, S, R, S]
    assert actions(schedule, 7, layer=0) == [D] * 7
    assert reused(schedule, 7, "mlp", layer=1) == [3, 5]
    assert reused(schedule, 7, "mlp", layer=0) == []
    assert schedule.reused_kinds == ("attention", "mlp", "joint")


def test_the_order_of_the_parts_matters():
    schedule = FirstMatch((Broadcast(2, 0.0, 1.0), DenseFirst(3, 1)))
    assert actions(schedule, 4, layer=1)[1] is Action.REUSE


def test_a_plan_says_what_every_layer_does_at_every_step():
    schedule = Table(("Ff", "WA", "wA"))
    D, S, R = Action.DENSE, Action.SPARSE, Action.REUSE
    assert [actions(schedule, 3, layer, 2) for layer in range(2)] == [[D, S, S], [D, R, R]]
    shared = [[schedule.shares(Site(layer, 2, step, 3)) for layer in range(2)] for step in range(3)]
    assert shared == [[False, True], [False, False], [True, False]]
    assert schedule.shares_branches
    assert not Table(("FF", "WA")).shares_branches
    assert Table(("F", "W")).reused_kinds == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Broadcast(0), "range counts steps.*range=0"),
        (lambda: Broadcast(True), "range=True"),
        (lambda: Broadcast(cross=1.5), "cross=1.5"),
        (lambda: Broadcast(mlp=-1), "mlp=-1"),
        (lambda: Broadcast(start=0.5, stop=0.5), "0 <= start < stop <= 1"),
        (lambda: Broadcast(start=-0.1), "0 <= start < stop <= 1"),
        (lambda: Broadcast(stop=850), "window_of_timesteps converts timesteps"),
        (lambda: Broadcast(stop=float("nan")), "0 <= start < stop <= 1"),
        (lambda: Broadcast(stop="0.9"), "got stop='0.9'"),
        (lambda: Broadcast(mlp_layers=1.5), "mlp_layers must be"),
        (lambda: Broadcast(mlp_layers="a"), "mlp_layers must be"),
        (lambda: Broadcast(2, offset=2), r"offset shifts .* in \[0, 2\).*range=2.*offset=2"),
        (lambda: Broadcast(1, offset=1), r"in \[0, 1\)"),
        (lambda: Broadcast(2, offset=-1), "offset=-1"),
        (lambda: Broadcast(2, offset=True), "offset=True"),
        (lambda: window_of_timesteps([900, 100], 200, 300), "no timestep lies between low=200"),
        (lambda: FirstMatch((DenseFirst(),)), "joins two or more schedules"),
        (lambda: FirstMatch((DenseFirst(), 3)), "joins schedules"),
        (lambda: Table(()), "one string per step"),
        (lambda: Table("FF"), "one string per step"),
        (lambda: Table(("FF", "F")), r"rows of \[1, 2\] letters"),
        (lambda: Table(("FF", "XA")), "letters F, f, W, w, A, got X"),
        (lambda: Table(("FA", "FF")), "step 0 has no earlier output"),
        (lambda: Table(("F", "A")).action(Site(0, 1, 0, 3)), "plan is for 2 steps and 1 layers"),
        (lambda: Table(("F", "A")).shares(Site(0, 2, 0, 2)), "the generation has 2 and 2"),
    ],
)
def test_bad_values_are_refused(make, message):
    with pytest.raises(RecipeError, match=message):
        make()
