"""The colour ramps of `videosieve.colours` for matplotlib."""

from typing import Any

from videosieve.colours import AMOUNT, HEAT


def amount_ramp() -> Any:
    """How much, on white paper."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("amount", AMOUNT.light.split())


def heat_ramp() -> Any:
    """How much, over a film or picture."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("heat", HEAT.split())
