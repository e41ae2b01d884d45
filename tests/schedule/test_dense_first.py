import pytest

from videosieve import Action, DenseFirst, RecipeError, Site


def dense_steps(schedule: DenseFirst, steps: int, layer: int = 5, layers: int = 10) -> int:
    actions = [schedule.action(Site(layer, layers, step, steps)) for step in range(steps)]
    count = actions.count(Action.DENSE)
    assert actions == [Action.DENSE] * count + [Action.SPARSE] * (steps - count), (
        "dense steps must come first"
    )
    return count


@pytest.mark.parametrize(
    ("value", "steps", "expected"),
    [
        (0.2, 50, 10),
        (0.07, 50, 3),
        (0.29, 100, 29),
        (0.0, 50, 0),
        (1.0, 7, 7),
        (3, 50, 3),
        (0, 50, 0),
        (99, 5, 5),
    ],
)
def test_steps_are_a_rounded_down_fraction_or_a_count(value, steps, expected):
    assert dense_steps(DenseFirst(steps=value), steps) == expected


@pytest.mark.parametrize(
    ("value", "layers", "expected"), [(0.03, 40, 1), (0.03, 30, 0), (0.03, 60, 1), (2, 42, 2), (1.0, 4, 4)]
)
def test_layers_are_dense_at_every_step(value, layers, expected):
    schedule = DenseFirst(steps=0, layers=value)
    dense = [layer for layer in range(layers) if schedule.action(Site(layer, layers, 8, 9)) is Action.DENSE]
    assert dense == list(range(expected))


@pytest.mark.parametrize("bad", [-0.1, 1.5, -1, True, "a"])
def test_values_outside_the_range_are_refused(bad):
    with pytest.raises(RecipeError, match="steps that stay dense must be"):
        DenseFirst(steps=bad)
    with pytest.raises(RecipeError, match="layers that stay dense must be"):
        DenseFirst(layers=bad)
