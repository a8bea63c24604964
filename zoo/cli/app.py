"""The verbs, and the application that finds them."""

from __future__ import annotations

import pkgutil
from pathlib import Path

from cyclopts import App

import zoo

_FIRST = (
    "finetune",
    "evaluate",
    "predict",
    "publish",
    "resume",
    "runs",
    "list",
    "show",
    "recipes",
    "data",
    "cache",
    "doctor",
    "bench",
    "env",
)
"""In the order of `zoo --help`; others follow by their names."""
_FOUND = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / "verbs")]))
VERBS = tuple(sorted(_FOUND, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST)))
"""`zoo.cli.verbs.VERB:VERB` is the function, or the App, that is imported when it is called."""


def build(first: str = "") -> App:
    """The command. Where the first word of the line is a verb, only that one will be imported; else all are, so that a help page
    can say what each does."""
    app = App(
        name="zoo",
        help="""Fine-tune a pretrained backbone on your own images, texts or audio clips, and publish it with a model card.

        `zoo VERB --help` shows the options of a verb, with examples.
        """,
        help_format="plaintext",
        version=lambda: zoo.__version__,
    )
    for position, verb in enumerate(VERBS):
        app.command(f"zoo.cli.verbs.{verb}:{verb}", name=verb, sort_key=position)
    if first not in VERBS:
        app.resolved_commands()
    return app
