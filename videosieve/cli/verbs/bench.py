"""`videosieve bench`: how fast the kernels are on this machine."""

import json
from pathlib import Path
from typing import Annotated

import typer

from videosieve.cli.console import say


def bench(
    quick: Annotated[
        bool, typer.Option("--quick", help="Few cases and few repeats: under a minute.")
    ] = False,
    everything: Annotated[
        bool, typer.Option("--all", help="Every size of the native kernel's table: half an hour.")
    ] = False,
    flex: Annotated[
        bool, typer.Option("--flex", help="Compiled flex_attention as well; needs a C++ compiler.")
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Leave out rows of the native table that would end later.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--json", help="Folder for cpu.json and native.json.")
    ] = None,
) -> None:
    """Time the CPU kernels against PyTorch's dense attention, each checked against fp64 first."""
    from videosieve.bench import cpu, native
    from videosieve.files import write_text
    from videosieve.kernels.native_library import refuse_library

    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    results = cpu.measure(cpu.make_console(), quick=quick, with_flex=flex)
    if output is not None:
        write_text(output / "cpu.json", json.dumps(results, indent=1) + "\n")
    if (reason := refuse_library()) is not None:
        say(f"no table of the native kernel: {reason}")
        return
    arguments = [*(["--all"] if everything else []), *(["--flex"] if flex else [])]
    arguments += ["--minutes", str(minutes)] if minutes is not None else []
    arguments += ["--tokens", "2048", "--density", "1.0", "0.25"] if quick and not everything else []
    native.main(arguments, None if output is None else output / "native.json")
