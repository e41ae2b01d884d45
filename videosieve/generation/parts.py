"""Times text encoding and decoding inside a pipeline call, apart from denoising, and keeps what is decoded."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

TEXT, DECODE = "text", "decode"


def execution_device(pipe: Any) -> torch.device:
    """Where a pipeline computes; with offloading its modules lie elsewhere in between."""
    return torch.device(getattr(pipe, "_execution_device", None) or pipe.device)


def synchronize(pipe: Any) -> None:
    """Wait until everything that the pipeline has asked of its device is done."""
    device = execution_device(pipe)
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class PartClock:
    """Measures `encode_prompt` of a pipeline and `decode` of its VAE, which nearly all diffusers pipelines have.

    A context manager: both are wrapped on these two objects alone, and are as before when the block ends.

    Attributes:
        seconds: Wall time by part; a part that never ran is missing.

    Args:
        pipe: A diffusers video pipeline.
    """

    def __init__(self, pipe: Any) -> None:
        self.seconds: dict[str, float] = {}
        self._pipe = pipe
        self._latents: list[Tensor] = []
        self._undo = ExitStack()

    @property
    def latent(self) -> Tensor | None:
        """Everything that was decoded, fp32 [values] on the CPU; None where the VAE decoded nothing."""
        if not self._latents:
            return None
        return torch.cat([latent.detach().flatten().float().cpu() for latent in self._latents])

    def __enter__(self) -> "PartClock":
        self._wrap(self._pipe, "encode_prompt", TEXT)
        self._wrap(getattr(self._pipe, "vae", None), "decode", DECODE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._undo.close()

    def _wrap(self, owner: Any, name: str, part: str) -> None:
        original = getattr(owner, name, None)
        if not callable(original):
            return
        if name in vars(owner):  # somebody else's wrapper goes back to where it was
            self._undo.callback(setattr, owner, name, original)
        else:
            self._undo.callback(delattr, owner, name)
        setattr(owner, name, self._timed(original, part))

    def _timed(self, original: Callable[..., Any], part: str) -> Callable[..., Any]:
        @wraps(original)
        def timed(*arguments: Any, **options: Any) -> Any:
            if part == DECODE:
                self._latents += [value for value in arguments[:1] if isinstance(value, Tensor)]
            synchronize(self._pipe)
            start = time.perf_counter()
            try:
                return original(*arguments, **options)
            finally:
                synchronize(self._pipe)
                self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - start

        return timed
