"""Every declared field of the library, and what it must take."""

from typing import Any

from benchmarks.robustness.declared_calls import Declared, shapes_of_calls
from benchmarks.robustness.values import (
    BLOCK,
    SEED,
    SIZE,
    Fits,
    above,
    fraction,
    is_part,
    is_text,
    least,
    listed,
    nothing,
    or_none,
    share,
    triple,
    truth,
    whole,
    word,
)  # fmt: skip
from videosieve import Recipe
from videosieve.batch.jobs import Job
from videosieve.batch.jobs import Order as BatchOrder
from videosieve.comparison.plan import Plan, name_recipes
from videosieve.generation.request import Request
from videosieve.judging.scores import Protocol
from videosieve.kernels.dense_attention import IMPLEMENTATIONS as DENSE_KERNELS
from videosieve.layout import Grid
from videosieve.methods import METHODS
from videosieve.methods.geometry.causal_patterns import SHAPES
from videosieve.methods.geometry.minference_patterns import PATTERNS
from videosieve.methods.searches.minference import MInferenceSearch
from videosieve.methods.searches.sliding_tile import SlidingTileSearch
from videosieve.methods.searches.xattention import XAttentionProfile
from videosieve.schedule import Broadcast, DenseFirst, FirstMatch, Table
from videosieve.shapes.training.trainer import TrainConfig
from videosieve.tuning.order import Order as TuneOrder
from videosieve.tuning.search import Goal

_SVG = {"density": share, "first_frame_sink": truth, "block": BLOCK}
_PATTERN = word(*PATTERNS)


def _shape_of_head(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 3
        and word(*SHAPES)(value[0])
        and all(map(whole(0), value[1:]))
    )


_METHODS: dict[str, dict[str, Fits]] = {
    "dense": {"kernel": or_none(word(*(kernel.name for kernel in DENSE_KERNELS))), "causal": truth},
    "svg": {
        **_SVG, "profile": word("sound", "official"), "seed": SEED,
        "profile_rows": lambda value: share(value) if not whole()(value) else whole(1)(value),
    },
    "sieve": {
        "density": share, "block": BLOCK, "space": word("scores", "tokens"), "rank": word("error", "mass"),
        "centroids": truth,
    },
    "adaspa": {
        "density": share, "search_steps": listed(is_part), "head_adaptive": truth, "recall_split": share,
        "block": BLOCK, "search_stride": or_none(lambda value: whole(1, 64)(value) and 64 % value == 0),
    },
    "xattention": {
        "threshold": share, "stride": lambda value: whole(1, 64)(value) and 64 % value == 0,
        "head_thresholds": or_none(listed(listed(share))), "keep_first": truth, "causal": truth,
        "block": or_none(lambda value: whole(1, 65_536)(value) and value % 8 == 0),
    },
    "minference": {
        "density": share, "pattern": _PATTERN, "head_patterns": or_none(listed(listed(_PATTERN))), "rows": whole(1),
        "block": BLOCK, "seed": SEED,
    },
    "minference_causal": {
        "shape": word(*SHAPES), "columns": whole(1), "slashes": whole(1), "first": whole(1), "last": whole(1),
        "blocks": whole(1), "head_patterns": or_none(listed(listed(_shape_of_head))), "budget": or_none(share),
        "rows": whole(1), "block": BLOCK,
    },
    "svg2": {
        "threshold": share, "min_share": fraction, "density": or_none(share), "query_clusters": or_none(whole(1)),
        "key_clusters": or_none(whole(1)), "first_iterations": whole(1, 1_000), "step_iterations": whole(1, 1_000),
        "seed": SEED,
    },
    "svg_ear": {
        "threshold": share, "min_share": fraction, "density": or_none(share), "query_clusters": or_none(whole(1)),
        "key_clusters": or_none(whole(1)), "first_iterations": whole(1, 1_000), "step_iterations": whole(1, 1_000),
        "seed": SEED,
    },
    "nabla": {"threshold": share, "window": or_none(triple), "tile": or_none(triple)},
    "lvsa": {
        "window": whole(0), "first_frames": whole(0), "reference_frames": whole(1),
        "density": or_none(share), "block": BLOCK,
    },
    "radial": {
        "density": or_none(share), "decay": above(0), "widths": word("paper", "official"), "first_frame_sink": truth,
        "block": BLOCK, "decay_thins": truth,
    },
    "sliding_tile": {
        "density": share, "window": or_none(triple), "head_windows": or_none(listed(listed(triple))),
        "tile": or_none(triple),
    },
    "sparge": {
        "threshold": share, "similarity": or_none(fraction), "density": or_none(share),
        "order": word("frame_major", "hilbert"),
        "block": or_none(lambda value: whole(1, 65_536)(value) and value % 2 == 0), "sink": truth,
    },
    "draft": {"density": share, "tile": or_none(triple)},
    "vsa_coarse": {"density": share, "tile": or_none(triple)},
    "window_residual": {"window": is_part, "residual": truth, "first_frame_sink": truth, "block": BLOCK},
    "spatial_only": _SVG,
    "temporal_only": _SVG,
    "oracle_top_k": {"density": share, "scope": word("call", "head", "row"), "block": BLOCK, "causal": truth},
    "random_blocks": {"density": share, "block": BLOCK, "seed": SEED, "causal": truth},
}  # fmt: skip
_GRID = Grid(2, 4, 4)
_REQUEST = Request("a")
_SHARED: dict[str, Fits] = {
    "steps": or_none(whole(1, 10_000)), "height": SIZE, "width": SIZE, "frames": SIZE, "guidance": or_none(least(0)),
}  # fmt: skip


