"""The screening of a tune in parts, one a looked-at step: kept as they are finished, and ended when time is out.

A part holds what every contender did at its step and who was dropped after it, and the harms. A search that goes on
after an interruption takes over the finished steps. States of methods that learn from step to step are not kept: such a
method is not judged at the first step after, as it is not at its first call.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from videosieve.errors import ModelError

if TYPE_CHECKING:
    from videosieve.tuning.panel import Contender

PART = "looked"
"""Kind of journal entry."""


class OutOfTime(ModelError):
    """The budget of a tune ended in the middle of something."""


@dataclass
class Parts:
    """Finished parts of a screening.

    Attributes:
        late: Whether the time for screening is out.
        keep: Called with every finished part, plain data.
        known: Parts of earlier runs by step.
    """

    late: Callable[[], bool] = lambda: False
    keep: Callable[[dict[str, Any]], object] = lambda _part: None
    known: dict[int, dict[str, Any]] = field(default_factory=dict)

    def require_time(self) -> None:
        """Raise OutOfTime where the time is out."""
        if self.late():
            raise OutOfTime("the time for screening is out")


def write_part(
    step: int,
    contenders: "list[Contender]",
    left: "list[Contender]",
    harms: tuple[list[float], dict[Any, Any]],
) -> dict[str, Any]:
    """A finished step as plain data.

    Args:
        step: The step.
        contenders: All that looked at it.
        left: Those that go on.
        harms: As `measure_harm` gives them.

    Returns:
        What JSON can hold.
    """
    rows = [
        {
            "family": contender.family.name,
            "knob": contender.knob,
            "error": _at(contender.error, step),
            "recall": _at(contender.recall, step),
            "cost": contender.cost[contender.judged :],
            "density": contender.density[contender.judged :],
        }
        for contender in contenders
    ]
    names = [[contender.family.name, contender.knob] for contender in left]
    return {"step": step, "rows": rows, "left": names, "sparse": harms[0], "reuse": harms[1]}


def read_part(
    part: dict[str, Any], contenders: "list[Contender]"
) -> "tuple[list[Contender], tuple[list[float], dict[Any, Any]]]":
    """Take over a finished step.

    Args:
        part: As `write_part` made it.
        contenders: All that are left before it; their tables are filled.

    Returns:
        Those that go on, and the harms.
    """
    own = {(contender.family.name, contender.knob): contender for contender in contenders}
    for row in part["rows"]:
        contender = own.get((row["family"], row["knob"]))
        if contender is not None:
            contender.error |= {(part["step"], layer): value for layer, value in row["error"]}
            contender.recall |= {(part["step"], layer): value for layer, value in row["recall"]}
            contender.cost += row["cost"]
            contender.density += row["density"]
    left = {(name, knob) for name, knob in part["left"]}
    kept = [contender for key, contender in own.items() if key in left]
    return kept, (part["sparse"], part["reuse"])


def forget_step(step: int, contenders: "list[Contender]") -> None:
    """Take out what contenders noted of a step that was not finished."""
    for contender in contenders:
        for table in (contender.error, contender.recall):
            for place in [place for place in table if place[0] == step]:
                del table[place]
        del contender.cost[contender.judged :], contender.density[contender.judged :]


def _at(table: dict[tuple[int, int], float], step: int) -> list[tuple[int, float]]:
    return [(layer, value) for (at, layer), value in table.items() if at == step]
