"""How much faster a run can get when attention costs less and the rest does not."""


def amdahl_bound(share: float, density: float) -> float:
    """The most that a run can gain: 1 ÷ (1 − share + share · density). Amdahl, AFIPS 1967.

    Args:
        share: Attention's share of a dense run, of its time or of its work, in [0, 1).
        density: Run density, in [0, 1]; 0 for attention that costs nothing.

    Returns:
        A speed-up, at least 1.
    """
    return 1 / (1 - share + share * density)
