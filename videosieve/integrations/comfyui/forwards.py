"""Which forward is this? Step, branch and layer, from what ComfyUI writes into `transformer_options`."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from videosieve.forward import Site


class Forwards:
    """Follows the forwards of one sampling run.

    Attributes:
        sigma: Noise level of the running forward; None where the host does not say it.
        grid: Video tokens (frames, rows, columns) by the latents of the running forward; None where they are no video.
        window: Name of the context window that the running forward is about; empty where the host has none.
    """

    def __init__(self) -> None:
        self.sigma: float | None = None
        self.grid: tuple[int, int, int] | None = None
        self.window = ""
        self._sigmas: Any = None
        self._layer = 0
        self._layers = 1
        self._passes: dict[tuple[float | None, str, str], int] = {}
        self._labels: dict[str, str] = {}
        self._steps: list[float] = []

    def begin(self, latents: Any, model: Any, options: Mapping[str, Any]) -> None:
        """A forward of the diffusion model starts.

        Args:
            latents: What it gets, [batch, channels, frames, rows, columns] for videos.
            model: The diffusion model; its `patch_size` says how many latents make a token.
            options: `transformer_options`.
        """
        self._layers = max(self._layers, self._layer)
        self._layer = 0
        self.grid = grid_of(latents, getattr(model, "patch_size", None))
        self._read(options)
        self.window = window_of(options)
        for label in self.branches(options):
            key = (self.sigma, label, self.window)
            self._passes[key] = self._passes.get(key, -1) + 1

    def next_layer(self, options: Mapping[str, Any]) -> tuple[int, int]:
        """Number of the running video self-attention, in call order, and how many there are as far as is known."""
        self._read(options)
        layer, self._layer = self._layer, self._layer + 1
        return layer, max(self._layers, self._layer, int(options.get("total_blocks") or 1))

    def site(self, layer: int, layers: int, branch: str, options: Mapping[str, Any]) -> Site:
        """Where in the run a call happens."""
        step, steps = self._step(options)
        number = self._passes.get((self.sigma, branch, self.window), 0)
        return Site(layer, layers, step, steps, branch, 0, max(number, 0))

    def branches(self, options: Mapping[str, Any]) -> list[str]:
        """Names of the parts of the batch, in order: "cond", "uncond", and "cond 2" … where there are several."""
        kinds = list(options.get("cond_or_uncond") or [0])
        uuids = list(options.get("uuids") or [])
        names = []
        for place, kind in enumerate(kinds):
            word = "uncond" if kind == 1 else "cond"
            owner = str(uuids[place]) if place < len(uuids) else f"{word}{kinds[:place].count(kind)}"
            if owner not in self._labels:
                same = sum(label.split(" ")[0] == word for label in self._labels.values())
                self._labels[owner] = word if not same else f"{word} {same + 1}"
            names.append(self._labels[owner])
        return names

    def _read(self, options: Mapping[str, Any]) -> None:
        """The noise level, read from its device once a forward."""
        sigmas = options.get("sigmas")
        if sigmas is not self._sigmas or sigmas is None:
            self._sigmas = sigmas
            self.sigma = None if sigmas is None else float(sigmas.reshape(-1)[0])

    def _step(self, options: Mapping[str, Any]) -> tuple[int, int]:
        """Step and steps: the place of the noise level among those of the sampler, in between counting as the last."""
        if not self._steps and isinstance(options.get("sample_sigmas"), Tensor):
            self._steps = options["sample_sigmas"].reshape(-1).tolist()
        if self.sigma is None or len(self._steps) < 2:
            return 0, 1
        rises = self._steps[0] < self._steps[-1]  # from a video to its noise
        reached = (
            one <= self.sigma * (1 + 1e-5) if rises else one >= self.sigma * (1 - 1e-5)
            for one in self._steps[:-1]
        )
        return max(sum(reached) - 1, 0), len(self._steps) - 1


def grid_of(latents: Any, patch: Any) -> tuple[int, int, int] | None:
    """Tokens (frames, rows, columns) of latents [batch, channels, frames, rows, columns]; None where that is unknown.

    Args:
        latents: What the diffusion model gets.
        patch: Its `patch_size`: three sides, or one for rows and columns; latents are padded to it.
    """
    if not isinstance(latents, Tensor) or latents.ndim != 5 or patch is None:
        return None
    sides = (1, patch, patch) if isinstance(patch, int) else tuple(patch)
    if len(sides) != 3 or not all(isinstance(side, int) and side > 0 for side in sides):
        return None
    frames, height, width = (-(-size // side) for size, side in zip(latents.shape[2:], sides, strict=True))
    return frames, height, width


def window_of(options: Mapping[str, Any]) -> str:
    """The frames of the context window that ComfyUI is at, or nothing: windows may move from step to step."""
    frames = getattr(options.get("context_window"), "index_list", None)
    return "" if frames is None else f"frames {','.join(map(str, frames))}"


def published_grid(options: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """The grid that Wan publishes as `grid_sizes`, or None."""
    told = options.get("grid_sizes")
    if told is None:
        return None
    frames, height, width = (int(x) for x in torch.as_tensor(tuple(told)).reshape(-1)[:3].tolist())
    return frames, height, width
