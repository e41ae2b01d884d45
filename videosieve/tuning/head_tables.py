"""Families with a table per layer and head, fitted to a capture: XAttention's thresholds, MInference's shapes."""

from videosieve.methods import Method
from videosieve.methods.searches.minference import MInferenceSearch, best_patterns
from videosieve.methods.searches.xattention import XAttentionProfile, thresholds
from videosieve.recipe import Recipe
from videosieve.schedule import DenseFirst
from videosieve.tuning.capture import Capture
from videosieve.tuning.parts import Parts
from videosieve.tuning.replay import Replay
from videosieve.tuning.search.candidates import Family

RECALLS = (0.6, 0.75, 0.9)
PATTERN_DENSITY = 0.3


def fit_tables(
    captured: Capture, methods: list[str], block: int | None, parts: Parts | None = None
) -> list[Family]:
    """One family per recall for XAttention, whose thresholds keep it in every head, and one for MInference.

    Args:
        captured: A dense generation.
        methods: Methods of the search; others get no table.
        block: Block side, tokens; None leaves it to the method.
        parts: How much time there is; None for no end of it.

    Returns:
        Up to four families.

    Raises:
        OutOfTime: The time for screening ended.
    """
    time = parts or Parts()
    options = () if block is None else (("block", block),)
    layers = captured.target.layers
    found = []
    if "xattention" in methods:
        for recall in RECALLS:
            states = _states(captured, XAttentionProfile(recall, block=block), time)
            table = (("head_thresholds", thresholds(states, layers)), *options)
            found.append(Family(f"xattention-heads-{recall:g}", "xattention", table, "", (recall,)))
    if "minference" in methods:
        states = _states(captured, MInferenceSearch(PATTERN_DENSITY, block=block), time)
        table = (("head_patterns", best_patterns(states, layers)), *options)
        found.append(Family("minference-heads", "minference", table))
    return found


def _states(captured: Capture, method: Method, parts: Parts) -> dict[tuple[str, int, str], object]:
    with Replay(captured, Recipe(method, DenseFirst(0, 0), min_tokens=0)) as replay:
        for step in captured.looked:
            parts.require_time()
            replay(step)
        return replay.states()
