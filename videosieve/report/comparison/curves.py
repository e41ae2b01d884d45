"""Views of a trace: density and recall by step, and the pattern of every head."""

from statistics import fmean

from videosieve.records import Record
from videosieve.report.results import Atlas

DENSE = "-"


def density_by_step(records: list[Record]) -> list[float]:
    """Run density of every denoising step.

    Args:
        records: The records of one generation.

    Returns:
        Computed ÷ all query–key pairs per step, in step order, each in [0, 1].
    """
    computed: dict[int, float] = {}
    pairs: dict[int, int] = {}
    for record in records:
        computed[record.step] = computed.get(record.step, 0.0) + record.density * record.pairs
        pairs[record.step] = pairs.get(record.step, 0) + record.pairs
    return [computed[step] / pairs[step] for step in sorted(pairs)]


def recall_by_step(records: list[Record]) -> list[float | None]:
    """Recall of every denoising step.

    Args:
        records: The records of one generation.

    Returns:
        Mean over the sparse calls and heads of a step, in step order, each in [0, 1]; None where none was measured.
    """
    values: dict[int, list[float]] = {}
    for record in records:
        values.setdefault(record.step, []).extend(record.recall if record.action == "sparse" else [])
    return [fmean(values[step]) if values[step] else None for step in sorted(values)]


def steps_kept_dense(records: list[Record]) -> list[bool]:
    """Which denoising steps computed every attention call in full.

    Args:
        records: The records of one generation.

    Returns:
        One answer a step, in step order.
    """
    dense: dict[int, bool] = {}
    for record in records:
        dense[record.step] = dense.get(record.step, True) and record.action == "dense"
    return [dense[step] for step in sorted(dense)]


def head_atlas(records: list[Record]) -> Atlas | None:
    """The pattern that every head used, at every layer and step.

    Where a step has several branches (guidance), the first one is shown. A call that returned an earlier output is
    shown with the patterns of that output.

    Args:
        records: The records of one generation.

    Returns:
        The atlas, or None where no call chose between patterns.
    """
    chosen = [record for record in records if record.pattern]
    patterns = sorted({name for record in chosen for name in record.pattern})
    if not 0 < len(patterns) <= 10:
        return None
    heads = len(chosen[0].pattern)
    steps = sorted({record.step for record in records})
    layers = sorted({record.layer for record in records})
    rows: dict[tuple[int, int], str] = {}
    for record in records:
        row = "".join(str(patterns.index(name)) for name in record.pattern) or DENSE * heads
        if record.source:
            row = rows.get((record.source[0], record.layer), row)
        rows.setdefault((record.step, record.layer), row)
    choice = [[rows.get((step, layer), DENSE * heads) for layer in layers] for step in steps]
    return Atlas(patterns, steps, choice)
