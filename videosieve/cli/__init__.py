"""The command line: one file per verb, no logic in it."""

from videosieve.cli.app import app, main

__all__ = ["app", "main"]
