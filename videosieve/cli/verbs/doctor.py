"""`videosieve doctor`: what this machine can run, and why not the rest; with `--check`, whether it is right."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.text import Text

from videosieve.cli.console import err, mark, number, out, paragraph, plain_table, say
from videosieve.visible import visible

if TYPE_CHECKING:
    from videosieve.bench.check import CheckReport
    from videosieve.bench.check_rows import CheckRow
    from videosieve.planning.doctor import Finding

NOT_RIGHT = 1


def doctor(
    check: Annotated[
        bool, typer.Option("--check", help="Run every kernel against fp64 and time it; under three minutes.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="With --check: cpu or cuda; CUDA where it is, if left out.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--json", help="With --check: a file with everything, to attach to a report."),
    ] = None,
) -> None:
    """Show what this machine can run, and why not the rest."""
    if check:
        _check(device, output)
        return
    if device is not None or output is not None:
        raise typer.BadParameter("--device and --json belong to --check")
    from videosieve.planning.doctor import examine, verdict

    findings = examine()
    topic = ""
    for finding in findings:
        if finding.topic != topic:
            topic = finding.topic
            out.print(Text(topic, "bold"))
        _show(finding)
    out.print()
    paragraph(verdict(findings))


def _show(finding: "Finding") -> None:
    """One line; where the detail is too long for it, the detail has lines of its own."""
    line = Text("  ") + mark(finding.ready) + Text(f"{'' if finding.ready else ' '} {visible(finding.name)}")
    if len(line) + len(finding.detail) + 2 <= out.width:
        out.print(line + Text(f"  {visible(finding.detail)}", "dim" if finding.ready else ""), soft_wrap=True)
        return
    out.print(line, soft_wrap=True)
    paragraph(finding.detail, " " * 6)


def _check(device: str | None, output: Path | None) -> None:
    import torch

    from videosieve.bench.check import check_kernels
    from videosieve.files import write_text

    if device not in (None, "cpu", "cuda") or (device == "cuda" and not torch.cuda.is_available()):
        raise typer.BadParameter(f"--device is cpu, or cuda where there is one; got {device}")
    with err.status("starting") as status:
        report = check_kernels(device, lambda text: status.update(escape(text)))
    _print_report(report)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_text(output, report.to_json())
        say(f"written to {output}")
    if not report.is_right:
        raise typer.Exit(NOT_RIGHT)


def _print_report(report: "CheckReport") -> None:
    say(", ".join(f"{name} {value}" for name, value in report.machine.items()))
    titles = ("implementation", "right", "ms", "÷ dense", "not right, or why not run")
    table = plain_table(*titles, right=titles[1:4])
    op = ""
    for name, rows in report.by_implementation().items():
        if name[0] != op:
            op = name[0]
            table.add_row(Text(op, "bold"))
        table.add_row(*_cells(f"  {name[1]}", rows), style=_style(rows))
    out.print(table)
    out.print(Text(report.verdict(), "bold green" if report.is_right else "bold red"))


def _cells(name: str, rows: "list[CheckRow]") -> list[str]:
    """Of the call whose time says most, the time; of all calls, what is not right, or else every reason once."""
    right = [row for row in rows if row.verdict == "right"]
    bad = [f"{row.title}, {row.dtype}: {row.verdict}, {row.detail}" for row in rows if row.is_bad]
    told = bad or [row.detail for row in rows if row.detail]
    timed = max(
        (row for row in right if row.ms is not None), key=lambda row: (row.long, row.ms), default=None
    )
    share = None if timed is None or not timed.dense_ms else (timed.ms or 0.0) / timed.dense_ms
    figures = (f"{len(right)} of {len(rows)}", number(timed and timed.ms), number(share))
    return [name, *figures, "; ".join(dict.fromkeys(told))]


def _style(rows: "list[CheckRow]") -> str:
    if any(row.is_bad for row in rows):
        return "red"
    return "" if any(row.verdict == "right" for row in rows) else "dim"