def declared() -> list[Declared]:
    """All classes with declared fields, every field of theirs named."""
    return [
        *(Declared(METHODS[name], fields, {}) for name, fields in _METHODS.items()),
        Declared(MInferenceSearch, {"density": share, "rows": whole(1), "block": BLOCK, "seed": SEED}, {}),
        Declared(
            SlidingTileSearch,
            {"windows": lambda value: listed(triple)(value) and len(value) > 0, "tile": or_none(triple)},
            {"windows": ((1, 1, 1),)},
        ),
        Declared(
            XAttentionProfile,
            {name: _METHODS["xattention"][name] for name in ("stride", "block", "causal")}
            | {"recall": share},
            {},
        ),
        *_schedules(),
        *shapes_of_calls(),
        *_orders(),
    ]


def _schedules() -> list[Declared]:
    return [
        Declared(DenseFirst, {"steps": is_part, "layers": is_part}, {}),
        Declared(
            Broadcast,
            {
                "range": whole(1), "cross": whole(1), "mlp": whole(1), "mlp_layers": is_part,
                "start": lambda value: fraction(value) and value < 0.9,
                "stop": lambda value: fraction(value) and value > 0.16, "offset": whole(0, 1),
            },
            {},
        ),
        Declared(FirstMatch, {"parts": nothing}, {}),
        Declared(
            Table,
            {
                "rows": lambda value: (
                    listed(is_text)(value) and [*value] in (["F"], ["FF", "FA"])  # the plans among the values
                )
            },
            {},
        ),
        Declared(
            Recipe,
            {
                "method": nothing, "schedule": nothing, "name": is_text, "min_tokens": whole(0),
                "provenance": lambda value: isinstance(value, dict) and all(map(is_text, (*value, *value.values()))),
                "shared_selection": lambda value: truth(value) and not value,  # dense attention selects nothing
                "compensate": word("none"), "token_order": word("model"), "family": is_text,  # likewise
                "prefer": word("none"),  # likewise
            },
            {},
        ),
    ]  # fmt: skip


def _orders() -> list[Declared]:
    whole_video = (_REQUEST,)
    return [
        Declared(
            Request,
            {**_SHARED, "prompt": is_text, "negative_prompt": is_text, "image": or_none(nothing), "seed": SEED},
            {"prompt": "a"},
        ),
        Declared(
            Plan,
            {
                "requests": nothing, "recipes": nothing, "repeats": whole(1, 10_000), "fps": lambda value: (
                    above(0)(value) and value <= 240
                ),
                "model": is_text, "floor": truth, "command": is_text,
                "metrics": lambda value: isinstance(value, list | tuple) and not value,
                "caches": lambda value: isinstance(value, dict) and not value,
            },
            {"requests": whole_video, "recipes": name_recipes([Recipe.of("svg")])},
        ),
        Declared(
            Protocol,
            {
                "prompts": whole(1, 10**6), "held_out": whole(0, 10**6), "steps": whole(1, 10_000),
                "guidance": least(1), "seed": whole(0, 999), "batch": whole(1, 65_536),
                "dtype": word("float32", "bfloat16"), "kernel": word("", *(kernel.name for kernel in DENSE_KERNELS)),
            },
            {},
        ),
        Declared(
            TrainConfig,
            {
                "model": is_text, "seed": whole(0, 2**28), "minutes": above(0), "samples": whole(0), "lr": above(0),
                "muon_lr": above(0), "decay_from": fraction, "warmup": whole(0), "muon": or_none(truth),
                "bf16": or_none(truth), "compile": truth, "reading_steps": whole(0), "reading_weight": least(0),
                "start": is_text, "phases": lambda value: value in ([], ()), "device": nothing,
            },
            {},
        ),
        Declared(
            Goal, {"psnr": above(0, 100), "recall": or_none(nothing), "speedup": or_none(nothing)}, {"psnr": 30},
        ),
        Declared(
            TuneOrder,
            {
                "goal": nothing, "search": nothing, "check": nothing, "model": is_text, "minutes": above(0),
                "methods": or_none(lambda value: value in ([], ())), "start": lambda value: value in ([], ()),
                "seed": SEED,
            },
            {"goal": Goal(30), "search": whole_video, "check": (Request("b"),)},
        ),
        Declared(
            Job,
            {"number": whole(0), "prompt": is_text, "seed": SEED, "negative_prompt": is_text, "image": is_text,
             "name": is_text},
            {"number": 0, "prompt": "a"},
        ),
        Declared(
            BatchOrder,
            {**_SHARED, "model": is_text, "recipe": is_text, "folder": is_text, "suffix": word(".mp4", ".gif", ".webp"),
             "fps": lambda value: above(0)(value) and value <= 240, "dtype": is_text},
            {"model": "m", "recipe": "", "folder": "f"},
        ),
    ]  # fmt: skip
