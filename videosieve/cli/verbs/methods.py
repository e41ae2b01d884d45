"""`videosieve methods`: what can be chosen."""

from videosieve.cli.console import out, plain_table, say


def methods() -> None:
    """List the methods with their papers and parameters."""
    from videosieve.planning.catalogue import common_settings, describe_methods, describe_reuse
    from videosieve.recipe import bundled_recipes

    table = plain_table("method", "idea", "parameters (--set)", "paper")
    for entry in (*describe_methods(), describe_reuse()):
        table.add_row(
            entry.name, entry.idea, "\n".join(entry.parameters) or "–", entry.paper or "–", end_section=True
        )
        table.add_row()
    out.print(table)
    say(f"every method: {common_settings()}")
    if names := bundled_recipes():
        say(f"bundled recipes: {', '.join(names)}")
