"""VBench's aggregation: sixteen raw scores become quality, semantic and total; never from fewer.

Huang et al., "VBench: Comprehensive Benchmark Suite for Video Generative Models", arXiv:2311.17982; ranges and weights
as in scripts/constant.py of Vchitect/VBench. Its own script takes a missing dimension for 0 and prints a total all the
same; here that is refused. The raw scores come from VBench itself, which needs its models and a GPU.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from videosieve.errors import MetricError
from videosieve.files import read_json


@dataclass(frozen=True, slots=True)
class Dimension:
    """One of VBench's dimensions.

    Attributes:
        least: Raw score that counts as 0.
        most: Raw score that counts as 1.
        weight: In the mean over its group.
    """

    least: float = 0.0
    most: float = 1.0
    weight: float = 1.0


QUALITY = {
    "subject_consistency": Dimension(0.1462),
    "background_consistency": Dimension(0.2615),
    "temporal_flickering": Dimension(0.6293),
    "motion_smoothness": Dimension(0.706, 0.9975),
    "aesthetic_quality": Dimension(),
    "imaging_quality": Dimension(),
    "dynamic_degree": Dimension(weight=0.5),
}
SEMANTIC = {
    "object_class": Dimension(),
    "multiple_objects": Dimension(),
    "human_action": Dimension(),
    "color": Dimension(),
    "spatial_relationship": Dimension(),
    "scene": Dimension(0.0, 0.8222),
    "appearance_style": Dimension(0.0009, 0.2855),
    "temporal_style": Dimension(0.0, 0.364),
    "overall_consistency": Dimension(0.0, 0.364),
}
_QUALITY_SHARE = 4 / 5


def vbench_quality(scores: Mapping[str, float]) -> float:
    """Weighted mean of the seven normalised quality dimensions.

    Args:
        scores: Raw scores in [0, 1] by dimension, named with underscores or spaces; others may be among them.

    Returns:
        About [0, 1]; videos beyond VBench's published extremes leave it.

    Raises:
        MetricError: One of the seven is missing, a name is unknown, or a score is outside [0, 1].
    """
    return _mean(scores, QUALITY, "quality")


def vbench_semantic(scores: Mapping[str, float]) -> float:
    """Mean of the nine normalised semantic dimensions; arguments and errors as `vbench_quality`."""
    return _mean(scores, SEMANTIC, "semantic")


def vbench_total(scores: Mapping[str, float]) -> float:
    """(4 · quality + semantic) ÷ 5, from all sixteen dimensions.

    Args:
        scores: Raw scores in [0, 1] by dimension, named with underscores or spaces.

    Returns:
        The total that VBench's leaderboard shows, as a fraction.

    Raises:
        MetricError: A dimension is missing, a name is unknown, or a score is outside [0, 1].
    """
    _require(_named(scores), [*QUALITY, *SEMANTIC], "total")
    return _QUALITY_SHARE * vbench_quality(scores) + (1 - _QUALITY_SHARE) * vbench_semantic(scores)


def read_vbench_results(paths: Iterable[Path]) -> dict[str, float]:
    """Raw scores from the `*_eval_results.json` files that `vbench evaluate` writes.

    Args:
        paths: Files; usually one a dimension.

    Returns:
        Raw score by dimension.

    Raises:
        MetricError: A file is unreadable or of another form, or two files disagree on a dimension.
    """
    scores: dict[str, float] = {}
    for path in paths:
        try:
            table = read_json(path, "the results", MetricError)
            found = {str(name): float(value[0]) for name, value in table.items()}
        except (ValueError, AttributeError, LookupError, TypeError) as error:
            raise MetricError(
                f"{str(path)!r} is no result of `vbench evaluate`, which maps dimensions to [score, videos]: {error}"
            ) from error
        for name, score in _named(found).items():
            if scores.setdefault(name, score) != score:
                raise MetricError(f"{str(path)!r} gives {name} {score}, another file gave {scores[name]}")
    return scores


def _mean(scores: Mapping[str, float], group: Mapping[str, Dimension], what: str) -> float:
    scores = _named(scores)
    _require(scores, list(group), what)
    total = sum(
        (scores[name] - each.least) / (each.most - each.least) * each.weight for name, each in group.items()
    )
    return total / sum(each.weight for each in group.values())


def _named(scores: Mapping[str, float]) -> dict[str, float]:
    named = {name.replace(" ", "_"): score for name, score in scores.items()}
    if unknown := [name for name in named if name not in QUALITY and name not in SEMANTIC]:
        raise MetricError(
            f"VBench has no dimension {', '.join(unknown)}; there are {', '.join((*QUALITY, *SEMANTIC))}"
        )
    if wrong := {name: score for name, score in named.items() if not 0 <= score <= 1}:
        raise MetricError(f"raw VBench scores lie in [0, 1], got {wrong}; divide percentages by 100")
    return named


def _require(scores: Mapping[str, float], names: list[str], what: str) -> None:
    if missing := [name for name in names if name not in scores]:
        raise MetricError(
            f"a VBench {what} score needs all of its {len(names)} dimensions, {len(missing)} are missing: "
            f"{', '.join(missing)}. Evaluate them, or report the single dimensions"
        )
