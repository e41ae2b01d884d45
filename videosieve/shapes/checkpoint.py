"""Checkpoints: one safetensors file, written whole or not at all, state as JSON in its header."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from videosieve.errors import ModelError
from videosieve.fields import checked
from videosieve.files import open_tensors, reason_of, write_tensors
from videosieve.shapes.model import SIZES


def optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, torch.Tensor]:
    """Flattens an optimizer's state to `prefix.<parameter index>.<name>`."""
    state = optimizer.state_dict()["state"]
    return {
        f"{prefix}.{index}.{name}": torch.as_tensor(value)
        for index, slots in state.items()
        for name, value in slots.items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor], prefix: str
) -> None:
    """Puts back what `optimizer_tensors` flattened; hyper-parameters stay as they are."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith(prefix + "."):
            index, name = key[len(prefix) + 1 :].split(".")
            state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def module_tensors(module: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    """The module's state dict under a prefix."""
    return {f"{prefix}.{key}": value for key, value in module.state_dict().items()}


def restore_module(module: nn.Module, tensors: dict[str, torch.Tensor], prefix: str) -> None:
    """Puts back what `module_tensors` collected; every key must match."""
    start = len(prefix) + 1
    module.load_state_dict(
        {key[start:]: value for key, value in tensors.items() if key.startswith(prefix + ".")}
    )


def write_checkpoint(path: Path, tensors: dict[str, torch.Tensor], state: dict[str, Any]) -> None:
    """Writes tensors and JSON state to one file, replacing the old one only when complete.

    Args:
        path: Target file.
        tensors: Any device, any dtype.
        state: What JSON can hold.

    Raises:
        ModelError: The system refused to write (disk full, no permission); an earlier file is intact.
    """
    plain = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ModelError(
            f"cannot make {str(path.parent)!r}: {reason_of(error)}; choose another folder"
        ) from error
    write_tensors(path, plain, {"state": json.dumps(state)}, ModelError)


def read_state(path: Path) -> dict[str, Any]:
    """The JSON state of a checkpoint, without its tensors.

    Args:
        path: A checkpoint file.

    Returns:
        What `write_checkpoint` was given as state.

    Raises:
        ModelError: If the file is missing or is not such a checkpoint.
    """
    with _opened(path) as (_, state):
        return state


def config_of(state: dict[str, Any], path: Path) -> dict[str, Any]:
    """What a checkpoint's state says about how it was trained.

    Raises:
        ModelError: It says nothing, or no model that there is.
    """
    config = state.get("config")
    if not isinstance(config, dict) or config.get("model") not in SIZES:
        raise ModelError(
            f"{path} is damaged: its state must name the model, one of {', '.join(SIZES)}; train anew"
        )
    return config


def read_checkpoint(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Reads what `write_checkpoint` wrote.

    Args:
        path: A checkpoint file.

    Returns:
        Tensors and state.

    Raises:
        ModelError: If the file is missing or is not such a checkpoint.
    """
    with _opened(path) as (file, state):
        return {key: file.get_tensor(key) for key in file.keys()}, state  # noqa: SIM118


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    try:
        with open_tensors(path, "state", "the checkpoint", ModelError) as (file, state):
            yield file, checked("state", state, dict[str, Any], ModelError)
    except ModelError as error:
        raise ModelError(
            f"{path} is not a training checkpoint ({error}); give the folder that was trained into"
        ) from error
