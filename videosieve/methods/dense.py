"""Full attention: the baseline, and the limit that every other method must reach at density 1."""

from dataclasses import dataclass
from typing import ClassVar

from videosieve.call import AttentionCall
from videosieve.errors import RecipeError
from videosieve.fields import check_fields, shown
from videosieve.kernels.dense_attention import IMPLEMENTATIONS
from videosieve.methods.base import Method, State


@dataclass(frozen=True, slots=True)
class Dense(Method):
    """Every query sees every key.

    Attributes:
        kernel: Implementation of dense attention; None takes the fastest that can run a call.
        causal: Every query sees the keys up to its own alone.
    """

    name: ClassVar[str] = "dense"
    causal_name: ClassVar[str] = "dense"

    kernel: str | None = None
    causal: bool = False

    def __post_init__(self) -> None:
        check_fields(self, RecipeError)
        known = [implementation.name for implementation in IMPLEMENTATIONS]
        if self.kernel is not None and self.kernel not in known:
            raise RecipeError(
                f"dense attention has no kernel {shown(self.kernel)}; there are {', '.join(known)}, "
                f"see videosieve doctor"
            )

    @property
    def is_causal(self) -> bool:
        return self.causal

    def select(self, call: AttentionCall, state: State) -> tuple[None, State]:
        del call
        return None, state
