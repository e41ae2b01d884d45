"""`videosieve doctor`: what this machine can run, and why not the rest."""

from rich.text import Text

from videosieve.cli.console import mark, out, plain_table


def doctor() -> None:
    """Show what this machine can run, and why not the rest."""
    from videosieve.planning.doctor import examine

    table = plain_table("", "part", "", "detail")
    table.columns[1].no_wrap = True  # "op / implementation" is what people search for
    topic = ""
    for finding in examine():
        if finding.topic != topic:
            topic = finding.topic
            table.add_row(Text(topic, "bold"))
        table.add_row("", finding.name, mark(finding.ready), finding.detail)
    out.print(table)
