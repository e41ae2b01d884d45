"""A model folder in diffusers' format, looked through before it is loaded and after: nothing is made up, none a pickle.

What diffusers and transformers do not find among the weights they fill with random numbers, or leave without any; a
config that says fewer blocks than there are weights for drops the rest. Both make videos of noise, and say so in a log.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from videosieve.errors import ModelError
from videosieve.fields import shown
from videosieve.files import entries, is_file, is_folder, read_table, tensor_names

CONFIGS = ("config.json", "scheduler_config.json", "preprocessor_config.json", "generation_config.json")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
MADE_UP = "newly initialized"  # what both libraries say of weights that they did not find


def check_parts(folder: Path) -> None:
    """Refuse a folder whose index, configs or headers of weights are damaged, and weights that are a pickle.

    Args:
        folder: Holds model_index.json.

    Raises:
        ModelError: Names the file and what is wrong with it.
    """
    path = folder / "model_index.json"
    index = read_table(path, "the index", ModelError)
    for name, value in index.items():
        if not isinstance(value, list) or name.startswith("_"):
            continue
        if len(value) != 2 or not all(part is None or isinstance(part, str) for part in value):
            raise ModelError(
                f"{str(path)!r} is damaged: {name} must be a library and a class, got {shown(value)}; save it again"
            )
        if None not in value and is_folder(folder / name):
            _check_part(folder / name)


def _check_part(folder: Path) -> None:
    for name in CONFIGS:
        if is_file(folder / name):
            read_table(folder / name, "the config", ModelError)
    files = [path for path in entries(folder, ModelError) if is_file(path)]
    safe = [path for path in files if path.suffix == ".safetensors"]
    for path in safe:
        tensor_names(path, "the weights", ModelError)
    pickles = [
        path for path in files if path.suffix in PICKLES and path.stem.partition(".")[0].endswith("model")
    ]
    if pickles and not safe:
        raise ModelError(
            f"the weights {str(pickles[0])!r} are a pickle, which can run code and is never opened; "
            f"save the model as safetensors"
        )


@contextmanager
def made_up_weights() -> Iterator[list[str]]:
    """Collect what transformers says of weights that it did not find, whatever its verbosity.

    Yields:
        A list that fills while models are loaded in the block.
    """
    from transformers.utils import logging as transformers_logging

    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if MADE_UP in record.getMessage():
                said.append(record.getMessage())

    listener, logger = Listener(), logging.getLogger("transformers")
    verbosity, silent = transformers_logging.get_verbosity(), False
    logger.addHandler(listener)
    if verbosity > logging.WARNING:
        silent = True
        transformers_logging.disable_default_handler()
        transformers_logging.set_verbosity(logging.WARNING)
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        if silent:
            transformers_logging.set_verbosity(verbosity)
            transformers_logging.enable_default_handler()


def check_loaded(pipe: Any, model: str, said: list[str]) -> None:
    """Refuse a pipeline in which some weights are not those of its files.

    Args:
        pipe: As it was loaded.
        model: Folder or hub id.
        said: As `made_up_weights` collected it.

    Raises:
        ModelError: Names the part and the first weight.
    """
    if said:
        raise ModelError(
            f"{model!r} is incomplete: {' '.join(_words(said[0]))[:300]}; copy or download the model again"
        )
    for name, part in pipe.components.items():
        if not isinstance(part, nn.Module):
            continue
        lost = _not_in_files(part, Path(model) / name)
        missing = [key for key, tensor in part.state_dict().items() if tensor.is_meta or key in lost]
        if missing:
            raise ModelError(
                f"{model!r} is incomplete: the weights of {name} lack {missing[0]}, {len(missing)} in all; "
                f"copy or download the model again"
            )
        if surplus := _beyond_config(part, Path(model) / name):
            raise ModelError(
                f"{model!r} does not fit together: {name} has weights {surplus} that its config has no block for; "
                f"take config and weights of one model"
            )


def _words(report: str) -> list[str]:
    """Transformers' report without its colours and rules."""
    plain = report.replace("\x1b[1m", "").replace("\x1b[0m", "")
    return [word for word in plain.split() if set(word) - set("-+|")]


def _names(folder: Path) -> set[str]:
    """Names of all tensors in a part's files; empty where the files are elsewhere."""
    files = entries(folder, ModelError) if is_folder(folder) else []
    return {
        name
        for path in files
        if path.suffix == ".safetensors"
        for name in tensor_names(path, "the weights", ModelError)
    }


def _by_diffusers(part: nn.Module) -> bool:
    """Whether the names in the files are those of the module: diffusers' own, and not quantised on the way."""
    config: Any = getattr(part, "config", {})
    return type(part).__module__.startswith("diffusers.") and not config.get("quantization_config")


def _not_in_files(part: nn.Module, folder: Path) -> list[str]:
    names = _names(folder) if _by_diffusers(part) else set()
    return [key for key in part.state_dict() if key not in names] if names else []


def _beyond_config(part: nn.Module, folder: Path) -> str:
    """A weight of a numbered block that the module has not; empty for none."""
    if not _by_diffusers(part):
        return ""
    lists = {name: len(module) for name, module in part.named_modules() if isinstance(module, nn.ModuleList)}
    for name in sorted(_names(folder) - set(part.state_dict())):
        pieces = name.split(".")
        for place, piece in enumerate(pieces):
            if piece.isdecimal() and int(piece) >= lists.get(".".join(pieces[:place]), int(piece) + 1):
                return name
    return ""
