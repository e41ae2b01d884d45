"""What this machine is: for the record beside every measurement."""

import hashlib
import platform
from importlib import metadata
from pathlib import Path

import torch


def describe_machine(device: torch.device) -> dict[str, str]:
    """The machine in words.

    Args:
        device: Where the model runs.

    Returns:
        device, processor, threads, memory and system.
    """
    return {
        "device": _device_name(device),
        "processor": _processor(),
        "threads": str(torch.get_num_threads()),
        "memory": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def describe_versions() -> dict[str, str]:
    """Versions of the parts that numbers depend on; "not installed" for a missing one."""
    packages = ("videosieve", "torch", "diffusers", "triton")
    return {**{name: package_version(name) for name in packages}, "python": platform.python_version()}


def package_version(name: str) -> str:
    """The version of an installed package, or "not installed"."""
    if name == "videosieve":
        from videosieve.version import __version__

        return __version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def weights_digest(transformer: torch.nn.Module) -> str:
    """Tells trainings of one model apart: a digest of the last parameters' first values, of those that are loaded."""
    last = [parameter for parameter in transformer.parameters() if not parameter.is_meta][-4:]
    text = repr([parameter.detach().flatten()[:16].float().tolist() for parameter in last])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0]} × {len(names)}" if names else platform.processor() or "unknown"


def _memory() -> str:
    try:
        line = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()[0]
    except OSError:
        return "unknown"
    return f"{int(line.split()[1]) / 2**20:.0f} GiB"
