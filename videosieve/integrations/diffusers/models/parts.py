"""The parts of a row: texts in the sequence, tokens beside the video, and configurations that stay dense."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Text:
    """Text (or image) rows that stand in the attention sequence.

    Attributes:
        argument: The forward's argument [batch, rows, channels]; without it, or None, there are no rows.
        mask: The argument [batch, rows] that marks valid rows; the model puts valid rows of all texts first. Empty
            where every row is valid as far as the model is concerned.
        zero_is_padding: Whether rows that are zero throughout the batch count as padding.
    """

    argument: str = "encoder_hidden_states"
    mask: str = ""
    zero_is_padding: bool = False


@dataclass(frozen=True, slots=True)
class Extra:
    """Tokens beside the video: history, conditions, references.

    Attributes:
        argument: The forward's argument that becomes these tokens; without it, or None, there are none.
        patch: Frames, rows and columns of latents [batch, channels, frames, rows, columns] in a token, rounded up; None
            where the argument is [batch, tokens, channels].
        needs: Another argument without which the model leaves these tokens out.
    """

    argument: str
    patch: tuple[int, int, int] | None = None
    needs: str = ""

    def tokens(self, arguments: Mapping[str, Any]) -> int:
        """How many tokens a forward with these arguments has."""
        given = arguments.get(self.argument)
        if not isinstance(given, Tensor) or (self.needs and arguments.get(self.needs) is None):
            return 0
        if self.patch is None:
            return given.shape[1]
        count = 1
        for size, side in zip(given.shape[-3:], self.patch, strict=True):
            count *= -(-size // side)
        return count


@dataclass(frozen=True, slots=True)
class Cut:
    """Where context parallelism cuts tensors of a joint model into parts of ranks, or joins them again.

    Attributes:
        module: Module name; empty for the transformer itself.
        tensors: Arguments of its forward that are cut, by name, or outputs, by index; without any, its output is
            joined.
        axis: Axis of the tokens.
        axes: How many axes the tensors have.
        pairs: Whether each argument is a pair of such tensors.
    """

    module: str
    tensors: tuple[str | int, ...] = ()
    axis: int = 1
    axes: int = 3
    pairs: bool = False


@dataclass(frozen=True, slots=True)
class Condition:
    """A configuration with which sparse attention does not apply.

    Attributes:
        key: Config entry.
        reason: A sentence with the way forward.
        equals: Its value; None where any value of at least `least` is meant.
        least: Smallest number that is meant.
        refuses: Whether `sparsify` refuses such a transformer; else its forwards stay dense with this reason.
    """

    key: str
    reason: str
    equals: Any = None
    least: float | None = None
    refuses: bool = False

    def holds(self, config: Mapping[str, Any]) -> bool:
        """Whether a transformer has this configuration now."""
        value = config.get(self.key)
        if self.least is not None:
            return isinstance(value, int | float) and value >= self.least
        return value == self.equals
