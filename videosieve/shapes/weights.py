"""The bundled weights: loading them, and exporting a training run to such a folder."""

from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, HunyuanVideoTransformer3DModel
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedTokenizerFast

from videosieve.errors import ModelError
from videosieve.files import is_file, read_table
from videosieve.finite import require_finite_weights
from videosieve.shapes.checkpoint import config_of, read_checkpoint
from videosieve.shapes.codec import ShapesCodec
from videosieve.shapes.model import build_networks
from videosieve.shapes.pipeline import ShapesPipeline
from videosieve.shapes.text import ShapesTextEncoder

FOLDER = Path(__file__).parent / "weights"


def bundled_models() -> list[str]:
    """Names of the models that are on disk."""
    return sorted(path.parent.name for path in FOLDER.glob("*/model_index.json"))


def load_shapes(
    name: str | Path = "shapes-s", device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> ShapesPipeline:
    """Loads a shapes model.

    Args:
        name: A bundled model (see `bundled_models`), or the path of a folder that `export` wrote.
        device: Where the networks go.
        dtype: What they compute in.

    Returns:
        A pipeline, ready to call.

    Raises:
        ModelError: If there is no such model, or its files are missing or broken.
    """
    folder = FOLDER / name if str(name) in bundled_models() else Path(name)
    if not is_file(folder / "model_index.json"):
        known = ", ".join(bundled_models()) or "none"
        raise ModelError(
            f"no shapes model {str(name)!r}: give a folder with model_index.json or one of: {known}"
        )
    try:
        pipe = _load_parts(folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"{folder} is not a complete shapes model ({reason}); export it again") from error
    require_finite_weights(str(folder), _networks(pipe))
    pipe.set_progress_bar_config(disable=True)
    return cast(pipe, dtype).to(device)


def _load_parts(folder: Path) -> ShapesPipeline:
    # part by part, because DiffusionPipeline.from_pretrained draws a progress bar that only a global switch silences
    index = read_table(folder / "model_index.json", "the index", ModelError)
    if index["_class_name"] != ShapesPipeline.__name__:
        raise ModelError(f"it holds a {index['_class_name']}, not a {ShapesPipeline.__name__}")
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler", local_files_only=True)
    if not isinstance(scheduler, FlowMatchEulerDiscreteScheduler):
        raise ModelError(f"its scheduler is a {type(scheduler).__name__}")
    return ShapesPipeline(
        text_encoder=ShapesTextEncoder.from_pretrained(folder / "text_encoder", local_files_only=True),
        tokenizer=PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer", local_files_only=True),
        transformer=HunyuanVideoTransformer3DModel.from_pretrained(
            folder / "transformer", local_files_only=True
        ),
        vae=ShapesCodec.from_pretrained(folder / "vae", local_files_only=True),
        scheduler=scheduler,
        saliency_layers=index.get("saliency_layers"),
    )


def _networks(pipe: ShapesPipeline) -> dict[str, nn.Module]:
    return {name: getattr(pipe, name) for name in ("transformer", "text_encoder", "vae")}


def cast(pipe: ShapesPipeline, dtype: torch.dtype) -> ShapesPipeline:
    """The pipeline with its networks in a dtype, in place."""
    # nn.Module.to, because diffusers' own logs a warning about modules to keep in float32, of which there are none
    for module in _networks(pipe).values():
        nn.Module.to(module, dtype)
    return pipe


def load_training_run(run: Path) -> ShapesPipeline:
    """Builds a pipeline from the averaged weights of a training run.

    Args:
        run: Folder with `checkpoint.safetensors`.

    Returns:
        The pipeline, float32 on the CPU.

    Raises:
        ModelError: If there is no readable checkpoint.
    """
    path = run / "checkpoint.safetensors"
    tensors, state = read_checkpoint(path)
    networks = build_networks(config_of(state, path)["model"])
    parts = nn.ModuleList([networks.transformer, networks.text_encoder]).eval()
    prefix = "average."
    ours = {
        key: f"{prefix}{key}" for key in parts.state_dict()
    }  # the rest of a checkpoint serves training only
    try:
        parts.load_state_dict({key: tensors[name] for key, name in ours.items() if name in tensors})
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path} is incomplete or of another model: {reason}; train anew") from error
    pipe = ShapesPipeline.from_networks(networks)
    require_finite_weights(str(path), _networks(pipe))
    pipe.set_progress_bar_config(disable=True)
    return pipe


def export(run: Path, folder: Path) -> None:
    """Writes the averaged weights of a training run as a pipeline folder, bfloat16.

    Args:
        run: Folder with `checkpoint.safetensors`.
        folder: Where `load_shapes` finds it.

    Raises:
        ModelError: If there is no readable checkpoint.
    """
    cast(load_training_run(run), torch.bfloat16).save_pretrained(folder, safe_serialization=True)
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(0o644)  # safetensors writes for the owner only
