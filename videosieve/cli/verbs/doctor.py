"""`videosieve doctor`: what this machine can run, and why not the rest."""

from rich.markup import escape

from videosieve.cli.console import out, plain_table


def doctor() -> None:
    """Show what this machine can run, and why not the rest."""
    from videosieve.planning.doctor import examine

    table = plain_table("", "part", "", "detail")
    table.columns[1].no_wrap = True  # "op / implementation" is what people search for
    topic = ""
    for finding in examine():
        if finding.topic != topic:
            topic = finding.topic
            table.add_row(f"[bold]{topic}[/bold]")
        mark = "[green]yes[/green]" if finding.ready else "[yellow]no[/yellow]"
        table.add_row("", escape(finding.name), mark, escape(finding.detail))
    out.print(table)
