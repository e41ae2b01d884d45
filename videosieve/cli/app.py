"""The typer application: verbs, version, and one way to fail."""

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from videosieve.cli.batch import batch
from videosieve.cli.bench import bench
from videosieve.cli.compare import compare
from videosieve.cli.console import complain, say
from videosieve.cli.doctor import doctor
from videosieve.cli.explain import explain
from videosieve.cli.generate import generate
from videosieve.cli.inspect import inspect
from videosieve.cli.methods import methods
from videosieve.cli.models import models
from videosieve.cli.plan import plan
from videosieve.cli.profile import profile
from videosieve.cli.report import report
from videosieve.cli.saliency import saliency
from videosieve.cli.shapes import shapes
from videosieve.cli.sweep import sweep
from videosieve.cli.tune import tune
from videosieve.errors import VideosieveError
from videosieve.version import __version__

USER_ERROR, INTERRUPTED = 2, 130


class _Verbs(TyperGroup):
    """Turns every VideosieveError into one red line and exit code 2; `--debug`, anywhere, shows the traceback."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.obj = "--debug" in args
        return super().parse_args(ctx, [argument for argument in args if argument != "--debug"])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except VideosieveError as error:
            if ctx.obj:
                raise
            complain(f"{type(error).__name__}: {error}")
            raise typer.Exit(USER_ERROR) from None
        except KeyboardInterrupt as error:
            complain(f"interrupted: {error}" if str(error) else "interrupted")
            raise typer.Exit(INTERRUPTED) from None


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
    inspect,
    report,
    methods,
    models,
    explain,
    doctor,
    bench,
):
    app.command()(verb)
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
) -> None:
    del version, debug


def main() -> None:
    """Entry point of `videosieve` and `python -m videosieve`."""
    app(prog_name="videosieve")
