"""Running averages: only complete passes count, and memory does not grow."""

import torch

from videosieve.concepts import RunningMaps


def maps(value):
    return torch.full((1, 2, 3), float(value))


def test_the_mean_is_over_layers_and_passes():
    running = RunningMaps((1, 3))
    for step, values in enumerate(((1, 2), (5, 8))):
        running.begin()
        running.add(1, step, maps(values[0]))
        running.add(3, step, maps(values[1]))
    assert torch.equal(running.mean, maps(4))
    assert running.passes == 2
    assert running.parts == {}


def test_a_pass_with_a_gap_is_dropped():
    running = RunningMaps((0, 1))
    running.begin()
    running.add(0, 0, maps(100))
    running.begin()
    running.add(0, 1, maps(1))
    running.add(1, 1, maps(3))
    running.begin()
    running.add(1, 2, maps(100))
    assert torch.equal(running.mean, maps(2))
    assert (running.passes, running.dropped) == (1, 1)


def test_parts_are_kept_apart_on_request():
    found = {}
    for keep in ("layers", "steps", "sites"):
        running = RunningMaps((0, 1), keep)
        for step in range(2):
            running.begin()
            for layer in range(2):
                running.add(layer, step, maps(10 * layer + step))
        found[keep] = {key: float(part.mean()) for key, part in running.parts.items()}
        assert torch.equal(running.mean, maps(5.5))
    assert found["layers"] == {(0,): 0.5, (1,): 10.5}
    assert found["steps"] == {(0,): 5.0, (1,): 6.0}
    assert found["sites"] == {(0, 0): 0.0, (0, 1): 1.0, (1, 0): 10.0, (1, 1): 11.0}


def test_what_is_held_does_not_grow_with_steps():
    running = RunningMaps((0, 1))
    sizes = []
    for step in range(5):
        running.begin()
        for layer in range(2):
            running.add(layer, step, maps(step))
        held = [*running._sums.values(), *running._open.values()]
        sizes.append(sum(total.numel() for total, _ in held))
    assert sizes == [6] * 5


def test_the_callers_tensor_is_left_alone():
    running, mine = RunningMaps((0,)), maps(1)
    for step in range(2):
        running.begin()
        running.add(0, step, mine)
    assert torch.equal(mine, maps(1))
