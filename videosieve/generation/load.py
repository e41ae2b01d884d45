"""Finds a video pipeline: a bundled model, a folder in diffusers' format, or a model of the Hugging Face hub."""

import inspect
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from videosieve.errors import ModelError
from videosieve.files import is_file, is_folder, read_json
from videosieve.generation.model_folder import check_loaded, check_parts, made_up_weights
from videosieve.generation.model_index import is_bundled, makes_images, require_sparse

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

BUNDLED = "shapes-s"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def load_pipeline(
    model: str, device: str = "auto", dtype: str | None = None, *, images: bool = False
) -> "DiffusionPipeline":
    """Load a video pipeline, ready to call.

    Args:
        model: "shapes-s" or "shapes-m" (bundled; "shapes" is the former), a folder that `save_pretrained` wrote, or a
            hub id "owner/name".
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the first accelerator there is.
        dtype: "float32", "bfloat16" or "float16"; None takes float32 on CPU and bfloat16 elsewhere.
        images: Whether it may be an image pipeline that saliency knows.

    Returns:
        The pipeline on its device, its own progress bar switched off.

    Raises:
        ModelError: The model is missing, unreadable or makes no video; the device or dtype is not to be had.
    """
    place = check_device(device)
    precision = check_dtype(dtype, place)
    with _quiet_loading():
        if is_shapes(model):
            from videosieve.shapes import load_shapes

            pipe: Any = load_shapes(
                BUNDLED if model == "shapes" else model, device=str(place), dtype=precision
            )
        else:
            with made_up_weights() as said:
                pipe = _from_pretrained(model, precision, images)
            check_loaded(pipe, os.path.expanduser(model), said)  # noqa: PTH111 - as below
            pipe = pipe.to(place)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def is_shapes(model: str) -> bool:
    """Whether a model is one of the small bundled kind: by name, or a folder that holds such a pipeline."""
    if is_folder(model):
        return _class_name(Path(model)) == "ShapesPipeline"
    return is_bundled(model)


def check_words(model: str, *prompts: str) -> None:
    """Refuse prompts that a shapes model cannot express, before it is loaded; other models take any words.

    Args:
        model: As `load_pipeline` takes it.
        *prompts: Prompts and negative prompts.

    Raises:
        PromptError: A word is unknown; the message names near ones.
    """
    if is_shapes(model):
        from videosieve.shapes.world.captions import check_prompt

        for prompt in prompts:
            check_prompt(prompt)


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """diffusers and transformers draw bars of their own and warn before they raise; our bar and error are enough."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    switches = [x for x in (diffusers_logging, transformers_logging) if x.is_progress_bar_enabled()]
    verbosity = diffusers_logging.get_verbosity()
    for switch in switches:
        switch.disable_progress_bar()
    diffusers_logging.set_verbosity(diffusers_logging.CRITICAL)
    try:
        yield
    finally:
        diffusers_logging.set_verbosity(verbosity)
        for switch in switches:
            switch.enable_progress_bar()


def check_device(device: str) -> torch.device:
    """Turn a device name into a device that works here.

    Args:
        device: "cpu", "cuda", "cuda:1", "mps" or "auto".

    Returns:
        The device.

    Raises:
        ModelError: The name is unknown or the device is not in this machine.
    """
    if device == "auto":
        return torch.device(next((name for name in ("cuda", "mps") if _count(name)), "cpu"))
    try:
        place = torch.device(device)
    except RuntimeError:
        place = None
    if place is None or place.type not in ("cpu", "cuda", "mps"):
        raise ModelError(f"device must be cpu, cuda, cuda:N, mps or auto; got {device!r}")
    found = _count(place.type)
    if (place.index or 0) >= found:
        have = ", ".join(f"{found} × {name}" for name in ("cpu", "cuda", "mps") if (found := _count(name)))
        raise ModelError(
            f"device {device!r} is not in this machine or torch was built without it; there is {have}"
        )
    return place


def check_dtype(dtype: str | None, place: torch.device) -> torch.dtype:
    """Turn a dtype name into a dtype; None takes float32 on CPU and bfloat16 elsewhere."""
    if dtype is None:
        return torch.float32 if place.type == "cpu" else torch.bfloat16
    if dtype not in DTYPES:
        raise ModelError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")
    return DTYPES[dtype]


def _count(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.device_count()
    return int(kind == "cpu" or torch.backends.mps.is_available())


def _from_pretrained(model: str, dtype: torch.dtype, images: bool) -> Any:
    folder = Path(os.path.expanduser(model))  # noqa: PTH111 - pathlib's raises where there is no such user
    if is_folder(folder):
        require_sparse(model)
        _check_folder(folder, images)
        return _call_from_pretrained(str(folder), dtype, local_files_only=True)
    if not _HUB_ID.fullmatch(model) or model.startswith("."):
        raise ModelError(
            f"model {model!r} is not here: give {BUNDLED}, a folder with model_index.json, or a hub id like owner/name"
        )
    require_sparse(model)
    pipe = _call_from_pretrained(model, dtype, local_files_only=False)
    _require_output(type(pipe), model, images)
    return pipe


def _check_folder(folder: Path, images: bool) -> None:
    """Refuse a folder from its index alone, before gigabytes are read."""
    import diffusers

    name = _class_name(folder)
    kind = getattr(diffusers, name, None)
    if kind is None:
        raise ModelError(
            f"{str(folder)!r} needs the pipeline class {name!r}, which diffusers {diffusers.__version__} lacks; "
            f"update diffusers"
        )
    _require_output(kind, str(folder), images)
    check_parts(folder)


def _class_name(folder: Path) -> str:
    index = folder / "model_index.json"
    if not is_file(index):
        raise ModelError(
            f"{str(folder)!r} holds no readable model_index.json; give the folder that pipe.save_pretrained wrote"
        )
    values = _read_index(index)
    if not isinstance(values, dict) or not isinstance(values.get("_class_name"), str):
        raise ModelError(
            f"{str(index)!r} is damaged: it must be JSON with a _class_name; save the pipeline again"
        )
    return values["_class_name"]


def _read_index(index: Path) -> Any:
    try:
        return read_json(index, "the index", ModelError)
    except ModelError as error:
        raise ModelError(f"{str(index)!r} is damaged: {error}; save the pipeline again") from None


def _require_output(kind: type, model: str, images: bool) -> None:
    if "num_frames" in inspect.signature(kind.__call__).parameters or (images and makes_images(model)):
        return
    raise ModelError(
        f"{model!r} is a {kind.__name__}, which makes no video; `videosieve models` lists what works"
        + ("" if images or not makes_images(model) else ", and `videosieve saliency` looks at images too")
    )


def _call_from_pretrained(model: str, dtype: torch.dtype, *, local_files_only: bool) -> Any:
    from diffusers import DiffusionPipeline
    from safetensors import SafetensorError

    try:
        return DiffusionPipeline.from_pretrained(
            model, dtype=dtype, local_files_only=local_files_only, use_safetensors=True
        )
    except (
        *(
            OSError,
            ValueError,
            TypeError,
            AttributeError,
            LookupError,
            ImportError,
            RuntimeError,
            AssertionError,
        ),
        SafetensorError,
    ) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        if local_files_only:
            raise ModelError(f"cannot load the pipeline in {model!r}: {reason}") from error
        raise ModelError(
            f"model {model!r} is no folder here and no cached or reachable hub model: {reason.split(' (')[0]}; "
            f"check the name and the network, or download it elsewhere and give the folder"
        ) from error
