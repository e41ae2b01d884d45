"""What this machine can run, and why not the rest: the answers behind `videosieve doctor`."""

import importlib
import os
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata, resources
from typing import Any

import torch

from videosieve import kernels
from videosieve.kernels.centroids import centroids_of
from videosieve.kernels.native_library import PRODUCTS, load, refuse_library, refuse_products
from videosieve.kernels.native_threads import describe_threads
from videosieve.kernels.norm_rope.streams import Stream
from videosieve.masks.block_mask import BlockMask, BlockSize
from videosieve.metrics import METRICS, available_metrics
from videosieve.planning.machine import describe_machine, package_version
from videosieve.version import __version__

OPTIONAL = ("diffusers", "transformers", "accelerate", "triton", "imageio-ffmpeg", "pillow", "matplotlib")
SAMPLE_TOKENS, SAMPLE_HEADS, SAMPLE_HEAD_DIM = 256, 2, 64


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: "machine", "packages", "kernels", "metrics" or "models".
        name: What it is.
        ready: Whether it can be used here.
        detail: Version, device, or the reason why not.
    """

    topic: str
    name: str
    ready: bool
    detail: str


def examine() -> list[Finding]:
    """Look at machine, packages, kernels, metrics and bundled models; never raises for something that is missing."""
    return [*_machine(), *_packages(), *_ffmpeg(), *_kernels(), *_metrics(), *_models()]


def verdict(findings: list[Finding]) -> str:
    """One sentence that says what these findings come to: where it runs, what is missing.

    Args:
        findings: As `examine` gives them.
    """
    ready = {(one.topic, one.name): one.ready for one in findings}
    device = "the GPU" if ready.get(("machine", "cuda")) else "the CPU"
    native = (
        "native kernels" if ready.get(("machine", "native kernels")) else "kernels from PyTorch operations"
    )
    how = "Triton's kernels" if device == "the GPU" and ready.get(("packages", "triton")) else native
    lacks = [one.name for one in findings if one.topic == "packages" and not one.ready]
    scores = [one.name for one in findings if one.topic == "metrics" and not one.ready]
    said = [f"videos are made sparse here on {device}, by {how}"]
    if not ready.get(("packages", "diffusers")):
        said = ["no video can be made: diffusers is missing (pip install 'videosieve[all]')"]
    said += [f"packages missing: {', '.join(lacks)}"] if lacks else []
    said += [f"metrics missing: {', '.join(scores)}"] if scores else []
    return f"Verdict: {'; '.join(said)}."


def _machine() -> list[Finding]:
    described = describe_machine(torch.device("cpu"))
    threads = f"{described['threads']} thread{'s' * (described['threads'] != '1')}"
    cuda = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    mps = torch.backends.mps.is_available()
    reason = "torch was built without CUDA" if torch.version.cuda is None else "no CUDA device is visible"
    return [
        Finding("machine", "videosieve", True, __version__),
        Finding(
            "machine",
            "cpu",
            True,
            f"{described['processor']}, {threads}, {described['memory']}",
        ),
        _native(),
        Finding("machine", "cuda", bool(cuda), ", ".join(cuda) or reason),
        Finding("machine", "mps", mps, "" if mps else "not an Apple GPU"),
    ]


def _native() -> Finding:
    if (reason := refuse_library()) is not None:
        return Finding("machine", "native kernels", False, reason)
    fastest, *others = load().instruction_sets
    slower = f"slower ones here: {', '.join(others) or 'none'}"
    products = refuse_products()
    halves = f"products of bf16: {'by ' + PRODUCTS[fastest] if products is None else 'none, ' + products}"
    return Finding(
        "machine", "native kernels", True, f"{fastest} runs {describe_threads()}; {slower}; {halves}"
    )


def _packages() -> list[Finding]:
    found = [("torch", torch.__version__), *((name, package_version(name)) for name in OPTIONAL)]
    return [Finding("packages", name, version != "not installed", version) for name, version in found]


def _ffmpeg() -> list[Finding]:
    try:
        import imageio_ffmpeg

        detail, ready = f"version {imageio_ffmpeg.get_ffmpeg_version()}, writes .mp4", True
    except (ImportError, RuntimeError) as error:
        detail, ready = f"{error}; .gif and .webp still work", False
    return [Finding("packages", "ffmpeg", ready, detail)]


def _kernels() -> list[Finding]:
    findings = []
    devices = ["cpu", *(["cuda"] if torch.cuda.device_count() else [])]
    for module in pkgutil.iter_modules(kernels.__path__):
        op = importlib.import_module(f"videosieve.kernels.{module.name}")
        for implementation in getattr(op, "IMPLEMENTATIONS", ()):
            sample = _SAMPLES.get(module.name)
            refusals = {device: _refusal(implementation.refuse, sample, device) for device in devices}
            able = [device for device, reason in refusals.items() if reason is None]
            detail = f"on {', '.join(able)}" if able else "; ".join(f"{k}: {v}" for k, v in refusals.items())
            detail += "" if implementation.automatic or not able else ", by name only"
            findings.append(Finding("kernels", f"{module.name} / {implementation.name}", bool(able), detail))
    return findings


def _refusal(
    refuse: Callable[..., str | None], sample: Callable[[str], tuple[Any, ...]] | None, device: str
) -> str | None:
    return "no sample call is known" if sample is None else refuse(*sample(device))


def _sample_block_sparse(device: str) -> tuple[Any, ...]:
    q = _tensor(device)
    mask = BlockMask.dense(SAMPLE_TOKENS, BlockSize(64, 64), device=q.device)
    return q, q, q, mask, SAMPLE_HEAD_DIM**-0.5


def _sample_dense(device: str) -> tuple[Any, ...]:
    q = _tensor(device)
    return q, q, q, SAMPLE_HEAD_DIM**-0.5, False


def _tensor(device: str) -> torch.Tensor:
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    return torch.zeros(1, SAMPLE_HEADS, SAMPLE_TOKENS, SAMPLE_HEAD_DIM, device=device, dtype=dtype)


def _sample_reorder(device: str) -> tuple[Any, ...]:
    x = _tensor(device)
    return x, torch.arange(SAMPLE_TOKENS, device=x.device), None


def _sample_sampled(device: str) -> tuple[Any, ...]:
    q = _tensor(device)
    mask = torch.ones(1, 1, SAMPLE_TOKENS, SAMPLE_TOKENS, dtype=torch.bool, device=q.device)
    return q, q, q, [mask], SAMPLE_HEAD_DIM**-0.5


def _sample_antidiagonal(device: str) -> tuple[Any, ...]:
    q = _tensor(device)
    return q, q, 8, SAMPLE_HEAD_DIM**-0.5


def _sample_antidiagonal_mass(device: str) -> tuple[Any, ...]:
    q = _tensor(device)
    return q, q, 8, 64, SAMPLE_HEAD_DIM**-0.5, False


def _sample_mass(device: str) -> tuple[Any, ...]:
    q = _tensor(device)
    return q, q, q[..., 0].float(), BlockSize(64, 64), SAMPLE_HEAD_DIM**-0.5


def _sample_kmeans(device: str) -> tuple[Any, ...]:
    x = _tensor(device)
    return x, x[:, :, :16].float()


def _sample_norm_rope(device: str) -> tuple[Any, ...]:
    q = _tensor(device)
    return (Stream(q, q),), None, None, False


def _sample_pool(device: str) -> tuple[Any, ...]:
    return _tensor(device), _offsets(device), None


def _sample_moments(device: str) -> tuple[Any, ...]:
    return _tensor(device), _offsets(device), None, None


def _sample_deal(device: str) -> tuple[Any, ...]:
    worth = torch.zeros(1, 1, 4, 8, device=device)
    return worth, worth[..., 0].long(), worth[:, :, 0].long(), worth[..., 0, 0].long()


def _sample_centroid_mass(device: str) -> tuple[Any, ...]:
    q = _tensor(device)
    sizes = torch.zeros(1, 1, SAMPLE_TOKENS // 64, device=device)
    return (
        q,
        q[:, :, :: SAMPLE_TOKENS // sizes.shape[-1]],
        sizes,
        _offsets(device),
        SAMPLE_HEAD_DIM**-0.5,
        None,
    )


def _sample_compensated(device: str) -> tuple[Any, ...]:
    q, k, v, mask, scale = _sample_block_sparse(device)
    return q, k, v, mask, centroids_of(k, v, mask), mask.keep, scale


def _offsets(device: str) -> torch.Tensor:
    return torch.arange(0, SAMPLE_TOKENS + 1, 64, device=device).view(1, 1, -1)


_SAMPLES: dict[str, Callable[[str], tuple[Any, ...]]] = {
    "antidiagonal_mass": _sample_antidiagonal_mass,
    "antidiagonal_scores": _sample_antidiagonal,
    "block_mass": _sample_mass,
    "block_moments": _sample_moments,
    "block_sparse_attention": _sample_block_sparse,
    "centroid_mass": _sample_centroid_mass,
    "compensated_attention": _sample_compensated,
    "deal_budget": _sample_deal,
    "dense_attention": _sample_dense,
    "kmeans": _sample_kmeans,
    "norm_rope": _sample_norm_rope,
    "pool_blocks": _sample_pool,
    "reorder_tokens": _sample_reorder,
    "sampled_attention": _sample_sampled,
}


def _metrics() -> list[Finding]:
    return [
        Finding("metrics", name, not reason, reason or f"{METRICS[name].better} is better")
        for name, reason in available_metrics().items()
    ]


def _models() -> list[Finding]:
    weights = resources.files("videosieve") / "shapes" / "weights"
    names = sorted(entry.name for entry in weights.iterdir() if entry.is_dir()) if weights.is_dir() else []
    offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
    hub = _installed("huggingface-hub")
    return [
        Finding("models", "bundled", bool(names), ", ".join(names) or "no weights in this installation"),
        Finding(
            "models",
            "hub",
            hub and not offline,
            "HF_HUB_OFFLINE is set" if offline else "reached when a model asks",
        ),
    ]


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True
