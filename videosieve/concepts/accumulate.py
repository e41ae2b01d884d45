"""Running averages of maps: memory depends neither on the number of layers nor on that of steps.

A *pass* is one forward of the transformer. Its maps count only where every wanted layer was seen: a cache that skips
layers leaves gaps, and an average over another set of layers at every step would mean nothing.
"""

from typing import Literal, get_args

from torch import Tensor

Keep = Literal["mean", "layers", "steps", "sites"]
KEEPS: tuple[Keep, ...] = get_args(Keep)
Key = tuple[int, ...]


class RunningMaps:
    """Sums of maps over layers and steps.

    Attributes:
        passes: Passes that were complete.
        dropped: Passes that began and were not.

    Args:
        layers: Layers that make a pass complete.
        keep: What to keep apart: "mean" nothing, "layers", "steps", or "sites" for every layer at every step.
    """

    def __init__(self, layers: tuple[int, ...], keep: Keep = "mean") -> None:
        self.passes = 0
        self.dropped = 0
        self._layers = layers
        self._keep: Keep = keep
        self._sums: dict[Key, tuple[Tensor, int]] = {}
        self._open: dict[Key, tuple[Tensor, int]] = {}
        self._seen: set[int] = set()

    def begin(self) -> None:
        """A pass begins; an unfinished one is dropped."""
        self.dropped += bool(self._seen)
        self._open, self._seen = {}, set()

    def add(self, layer: int, step: int, maps: Tensor) -> None:
        """Count the maps of one layer; with the last wanted layer the pass is complete.

        Args:
            layer: Index of the layer.
            step: Denoising step.
            maps: fp32 [batch, concepts, tokens].
        """
        for key in self._keys(layer, step):
            _add(self._open, key, maps, 1)
        self._seen.add(layer)
        if self._seen.issuperset(self._layers):
            for key, (total, count) in self._open.items():
                _add(self._sums, key, total, count)
            self.passes += 1
            self._open, self._seen = {}, set()

    @property
    def mean(self) -> Tensor:
        """Mean over all complete passes and their layers [batch, concepts, tokens]."""
        return self._mean(())

    @property
    def parts(self) -> dict[Key, Tensor]:
        """Means by (layer,), (step,) or (layer, step), as `keep` has it; empty for "mean"."""
        return {key: self._mean(key) for key in sorted(self._sums) if key}

    def _mean(self, key: Key) -> Tensor:
        total, count = self._sums[key]
        return total / count

    def _keys(self, layer: int, step: int) -> list[Key]:
        parts: dict[Keep, list[Key]] = {
            "mean": [],
            "layers": [(layer,)],
            "steps": [(step,)],
            "sites": [(layer, step)],
        }
        return [(), *parts[self._keep]]


def _add(sums: dict[Key, tuple[Tensor, int]], key: Key, maps: Tensor, count: int) -> None:
    if key in sums:
        total, before = sums[key]
        sums[key] = (total.add_(maps), before + count)
    else:
        sums[key] = (maps.clone(), count)
