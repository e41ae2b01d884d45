"""Full attention: the baseline, and the limit that every other method must reach at density 1."""

from dataclasses import dataclass
from typing import ClassVar

from videosieve.call import AttentionCall
from videosieve.methods.base import Method, State


@dataclass(frozen=True, slots=True)
class Dense(Method):
    """Every query sees every key."""

    name: ClassVar[str] = "dense"

    def select(self, call: AttentionCall, state: State) -> tuple[None, State]:
        del call
        return None, state
