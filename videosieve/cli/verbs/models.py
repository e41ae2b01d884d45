"""`videosieve models`: which pipelines can be made sparse, which stay dense, and which make images."""

from typing import TYPE_CHECKING, Annotated

import typer

from videosieve.cli.console import listed, out, paragraph, plain_table, say

if TYPE_CHECKING:
    from videosieve.integrations.diffusers import ModelRow


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Say everything of this family or class; default: a line of each.", show_default=False
        ),
    ] = None,
) -> None:
    """List the transformers that are known, a line each; with a name: pipelines, sizes, what is particular.

    videosieve models wan
    """
    from videosieve.integrations.diffusers.models import IMAGES, MODELS
    from videosieve.integrations.diffusers.models.registering import load_models
    from videosieve.integrations.diffusers.models.words import WHY_NO_IMAGES

    load_models()
    if name is not None:
        for row in _find(name, [*MODELS.values(), *IMAGES.values()]):
            _show(row)
        return
    sparse = [row for row in MODELS.values() if not row.dense]
    recognised = [row for row in MODELS.values() if row.dense]
    numbers = ("usual tokens", "break-even")
    table = plain_table("family", "text", *numbers, "recipe", right=numbers)
    for row in sparse:
        usual = None if row.usual is None else row.usual[0].tokens
        table.add_row(row.family, row.text, _count(usual), _count(row.break_even), _recipe(row))
    out.print(table)
    say("")
    paragraph(
        "break-even: tokens from which attention is more than half of the work; – where nobody has counted"
    )
    say("\nrecognised, and left dense:")
    listed([(row.family, row.dense) for row in recognised])
    say("\nimages, for saliency alone:")
    listed(
        [
            (row.family, f"saliency by {_saliency(row)}; {row.notes or row.pipelines}")
            for row in IMAGES.values()
        ]
    )
    say("")
    paragraph(f"images are {WHY_NO_IMAGES}; videosieve saliency shows where in one a model sees each concept")
    say("")
    paragraph(
        f"{len(sparse)} classes sparse, {len(recognised)} recognised, {len(IMAGES)} of images; more of one: "
        f"videosieve models NAME"
    )
    say("one of your own: docs/adding_a_model.md")


def _find(name: str, rows: "list[ModelRow]") -> "list[ModelRow]":
    """Rows whose family or class is the name, else those that hold it; an error names near ones."""
    from videosieve.errors import ModelError
    from videosieve.fields import nearest

    wanted = name.lower()
    exact = [row for row in rows if wanted in (row.family.lower(), row.name.lower())]
    found = exact or [row for row in rows if wanted in row.family.lower() or wanted in row.name.lower()]
    if not found:
        families = list(dict.fromkeys(row.family for row in rows))
        raise ModelError(
            f"no model {name!r}{nearest(wanted, map(str.lower, families))}; there are {', '.join(families)}"
        )
    return found


def _show(row: "ModelRow") -> None:
    from videosieve.integrations.diffusers.models import IMAGES
    from videosieve.integrations.diffusers.models.words import WHY_NO_IMAGES

    paragraph(f"{row.family}: {row.name}{_at(row)}")
    paragraph(row.pipelines or "no pipeline of diffusers", "  ")
    if row.dense:
        paragraph(f"left dense: {row.dense}", "  ")
        return
    if row.notes:
        paragraph(row.notes, "  ")
    if row.name in IMAGES:
        paragraph(f"left dense: images are {WHY_NO_IMAGES}", "  ")
        paragraph(f"text {row.text}; saliency by {_saliency(row)}, of generated and of given images", "  ")
        return
    say(f"  text {row.text}; break-even at {_count(row.break_even)} tokens; begins with {_recipe(row)}")
    paragraph(f"saliency by {_saliency(row)}", "  ")


def _saliency(row: "ModelRow") -> str:
    """The methods of `videosieve saliency` in words, or why there are none."""
    from videosieve.integrations.diffusers.concepts.crossed import CROSS_FAMILIES, why_no_saliency
    from videosieve.integrations.diffusers.concepts.families import methods_of

    found = " or ".join(methods_of(row.name))
    if not found:
        return f"no method: {why_no_saliency(row.name)}"
    only = CROSS_FAMILIES[row.name].only if row.name in CROSS_FAMILIES else ""
    return f"{found}, {only}" if only else found


def _count(tokens: int | None) -> str:
    return "–" if tokens is None else f"{tokens:,}"


def _at(row: "ModelRow") -> str:
    return "" if row.usual is None else f", {row.usual[0]} tokens at {row.usual[1]}"


def _recipe(row: "ModelRow") -> str:
    from videosieve.integrations.diffusers.models.starts import STARTING_POINT

    return row.recipe or f"{STARTING_POINT} (a starting point)"
