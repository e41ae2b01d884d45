"""One denoising step of the real-size HunyuanVideo transformer, built from its config with random weights.

Attention does not care what the weights are, as long as the method is forced to a density; recall means nothing here
and is not printed. What a step spends is read from the profiler, kernel by kernel.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable
from time import perf_counter
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from videosieve import sparsify
from videosieve.metrics.amdahl import amdahl_bound
from videosieve.testing.pipelines import tiny_hunyuanvideo_transformer

DENSITIES = (0.2, 0.3)
FRAMES, HEIGHT, WIDTH, TEXT = 33, 90, 160, 256  # latents of 129 frames of 720 × 1280, and text tokens
# The first pattern that a kernel's name matches says what it is for.
PARTS = (
    (
        "attention",
        r"attend_blocks|list_kept|flash|fmha|cudnn.*attention|scaled_dot_product|_attend|AttentionNative",
    ),
    ("profile", r"sampl"),
    ("reorder", r"reorder|gather|index_select|permute_rows"),
    ("norm + RoPE", r"norm_rope|rms_norm|layer_norm|native_layer_norm|rsqrt|rotary"),
    ("linear", r"gemm|cutlass|nvjet|addmm|aten::mm|aten::bmm|linear"),
)
Row = dict[str, Any]


def time_step(device: torch.device, *, dry_run: bool) -> list[Row]:
    """Seconds and parts of a step: dense, then Sparse VideoGen, with diffusers' processors and with fused ones."""
    transformer, inputs = (_tiny if dry_run else _real)(device)
    bench: dict[str, dict[str, Any]] = {"dense": {}}
    for density in DENSITIES:
        bench[f"svg {density}"] = {"density": density, "fused": False}
        bench[f"svg {density}, fused"] = {"density": density, "fused": True}
    rows: list[Row] = []
    for name, options in bench.items():
        common = {"steps": 50, "min_tokens": 0, "dense_steps": 0, "dense_layers": 0, "recall_rows": 0}
        with sparsify(transformer, name.split()[0], **common, **options) as run:
            transformer(**inputs)  # compiles and warms up
            before = len(run.trace.records)
            seconds, parts = _profiled(lambda: transformer(**inputs), device)
            records = run.trace.records[before:]
        density = sum(record.density for record in records) / len(records)
        row: Row = {"kernel": name, "seconds": seconds, "density": density, "runs": records[-1].kernel}
        rows.append({**row, "speedup": rows[0]["seconds"] / seconds if rows else 1.0, **parts})
    for row in rows:  # what Amdahl's law allows if sparse attention cost its density of the dense
        share = rows[0]["attention"] / sum(rows[0][part] for part, _ in (*PARTS, ("rest", "")))
        row["amdahl_bound"] = amdahl_bound(share, row["density"])
    return rows


def _profiled(call: Callable[[], object], device: torch.device) -> tuple[float, dict[str, float]]:
    """Wall seconds of a call, and seconds by part, from a second, profiled call."""

    def wait() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    wait()
    start = perf_counter()
    call()
    wait()
    seconds = perf_counter() - start
    on_gpu = device.type == "cuda"
    os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # or the profiler writes to the table's terminal
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as recorded:
        call()
        wait()
    parts: dict[str, float] = defaultdict(float, {part: 0.0 for part, _ in PARTS})
    for event in recorded.key_averages():
        microseconds = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        parts[part_of(event.key)] += microseconds / 1e6
    parts.setdefault("rest", 0.0)
    return seconds, dict(parts)


def part_of(kernel: str) -> str:
    """What a kernel is for, by its name."""
    return next((part for part, pattern in PARTS if re.search(pattern, kernel, re.IGNORECASE)), "rest")


def _real(device: torch.device) -> tuple[Any, dict[str, Any]]:
    from diffusers import HunyuanVideoTransformer3DModel

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)  # 12.8 billion weights would be 51 GB otherwise
    try:
        with device:
            transformer = HunyuanVideoTransformer3DModel(guidance_embeds=True).eval()
    finally:
        torch.set_default_dtype(before)
    return transformer, _inputs(transformer, (FRAMES, HEIGHT, WIDTH), TEXT, device, torch.bfloat16)


def _tiny(device: torch.device) -> tuple[Any, dict[str, Any]]:
    transformer = tiny_hunyuanvideo_transformer(layers=1, single_layers=1).eval()
    return transformer, _inputs(transformer, (4, 8, 8), 16, device, torch.float32)


def _inputs(
    transformer: Any, grid: tuple[int, int, int], text: int, device: torch.device, dtype: torch.dtype
) -> dict[str, Any]:
    config = transformer.config

    def noise(*shape: int) -> torch.Tensor:
        return torch.randn(shape, device=device, dtype=dtype)

    return {
        "hidden_states": noise(1, config["in_channels"], *grid),
        "timestep": torch.tensor([500], device=device),
        "encoder_hidden_states": noise(1, text, config["text_embed_dim"]),
        "encoder_attention_mask": torch.ones(1, text, device=device, dtype=torch.bool),
        "pooled_projections": noise(1, config["pooled_projection_dim"]),
        "guidance": torch.full((1,), 6000.0, device=device, dtype=dtype),
        "return_dict": False,
    }
