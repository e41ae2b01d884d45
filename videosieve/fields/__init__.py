"""One checker for everything that is declared: it holds values against the annotations of a dataclass or a parameter.

    @dataclass(frozen=True, slots=True)
    class Svg(Method):
        density: Annotated[float, In("(0, 1]", "is the share of pairs to keep and must lie in (0, 1]")] = 0.3
        sink: bool = False
        block: Annotated[int, In("[1, inf)")] | None = None

        def __post_init__(self) -> None:
            check_fields(self, RecipeError)

A bool takes True and False alone, so that "no", "off" and 0 never switch anything on; an int takes no bool, no 1.5 and
nothing beyond 64 bits; a float is finite and may be an int, unless the annotation names int beside it: then each speaks
for itself (0.2 a fraction, 5 a count). Text can be written as UTF-8. Values come out as plain Python: numbers of NumPy
become int, float and bool, lists tuples, names of files paths; so that they compare, hash and write as declared.
"""

from videosieve.fields.build import from_table
from videosieve.fields.check import check_fields, checked, shown
from videosieve.fields.words import Count, Extent, Fraction, In, OneOf, Says, Seed, Steps, Whole, nearest

__all__ = [
    "Count",
    "Extent",
    "Fraction",
    "In",
    "OneOf",
    "Says",
    "Seed",
    "Steps",
    "Whole",
    "check_fields",
    "checked",
    "from_table",
    "nearest",
    "shown",
]
