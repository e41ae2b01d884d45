"""`videosieve shapes`: train and evaluate the bundled model."""

import typer

from videosieve.cli.help_words import Verb
from videosieve.cli.verbs.shapes.evaluate import evaluate
from videosieve.cli.verbs.shapes.train import train

shapes = typer.Typer(no_args_is_help=True, help="Train and evaluate the bundled model.")
for verb in (train, evaluate):
    shapes.command(cls=Verb)(verb)

__all__ = ["shapes"]
