"""What is generated in one process and in several: tiny models, three steps, methods of every kind."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import HunyuanVideoTransformer3DModel, WanTransformer3DModel
from torch import Tensor

from videosieve import sparsify
from videosieve.integrations.diffusers import enable_ulysses
from videosieve.records import Record
from videosieve.testing.models.hunyuanvideo15 import pipeline_call, tiny_pipeline
from videosieve.testing.pipelines import cogvideox_call, tiny_cogvideox, tiny_hunyuanvideo_transformer
from videosieve.trace import Trace

SPARSE: dict[str, Any] = {"dense_steps": 1, "dense_layers": 0, "min_tokens": 0}
TABLE = ((0.3, 0.9, 0.5, 0.7), (0.8, 0.4, 0.6, 0.2))
METHODS: dict[str, dict[str, Any]] = {
    "svg": {"density": 0.4, "block": 16},
    "svg2": {"density": 0.4, "query_clusters": 7, "key_clusters": 11},
    "adaspa": {"density": 0.4, "block": 16, "recall_split": 0.45},
    "xattention": {"head_thresholds": TABLE, "block": 16, "stride": 4},
    "sieve": {"density": 0.4, "block": 16},
    "random_blocks": {"density": 0.4, "block": 16},
}


def wan(heads: int = 4, latent: tuple[int, ...] = (4, 16, 16)) -> tuple[Any, Callable[[], Tensor]]:
    """Video alone: 4 × 8 × 8 tokens, or a quarter of other latents."""
    torch.manual_seed(0)
    transformer: Any = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=heads, attention_head_dim=16, in_channels=4, out_channels=4,
        text_dim=8, freq_dim=16, ffn_dim=32, num_layers=2, rope_max_seq_len=32,
    ).eval()  # fmt: skip
    latents, text = torch.randn(1, 4, *latent), torch.randn(1, 5, 8)

    def generate() -> Tensor:
        x = latents
        for time in (900, 500, 100):
            x = x - transformer(x, torch.tensor([time]), text, return_dict=False)[0] / 3
        return x

    return transformer, generate


def hunyuanvideo(
    heads: int = 4, latent: tuple[int, ...] = (4, 8, 8), places: int = 8
) -> tuple[Any, Callable[[], Tensor]]:
    """Video, then padded text: two prompts, the first of 5 tokens."""
    torch.manual_seed(0)
    config = {**tiny_hunyuanvideo_transformer().config, "num_attention_heads": heads}
    made: Any = HunyuanVideoTransformer3DModel.from_config(config)
    transformer = made.eval()
    latents, text, pooled = torch.randn(2, 4, *latent), torch.randn(2, places, 16), torch.randn(2, 8)
    mask, guidance = torch.arange(places) < torch.tensor([[5], [places]]), torch.tensor([6000.0] * 2)

    def generate() -> Tensor:
        x = latents
        for time in (900, 500, 100):
            times = torch.tensor([time] * 2)
            x = x - transformer(x, times, text, mask, pooled, guidance, return_dict=False)[0] / 3
        return x

    return transformer, generate


def cogvideox(version: str) -> tuple[Any, Callable[[], Tensor]]:
    """Text, then video, with an attention primitive that knows nothing of context parallelism."""
    pipe = tiny_cogvideox(version=version)
    pipe.set_progress_bar_config(disable=True)
    return pipe, lambda: pipe(**cogvideox_call(output_type="latent")).frames


def hunyuanvideo15() -> tuple[Any, Callable[[], Tensor]]:
    """Video, then three padded texts, valid rows first."""
    pipe = tiny_pipeline()
    pipe.set_progress_bar_config(disable=True)
    return pipe, lambda: pipe(**pipeline_call()).frames


JOINT: dict[str, Callable[[], tuple[Any, Callable[[], Tensor]]]] = {
    "hunyuanvideo": hunyuanvideo,
    "cogvideox 1.0": lambda: cogvideox("1.0"),
    "cogvideox 1.5": lambda: cogvideox("1.5"),
    "hunyuanvideo 1.5": hunyuanvideo15,
}


def told(*rows: tuple[float, ...]) -> Trace:
    """A trace in which the heads of the first layers have these densities."""
    return Trace(
        Record(layer, 0, "cond", "sparse", "", "cpu", 1000, sum(row) / len(row), densities=list(row))
        for layer, row in enumerate(rows)
    )


CASES: dict[str, tuple[Any, ...]] = {
    **{
        f"wan, {name}, sparsify {when}": (wan, name, fields, when)
        for name, fields in METHODS.items()
        for when in ("before", "after")
    },
    "wan, dense": (wan, "dense", {}, "after"),
    **{f"{name}, svg": (make, "svg", {"density": 0.6, "block": 8}, "after") for name, make in JOINT.items()},
    **{f"{name}, dense": (make, "dense", {}, "before") for name, make in JOINT.items()},
    "hunyuanvideo, svg2": (hunyuanvideo, "svg2", METHODS["svg2"], "after"),
    "hunyuanvideo, adaspa": (hunyuanvideo, "adaspa", METHODS["adaspa"], "after"),
}
UNEVEN: dict[str, tuple[Any, ...]] = {
    "wan of 45 tokens and 3 heads, svg2": (
        lambda: wan(3, (5, 6, 6)), "svg2", {"density": 0.4, "query_clusters": 3, "key_clusters": 5}, "after",
    ),
    "wan of 45 tokens and 3 heads, adaspa": (
        lambda: wan(3, (5, 6, 6)), "adaspa", {**METHODS["adaspa"], "block": 8}, "before",
    ),
    "hunyuanvideo of 45 + 7 tokens and 3 heads, svg": (
        lambda: hunyuanvideo(3, (5, 3, 3), 7), "svg", {"density": 0.6, "block": 8}, "after",
    ),
    "wan of 45 tokens and 3 heads, svg2, dealt": (
        lambda: wan(3, (5, 6, 6)), "svg2", {"density": 0.4, "query_clusters": 3, "key_clusters": 5}, "after",
        told((0.2, 0.9, 0.3)),
    ),
    "wan of 45 tokens and 3 heads, adaspa, dealt": (
        lambda: wan(3, (5, 6, 6)), "adaspa", {**METHODS["adaspa"], "block": 8}, "before", told((0.2, 0.9, 0.3)),
    ),
}  # fmt: skip


EIGHT = ((0.9, 0.3, 0.8, 0.2, 0.95, 0.4, 0.7, 0.25), (0.9, 0.9, 0.9, 0.9, 0.2, 0.2, 0.2, 0.2))
UNEQUAL = ((0.95, 0.9, 0.3, 0.2), (0.2, 0.95, 0.9, 0.3))
WINDOWS = (((4, 1, 1), (4, 2, 2), (1, 1, 1), (1, 2, 1)), ((1, 1, 1), (2, 2, 1), (4, 2, 2), (4, 1, 2)))


CROSSED = told(
    (0.9, 0.7, 0.1, 0.2), (0.8, 0.1, 0.9, 0.3)
)  # two ranks take 0 and 2, 1 and 3; then 0 and 3, 1 and 2
DEALT: dict[str, tuple[Any, ...]] = {
    **{
        f"wan, {name}, sparsify {when}, dealt": (wan, name, fields, when, CROSSED)
        for name, fields in METHODS.items()
        for when in ("before", "after")
    },
    "wan, xattention, twice": (
        wan, "xattention", {**METHODS["xattention"], "head_thresholds": UNEQUAL}, "after", "density",
    ),
    "wan of 8 heads, xattention, twice": (
        lambda: wan(8), "xattention", {**METHODS["xattention"], "head_thresholds": EIGHT}, "before", "density",
    ),
    "wan, xattention, compiled, twice": (
        wan, "xattention", {**METHODS["xattention"], "head_thresholds": UNEQUAL}, "after", "density",
    ),
    "wan, windows": (
        wan, "sliding_tile", {"head_windows": WINDOWS, "tile": (1, 4, 4)}, "before", "density",
    ),
    "hunyuanvideo, adaspa, dealt": (hunyuanvideo, "adaspa", METHODS["adaspa"], "after", CROSSED),
    "cogvideox 1.0, svg, dealt": (lambda: cogvideox("1.0"), "svg", {"density": 0.6, "block": 8}, "before", CROSSED),
}  # fmt: skip


@torch.no_grad()
def generate(name: str, parallel: bool, anything: bool = False) -> dict[str, Any]:
    """One case, in this process alone or as one of several.

    Returns:
        The latents, and what the summary says of this rank and of all.
    """
    make, method, fields, when, *more = (CASES | UNEVEN | DEALT)[name]
    deal = more[0] if more else None
    target, draw = make()
    if parallel and when == "after":
        enable_ulysses(target, anything=anything)
    if "compiled" in name:
        for block in target.blocks:
            block.compile(backend="eager")
    schedule = {} if method == "dense" else SPARSE
    with sparsify(target, method, steps=3, deal=deal, **schedule, **fields) as run:
        if parallel and when == "before":
            enable_ulysses(target, anything=anything)
        latents, balances = draw(), [run.summary(gather=True).balance]
        if name.endswith("twice"):
            latents = draw()
            balances.append(run.summary(gather=True).balance)
        own, gathered = run.summary(), run.summary(gather=True)
    records = run.trace.records
    return {
        "latents": latents,
        "density": own.run_density,
        "sparse_calls": own.sparse_calls,
        "all_density": gathered.run_density,
        "by_rank": [one.run_density for one in gathered.ranks],
        "imbalance": gathered.imbalance,
        "pairs": sum(record.pairs for record in records),
        "balances": [one and (one.own_order, one.dealt) for one in balances],
        "heads": {record.layer: record.heads for record in records if record.action == "sparse"},
        "notes": own.notes,
    }
