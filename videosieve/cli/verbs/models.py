"""`videosieve models`: which pipelines can be made sparse, and which are known to stay dense."""

from typing import TYPE_CHECKING

from videosieve.cli.console import out, plain_table, say

if TYPE_CHECKING:
    from videosieve.integrations.diffusers import ModelRow


def models() -> None:
    """List the video transformers of diffusers that are known: what can be made sparse, and why the others cannot."""
    from videosieve.integrations.diffusers.models import MODELS
    from videosieve.integrations.diffusers.models.registering import load_models

    load_models()
    sparse = [row for row in MODELS.values() if not row.dense]
    recognised = [row for row in MODELS.values() if row.dense]
    numbers = ("usual tokens", "break-even")
    table = plain_table("sparse", "text", *numbers, "recipe", right=numbers)
    for row in sparse:
        usual = None if row.usual is None else row.usual[0].tokens
        table.add_row(row.family, row.text, _count(usual), _count(row.break_even), _recipe(row))
    out.print(table)
    say("break-even: tokens from which attention is more than half of the work; – where nobody has counted\n")
    for row in sparse:
        say(f"{row.family}: {row.name}{_at(row)}")
        say(f"  {row.pipelines or 'no pipeline of diffusers'}")
        say(f"  {row.notes}")
    say("\nRecognised, and left dense:")
    for row in recognised:
        say(f"{row.family}: {row.name}, {row.pipelines}")
        say(f"  {row.dense}")
    say(
        f"\n{len(sparse)} classes sparse, {len(recognised)} recognised; one of your own: docs/adding_a_model.md"
    )


def _count(tokens: int | None) -> str:
    return "–" if tokens is None else f"{tokens:,}"


def _at(row: "ModelRow") -> str:
    return "" if row.usual is None else f", {row.usual[0]} tokens at {row.usual[1]}"


def _recipe(row: "ModelRow") -> str:
    from videosieve.integrations.diffusers.models.starts import STARTING_POINT

    return row.recipe or f"{STARTING_POINT} (a starting point)"
