"""What every kind of attention sequence answers about one forward."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from torch import Tensor

from videosieve.errors import IntegrationError
from videosieve.integrations.diffusers.models.arrangements import Arrangement
from videosieve.integrations.diffusers.models.rows import ModelRow
from videosieve.layout import Grid, Segment, SegmentKind, VideoLayout


class Sequence:
    """The attention sequences of one forward. Made anew for every forward; subclasses answer `reads` and `arrange`.

    Attributes:
        one_by_one: Whether the model attends to the items of a batch one after the other; then the conditional half of
            a batch with both branches comes too late to choose for the other.

    Args:
        row: What is known about the transformer's class.
        transformer: The transformer.
        arguments: The forward's arguments by name.

    Raises:
        IntegrationError: The forward has no latents or no timestep.
    """

    one_by_one: ClassVar[bool] = False

    def __init__(self, row: ModelRow, transformer: Any, arguments: Mapping[str, Any]) -> None:
        self.row, self.transformer, self.arguments = row, transformer, arguments
        if not isinstance(self.latents, Tensor) or self.timestep is None:
            raise IntegrationError(
                f"{row.name} must be called with {row.latents} and {row.timestep}, got "
                f"{', '.join(arguments) or 'nothing'}"
            )

    @property
    def latents(self) -> Tensor:
        """What is denoised; its device is read once per forward, the batch is its first axis."""
        return self.arguments.get(self.row.latents)  # type: ignore[return-value]

    @property
    def timestep(self) -> Any:
        """The timestep of what is generated, a tensor of any shape or a number."""
        return self.arguments.get(self.row.timestep)

    @property
    def batch(self) -> int:
        """Batch items of the forward."""
        return self.latents.shape[0]

    def reads(self) -> list[Tensor]:
        """Small tensors whose values `arrange` needs; they come from the device together with the timestep."""
        return []

    def arrange(self, values: list[Tensor]) -> tuple[Arrangement, ...] | str:
        """How the attention sequences of this forward lie.

        Args:
            values: fp64 CPU copies of what `reads` returned, in the same order and shapes.

        Returns:
            The arrangements, or a sentence that says why the forward stays dense.
        """
        raise NotImplementedError(f"{type(self).__name__} must say how its sequences lie")


def lay_out(
    grid: Grid, before: list[tuple[SegmentKind, int]], after: list[tuple[SegmentKind, int]]
) -> VideoLayout:
    """A video with other tokens around it; runs of one kind that touch become one segment.

    Args:
        grid: Video tokens.
        before: Kind ("text" or "extra") and tokens of what stands before the video, in order.
        after: The same for what stands behind it.
    """
    return _laid_out(grid, tuple(before), tuple(after))


Parts = tuple[tuple[SegmentKind, int], ...]


@lru_cache(maxsize=256)
def _laid_out(grid: Grid, before: Parts, after: Parts) -> VideoLayout:
    """Every forward of a generation asks for the same few."""

    def segments(parts: Parts) -> list[Segment]:
        joined: list[Segment] = []
        for kind, tokens in parts:
            if tokens and joined and joined[-1].kind == kind:
                joined[-1] = Segment(kind, joined[-1].tokens + tokens)
            elif tokens:
                joined.append(Segment(kind, tokens))
        return joined

    return VideoLayout((*segments(before), Segment("video", grid.tokens, grid), *segments(after)))
