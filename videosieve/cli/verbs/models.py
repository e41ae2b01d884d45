"""`videosieve models`: which pipelines can be made sparse."""

from videosieve.cli.console import out, plain_table


def models() -> None:
    """List the supported video transformers of diffusers."""
    from videosieve.integrations.diffusers.models import MODELS

    table = plain_table("family", "diffusers class", "text tokens", "covers")
    for row in MODELS.values():
        table.add_row(row.family, row.name, row.text, row.notes)
    out.print(table)
