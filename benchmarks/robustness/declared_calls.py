"""The declared fields of what is asked of a kernel: layouts, masks, calls, sites; and how a declaration is written."""

from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.robustness.values import (
    Fits,
    above,
    is_text,
    listed,
    nothing,
    or_none,
    share,
    truth,
    whole,
    word,
)
from videosieve.call import AttentionCall
from videosieve.concepts.method import SaliencyMethod
from videosieve.forward import Forward, Site
from videosieve.layout import Grid, Segment, VideoLayout
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.planning.explain import CallSize


@dataclass(frozen=True)
class Declared:
    """A class whose fields are tried one by one.

    Attributes:
        cls: The class.
        fields: What every field must take.
        others: Values of fields without a default.
    """

    cls: type
    fields: dict[str, Fits]
    others: dict[str, Any]


def shapes_of_calls() -> list[Declared]:
    """Layouts, masks, calls, and where in a generation they are."""
    axis, mask = whole(1, 2**31 - 1), torch.ones(1, 1, 1, 1, dtype=torch.bool)
    one_block = {"keep": mask, "block": BlockSize(4, 4), "queries": 3}
    return [
        Declared(
            Grid,
            {
                name: lambda value: whole(1, 2**31 - 1)(value) and int(value) * 32 < 2**31
                for name in ("frames", "height", "width")
            },
            {"frames": 4, "height": 4, "width": 8},
        ),
        Declared(
            Segment, {"kind": word("text", "extra"), "tokens": axis, "grid": or_none(nothing)},
            {"kind": "text", "tokens": 5, "grid": None},
        ),
        Declared(VideoLayout, {"segments": nothing}, {}),
        Declared(
            Site,
            {"layer": whole(0, 9), "layers": whole(4), "step": whole(0, 9), "steps": whole(4), "branch": is_text,
             "generation": whole(0), "pass_number": whole(0), "items": listed(whole(0)), "heads": whole(3),
             "head_numbers": lambda value: listed(whole(0, 3))(value) and len(set(value)) == len(value) > 0},
            {"layer": 3, "layers": 10, "step": 3, "steps": 10, "heads": 4, "head_numbers": (2,)},
        ),
        Declared(
            Forward,
            {"generation": whole(0), "step": whole(0), "steps": whole(1), "branch": is_text, "pass_number": whole(0),
             "told_by": is_text, "moved": truth},
            {},
        ),
        Declared(
            AttentionCall,
            {
                **dict.fromkeys(("q", "k", "v", "layout", "site"), nothing),
                **dict.fromkeys(("guided", "conditional", "conditional_first"), truth),
                "gather": or_none(callable),
                "scale": or_none(
                    lambda value: isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 3.4e38
                ),
            },
            {**dict.fromkeys("qkv", torch.zeros(1, 1, 4, 2)), "layout": VideoLayout.of(1, 2, 2), "site": Site()},
        ),
        Declared(BlockSize, {"query": whole(1), "key": whole(1)}, {"query": 4, "key": 4}),
        Declared(
            BlockMask,
            {
                "keep": lambda value: isinstance(value, torch.Tensor) and _equals(value, mask),
                "block": nothing, "queries": whole(1, 4),
                "keys": lambda value: whole(1, 4)(value) or (whole()(value) and value == -1), "causal": truth,
            },
            one_block,
        ),
        Declared(
            CallSize,
            {"tokens": axis, "heads": axis, "head_dim": axis, "density": share, "block": nothing, "dtype": nothing,
             "device": nothing},
            {"tokens": 64, "heads": 2, "head_dim": 32, "density": 0.5, "dtype": torch.float32,
             "device": torch.device("cpu"), "block": BlockSize(64, 64)},
        ),
        Declared(
            SaliencyMethod,
            {"name": word("concept", "cross_attention"), "temperature": above(0),
             "pool": word("auto", "mean", "first", "last"), "sight": word("both", "video", "concepts", "none"),
             "keep": word("mean", "layers", "steps", "sites"), "vectors": word("plain", "linear"),
             "average": word("probabilities", "mean_first", "raw"), "space": word("output", "value")},
            {},
        ),
    ]  # fmt: skip


def _equals(value: torch.Tensor, other: torch.Tensor) -> bool:
    return value.dtype == other.dtype and torch.equal(value, other)
