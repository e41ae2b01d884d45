"""The typer application: verbs, version, and one way to fail."""

import sys
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from videosieve.cli.console import complain, say
from videosieve.cli.help_words import Verb, name_values
from videosieve.cli.quiet import leave_unsaid
from videosieve.cli.signals import terminable
from videosieve.cli.verbs.batch import batch
from videosieve.cli.verbs.bench import bench
from videosieve.cli.verbs.compare import compare
from videosieve.cli.verbs.doctor import doctor
from videosieve.cli.verbs.explain import explain
from videosieve.cli.verbs.generate import generate
from videosieve.cli.verbs.inspect import inspect
from videosieve.cli.verbs.language.prefill import prefill
from videosieve.cli.verbs.methods import methods
from videosieve.cli.verbs.models import models
from videosieve.cli.verbs.plan import plan
from videosieve.cli.verbs.profile import profile
from videosieve.cli.verbs.report import report
from videosieve.cli.verbs.saliency.saliency import saliency
from videosieve.cli.verbs.saliency.saliency_score import saliency_score
from videosieve.cli.verbs.shapes import shapes
from videosieve.cli.verbs.sweep import sweep
from videosieve.cli.verbs.tune import tune
from videosieve.errors import VideosieveError
from videosieve.version import __version__

USER_ERROR = 2


@dataclass(frozen=True, slots=True)
class _Everywhere:
    """What holds for every verb: whether to show tracebacks, and the plug-ins to import."""

    debug: bool
    plugins: list[str]


def split_plugins(args: list[str]) -> tuple[list[str], list[str]]:
    """The files that `--plugin` names, and the other arguments in order.

    Args:
        args: As typed; "--plugin FILE" and "--plugin=FILE" may stand before and after the verb.
    """
    plugins, rest = [], []
    waiting = iter(args)
    for argument in waiting:
        if argument == "--plugin":
            plugins.append(next(waiting, ""))
        elif argument.startswith("--plugin="):
            plugins.append(argument.removeprefix("--plugin="))
        else:
            rest.append(argument)
    return plugins, rest


def _verb_of(ctx: Any) -> str | None:
    """The verb that was typed: the first argument that is one."""
    words = [*getattr(ctx, "_protected_args", ()), *ctx.args]
    return words[0] if words else None


def _load(plugins: list[str]) -> None:
    """Import what was named, and what installed packages offer."""
    from videosieve.plugins import load_plugins, name_file

    for path in plugins:
        name_file(path)
    load_plugins()


class _Verbs(TyperGroup):
    """Turns every VideosieveError into one red line and exit code 2; `--debug` and `--plugin` may stand anywhere."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        plugins, rest = split_plugins(args)
        ctx.obj = _Everywhere("--debug" in rest, plugins)
        return super().parse_args(ctx, [argument for argument in rest if argument != "--debug"])

    def get_params(self, ctx: Any) -> list[Any]:
        parameters = super().get_params(ctx)
        name_values(parameters)
        return parameters

    def invoke(self, ctx: Any) -> Any:
        leave_unsaid()
        with terminable(_verb_of(ctx)) as stop:
            try:
                _load(ctx.obj.plugins)
                return super().invoke(ctx)
            except VideosieveError as error:
                if ctx.obj.debug:
                    raise
                complain(f"{type(error).__name__}: {error}")
                raise typer.Exit(USER_ERROR) from None
            except KeyboardInterrupt as error:
                complain(f"{stop.word}: {error}" if str(error) else stop.word)
                raise typer.Exit(stop.code) from None


app = typer.Typer(
    cls=_Verbs,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Training-free sparse attention for video diffusion models, measured honestly.",
)
for verb in (
    generate,
    compare,
    sweep,
    tune,
    batch,
    plan,
    profile,
    saliency,
    saliency_score,
    inspect,
    prefill,
    report,
    methods,
    models,
    explain,
    doctor,
    bench,
):
    app.command(cls=Verb)(verb)
app.add_typer(shapes, name="shapes")


def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"videosieve {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere.")
    ] = False,
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            help="Import this Python file first: it registers methods or models. Repeatable, works anywhere.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
) -> None:
    del version, debug, plugin


def main() -> None:
    """Entry point of `videosieve` and `python -m videosieve`."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a terminal that cannot show × is no reason to end in an error
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="videosieve")
