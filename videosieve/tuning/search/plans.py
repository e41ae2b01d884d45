"""Plans from a screening: for every layer, the letters that harm least at a price per saved second.

Harm and seconds are sums over layers, and within a layer a step depends on the earlier ones only through the age of the
stored output and what it was computed with. So the best plan at one price is found exactly, layer by layer, by dynamic
programming over the steps; falling prices give gentler plans.
"""

import torch
from torch import Tensor

from videosieve.tuning.search.candidates import CACHING, Candidate
from videosieve.tuning.search.screen import Screen, drift_of

OLDEST = 4
"""Steps for which an output may be returned again."""


def best_plan(screen: Screen, family: str, knob: float, price: float, decay: float) -> Candidate:
    """The plan that minimises weighted harm + price × seconds (in shares of a dense generation).

    Args:
        screen: The screening.
        family: Name of a screened family, or CACHING for dense and reused attention alone.
        knob: Value of its knob.
        price: Harm that a whole dense generation's time is worth, > 0.
        decay: How much less late steps count.

    Returns:
        A candidate with a plan.
    """
    weight = screen.weight(decay)[:, None]
    core, module = (screen.share[key] / screen.steps for key in ("core", "attention"))
    shape = (screen.steps, screen.layers)
    sparse, saved = torch.full(shape, torch.inf, dtype=torch.float64), torch.zeros_like(core)
    if family != CACHING:
        choice = screen.look_up(family, knob)
        sparse = screen.harm_of(family, knob)
        saved = core * (1 - choice.cost)
    ages = [torch.full(shape, age) for age in range(1, OLDEST + 1)]
    drifts = torch.stack(
        [screen.reuse_everywhere["attention"] * drift_of(screen, "attention", age).square() for age in ages]
    )
    columns = [
        _column(
            (weight[:, 0] / screen.steps).tolist(),
            sparse[:, layer].tolist(),
            drifts[:, :, layer].tolist(),
            (price * float(saved[layer]), price * float(module[layer])),
        )
        for layer in range(screen.layers)
    ]
    rows = tuple("".join(column[step] for column in columns) for step in range(screen.steps))
    return Candidate(family, knob, plan=rows)


def _column(
    weight: list[float], sparse: list[float], drift: list[list[float]], gains: tuple[float, float]
) -> str:
    """The letters of one layer.

    A state is (age of the output, step if it was computed sparsely, else −1); the value its least cost so far.
    """
    states: dict[tuple[int, int], tuple[float, str]] = {(OLDEST + 1, -1): (0.0, "")}
    for step, importance in enumerate(weight):
        found: dict[tuple[int, int], tuple[float, str]] = {}

        def offer(state: tuple[int, int], cost: float, letters: str, into: dict = found) -> None:
            if state not in into or cost < into[state][0]:
                into[state] = (cost, letters)

        for (age, source), (cost, letters) in states.items():
            offer((0, -1), cost, letters + "F")
            offer((0, step), cost + importance * sparse[step] - gains[0], letters + "W")
            if age < OLDEST:
                harm = drift[age][step] + (sparse[source] if source >= 0 else 0.0)
                offer((age + 1, source), cost + importance * harm - gains[1], letters + "A")
        states = found
    return min(states.values())[1]


def prices(screen: Screen, count: int = 10, shift: float = 0.0) -> list[float]:
    """Prices from one that buys nearly nothing to one that buys nearly everything, evenly in their logarithm.

    Args:
        screen: The screening.
        count: How many.
        shift: Share of a step by which all are moved up, in [0, 1).

    Returns:
        Ascending prices.
    """
    harms = screen.reuse_everywhere["attention"] * screen.drift["attention"][0].square()
    typical = float(harms.mean() * screen.layers / screen.share["attention"].sum().clamp(min=1e-9))
    low, high = max(typical, 1e-9) * 1e-2, max(typical, 1e-9) * 1e2
    ratio: Tensor = (torch.arange(count, dtype=torch.float64) + shift) / (count - 1)
    return (low * (high / low) ** ratio).tolist()
