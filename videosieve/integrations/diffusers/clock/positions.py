"""Where a scheduler stands: the place of a forward in its list of timesteps.

A scheduler that counts its steps (`_step_index`, most of them) is believed; one that does not (DDIM, DDPM, PNDM) is
asked by value. Timesteps are rounded as the model gets them before they are compared: in bfloat16 neighbours coincide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Times:
    """The timestep of one forward, as read from the device.

    Attributes:
        highest: Largest value; the noise of what is generated where conditions have less.
        last: Value of the last frame or token.
        lowest: Smallest value.
        mean: Mean of all; moves where values per frame are staggered and their largest stands still.
        dtype: As the model got it.
    """

    highest: float
    last: float
    lowest: float
    mean: float
    dtype: torch.dtype = torch.float32

    @classmethod
    def of(cls, time: float) -> "Times":
        """One timestep for the whole forward."""
        return cls(time, time, time, time, torch.float64)

    def has_moved(self, since: "Times") -> bool:
        """Whether it is another timestep; a mean over another batch may differ in its last bit."""
        mine, other = ((x.highest, x.last, x.lowest, x.mean) for x in (self, since))
        return any(not isclose(a, b, rel_tol=1e-9, abs_tol=1e-12) for a, b in zip(mine, other, strict=True))


class Ladder:
    """The list of timesteps of one generation, read from the device once.

    Attributes:
        source: The scheduler's own tensor; another tensor is another generation.

    Args:
        source: `scheduler.timesteps`.
    """

    def __init__(self, source: Any) -> None:
        self.source = source
        self._values = (
            torch.as_tensor(source).detach().flatten().cpu() if source is not None else torch.empty(0)
        )
        self._length = len(self._values)
        self._rounded: dict[torch.dtype, list[float]] = {}

    def __len__(self) -> int:
        return self._length

    def places(self, times: Times) -> list[int]:
        """Where a forward's timestep stands in the list; several places where rounding or the solver repeats it."""
        values = self._as(times.dtype)
        for wanted in dict.fromkeys((times.highest, times.last, times.lowest)):
            found = [place for place, value in enumerate(values) if value == wanted]
            if found:
                return found
        return []

    def has(self, place: int, times: Times) -> bool:
        """Whether the timestep at that place of the list is the forward's."""
        values = self._as(times.dtype)
        return 0 <= place < len(values) and values[place] in (times.highest, times.last, times.lowest)

    def _as(self, dtype: torch.dtype) -> list[float]:
        if dtype not in self._rounded:
            self._rounded[dtype] = self._values.to(dtype).double().tolist()
        return self._rounded[dtype]


def read_place(
    scheduler: Any, ladder: Ladder, times: Times, last: int, again: bool
) -> tuple[int | None, str]:
    """The place of a forward in the scheduler's list.

    Args:
        scheduler: The scheduler of the caller.
        ladder: Its list.
        times: The forward's timestep.
        last: The place of the forward before, 0 at first.
        again: Whether this branch has run at that place already.

    Returns:
        The place, None where the scheduler cannot tell; and what was asked: "scheduler" or "timesteps".
    """
    if not len(ladder):
        return None, "timesteps"
    if not hasattr(scheduler, "_step_index"):
        return _next_place(ladder.places(times), last, again), "timesteps"
    index = scheduler._step_index
    if index is None:  # before its first step
        index = getattr(scheduler, "_begin_index", None)
    if index is None:
        index = next(iter(ladder.places(times)), 0)
    return (int(index) if index < len(ladder) else None), "scheduler"


def _next_place(places: Sequence[int], last: int, again: bool) -> int | None:
    """Of the places with a forward's timestep the one that is meant: the next, or one further back in a new walk."""
    ahead = [place for place in places if place >= last]
    if not ahead:
        return places[0] if places else None
    if again and ahead[0] == last and len(ahead) > 1:
        return ahead[1]
    return ahead[0]


def read_times(timestep: Any) -> tuple[Tensor | None, Any]:
    """What to read of a `timestep` argument, left on its device so that it is read with everything else.

    Args:
        timestep: A number, or a tensor of any shape: one value per batch element, frame or token.

    Returns:
        fp64 [1] or [4] on the tensor's device, and its dtype; or None and the number.
    """
    if not isinstance(timestep, Tensor):
        return None, float(timestep)
    flat = timestep.detach()
    if flat.numel() == 1 or all(
        stride == 0 or size == 1 for stride, size in zip(flat.stride(), flat.shape, strict=True)
    ):
        return flat.as_strided((1,), (1,), flat.storage_offset()).double(), timestep.dtype
    flat = flat.reshape(-1).double()
    return torch.stack([flat.max(), flat[-1], flat.min(), flat.mean()]), timestep.dtype
