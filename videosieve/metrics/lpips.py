"""LPIPS and ST-LPIPS: distances between the features of a small AlexNet, weighted to agree with people.

LPIPS: Zhang, Isola, Efros, Shechtman, Wang, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
arXiv:1801.03924, version 0.1 of its linear heads. ST-LPIPS: Ghildyal and Liu, "Shift-tolerant Perceptual Similarity
Metric", ECCV 2022, arXiv:2207.13686: the same distance on a network that blurs before it halves, so that a video moved
by a pixel is not punished as PSNR punishes it. The two are different measures; a figure of one is not one of the other.

Weights are read as plain tensors; no code comes with them.
"""

import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import conv2d, max_pool2d, pad, relu

from videosieve.errors import MetricError, ShapeError
from videosieve.metrics.frames import unit_pair

Weights = dict[str, Tensor]

_STAGES = 5
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's mean and deviation, on [−1, 1]
_TRUNK = (
    ("features.0", 4, 2),
    ("features.3", 1, 2),
    ("features.6", 1, 1),
    ("features.8", 1, 1),
    ("features.10", 1, 1),
)
_SMALLEST = {"LPIPS": 31, "ST-LPIPS": 21}  # pixels a side that leave something for the last stage


def lpips(video: Tensor, reference: Tensor, backbone: Path, heads: Path) -> Tensor:
    """LPIPS (AlexNet, version 0.1) of every frame; 0 for identical ones, higher is worse.

    Args:
        video: sRGB, float in [0, 1], or uint8 [frames, 3, height, width]; at least 31 pixels a side.
        reference: The same shape.
        backbone: torchvision's AlexNet weights of ImageNet (`alexnet-owt-*.pth`).
        heads: The linear heads (`weights/v0.1/alex.pth` of the package lpips).

    Returns:
        fp64 [frames].

    Raises:
        ShapeError: The videos do not fit together, are not RGB, or are too small.
        MetricError: A file cannot be read or holds other weights.
    """
    trunk = load_weights(backbone, [f"{name}.{part}" for name, _, _ in _TRUNK for part in ("weight", "bias")])
    weights = trunk | load_weights(heads, _head_names())
    return _distances(video, reference, weights, _alexnet, "LPIPS")


def st_lpips(video: Tensor, reference: Tensor, weights: Path) -> Tensor:
    """ST-LPIPS (AlexNet) of every frame; 0 for identical ones, higher is worse.

    Args:
        video: sRGB, float in [0, 1], or uint8 [frames, 3, height, width]; at least 21 pixels a side.
        reference: The same shape.
        weights: `weights/vST0.0/alex_shift_tolerant.pth` of the package stlpips-pytorch.

    Returns:
        fp64 [frames].

    Raises:
        ShapeError: The videos do not fit together, are not RGB, or are too small.
        MetricError: The file cannot be read or holds other weights.
    """
    names = [f"net.{slice_}.{part}" for slice_ in _TOLERANT for part in ("weight", "bias")]
    return _distances(
        video, reference, load_weights(weights, names + _head_names()), _tolerant_alexnet, "ST-LPIPS"
    )


def _distances(
    video: Tensor,
    reference: Tensor,
    weights: Weights,
    features: Callable[[Tensor, Weights], list[Tensor]],
    name: str,
) -> Tensor:
    x, y = unit_pair(video, reference)
    if x.shape[1] != 3 or min(x.shape[-2:]) < _SMALLEST[name]:
        raise ShapeError(
            f"{name} needs RGB frames of at least {_SMALLEST[name]} pixels a side, got {list(x.shape)}; "
            f"enlarge both videos alike"
        )
    weights = {key: value.to(x.device) for key, value in weights.items()}
    return torch.stack([_distance(pair, weights, features) for pair in torch.stack([x, y], 1).float()])


def _distance(pair: Tensor, weights: Weights, features: Callable[[Tensor, Weights], list[Tensor]]) -> Tensor:
    """Of two frames [2, 3, height, width]."""
    shift, scale = (pair.new_tensor(values).view(1, 3, 1, 1) for values in (_SHIFT, _SCALE))
    total = torch.zeros((), dtype=torch.float64, device=pair.device)
    for stage, feature in enumerate(features((2 * pair - 1 - shift) / scale, weights)):
        unit = feature / (feature.square().sum(1, keepdim=True).sqrt() + 1e-10)
        difference = (unit[:1] - unit[1:]).square()
        total += conv2d(difference, weights[f"lin{stage}.model.1.weight"]).double().mean()
    return total


def _alexnet(images: Tensor, weights: Weights) -> list[Tensor]:
    stages, x = [], images
    for stage, (name, stride, padding) in enumerate(_TRUNK):
        if stage in (1, 2):
            x = max_pool2d(x, 3, 2)
        x = relu(conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, padding))
        stages.append(x)
    return stages


_TOLERANT = ("slice1.0", "slice2.5", "slice3.9", "slice4.11", "slice5.13")


def _tolerant_alexnet(images: Tensor, weights: Weights) -> list[Tensor]:
    stages, x = [], images
    for stage, (name, padding) in enumerate(zip(_TOLERANT, (2, 2, 1, 1, 1), strict=True)):
        if stage in (1, 2):
            x = _blur_and_halve(max_pool2d(x, 3, 1))
        x = conv2d(x, weights[f"net.{name}.weight"], weights[f"net.{name}.bias"], padding=padding)
        x = relu(_blur_and_halve(x) if stage == 0 else x)
        stages.append(x)
    return stages


def _blur_and_halve(x: Tensor) -> Tensor:
    line = x.new_tensor([0.25, 0.5, 0.25])
    kernel = torch.outer(line, line).expand(x.shape[1], 1, 3, 3)
    return conv2d(pad(x, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=x.shape[1])


def _head_names() -> list[str]:
    return [f"lin{stage}.model.1.weight" for stage in range(_STAGES)]


def load_weights(path: Path, names: list[str]) -> Weights:
    """The named tensors of the weight files that the metrics' authors publish, read without running any code.

    Args:
        path: A file of torch.
        names: Tensors that it must hold.

    Returns:
        fp32 tensors by name.

    Raises:
        MetricError: It is missing, damaged, or holds something else.
    """
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (
        *(
            OSError,
            RuntimeError,
            EOFError,
            pickle.UnpicklingError,
            ValueError,
            LookupError,
            TypeError,
            AttributeError,
        ),
        struct.error,
    ) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise MetricError(f"cannot read weights from {str(path)!r}: {reason}") from error
    missing = [name for name in names if not isinstance(tensors, dict) or name not in tensors]
    if missing:
        raise MetricError(f"{str(path)!r} holds other weights: it lacks {', '.join(missing[:3])}")
    if odd := [name for name in names if not isinstance(tensors[name], Tensor)]:
        raise MetricError(
            f"{str(path)!r} holds other weights: {odd[0]} is a {type(tensors[odd[0]]).__name__}"
        )
    return {name: tensors[name].float() for name in names}
