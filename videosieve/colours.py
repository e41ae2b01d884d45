"""One colour per meaning: pages, pictures and films take every colour from this table and have none of their own.

`STYLE` is the head of every page's stylesheet: each entry as a custom property, `--spatial` and so on, in light and in
dark. Pictures that go into documents are drawn light.
"""

from dataclasses import dataclass

METHODS = 6
"""`method-0` is dense attention, the others are methods in the order in which they are compared."""


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour on light and on dark paper, as #rrggbb."""

    light: str
    dark: str


COLOURS: dict[str, Colour] = {
    # the page
    "paper": Colour("#ffffff", "#131416"),
    "raised": Colour("#f5f6f7", "#1d1f22"),
    "ink": Colour("#16181b", "#e9ebee"),
    "muted": Colour("#5c636b", "#9ba2aa"),
    "line": Colour("#e1e4e8", "#2c2f34"),
    "strong-line": Colour("#b9bfc6", "#565c64"),
    "cell": Colour("#d9dde2", "#3a3f46"),
    "shade": Colour("#16181b", "#ffffff"),
    "focus": Colour("#2458c5", "#8ab4ff"),
    "warning": Colour("#7a4300", "#f3c27c"),
    "warning-paper": Colour("#fdf1de", "#33280f"),
    # films, on light and dark pages alike
    "screen": Colour("#101113", "#000000"),
    "on-screen": Colour("#ffffff", "#ffffff"),
    "under-screen": Colour("#000000", "#000000"),
    # methods; one that stands alone is method-1
    "method-0": Colour("#5b626a", "#aeb5bd"),
    "method-1": Colour("#08756d", "#3fc0b2"),
    "method-2": Colour("#b0305f", "#f288b0"),
    "method-3": Colour("#6443b8", "#b29cf5"),
    "method-4": Colour("#8a6500", "#dbb64c"),
    "method-5": Colour("#1f66ad", "#74aef0"),
    # what a head looks at
    "spatial": Colour("#2f74c0", "#5a9ce6"),
    "temporal": Colour("#e08214", "#f0a03c"),
    "other": Colour("#4d9a6a", "#6dbd8b"),
    "another": Colour("#8a5aa8", "#b98ad6"),
    "further": Colour("#a8a032", "#cfc75a"),
    # where time goes, and softmax mass
    "attention": Colour("#3d6fb4", "#5f93dc"),
    "rest": Colour("#9db4d3", "#3c5680"),
    "text": Colour("#c9a86a", "#b08f4f"),
    "decoding": Colour("#8f9aa6", "#737d88"),
    "around": Colour("#b4bbc3", "#596069"),
    "on-attention": Colour("#ffffff", "#131416"),
    # the outline of what was computed
    "outline": Colour("#2458c5", "#8ab4ff"),
    # a search: nobody beats it, chosen, seen by the check
    "chosen": Colour("#b0305f", "#f288b0"),
    "checked": Colour("#6443b8", "#b29cf5"),
    # concepts, in order of use: distinct, readable on photographs
    "concept-0": Colour("#e61a33", "#e61a33"),
    "concept-1": Colour("#1a73f2", "#1a73f2"),
    "concept-2": Colour("#1ab34d", "#1ab34d"),
    "concept-3": Colour("#f2b30d", "#f2b30d"),
    "concept-4": Colour("#a633d9", "#a633d9"),
    "concept-5": Colour("#0dbfcc", "#0dbfcc"),
    "concept-6": Colour("#f2731a", "#f2731a"),
    "concept-7": Colour("#8c8c8c", "#8c8c8c"),
}
CONCEPTS = sum(name.startswith("concept-") for name in COLOURS)

AMOUNT = Colour(
    "#f5f2ea #f6d9a0 #ec9a4b #c9503c #7a1f4b #2a0a33", "#1d1e22 #43224f #8c2f5c #d2563f #f2a541 #fff0b3"
)
"""How much, from nothing to most, on paper: stops with a space between them; it starts near the paper's own colour."""
HEAT = "#050533 #730d99 #cc4073 #f78c33 #fff273"
"""How much, over a film or picture: dark to light through violet and orange, rising evenly in brightness."""


def rgb(colour: str) -> tuple[float, float, float]:
    """Red, green and blue of #rrggbb, each in [0, 1]."""
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return red, green, blue


def light(name: str) -> str:
    """The colour of a meaning in a picture, as #rrggbb.

    Args:
        name: A key of `COLOURS`.
    """
    return COLOURS[name].light


def _properties(scheme: str) -> str:
    lines = [f"  --{name}: {getattr(colour, scheme)};" for name, colour in COLOURS.items()]
    amount = ", ".join(getattr(AMOUNT, scheme).split())
    return "\n".join([*lines, f"  --amount: {amount};", f"  --heat: {', '.join(HEAT.split())};"])


STYLE = (
    f":root {{\n  color-scheme: light dark;\n{_properties('light')}\n}}\n"
    f"@media (prefers-color-scheme: dark) {{\n:root {{\n{_properties('dark')}\n}}\n}}\n"
)
