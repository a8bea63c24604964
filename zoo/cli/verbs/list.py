"""`zoo list`."""

from __future__ import annotations

from typing import Literal

from zoo.cli import flags
from zoo.cli.answer import Answer, table
from zoo.cli.flags import Common

Kind = Literal["backbones", "heads", "strategies", "recipes", "metrics"]


def list(kind: Kind = "backbones", /, *, filter: str = "", common: Common = flags.NONE) -> Answer:
    """List what can be named.

    Try:
        zoo list backbones --filter vit
        zoo list strategies

    Args:
        kind: What to list.
        filter: Part of a name, or a pattern with * and ?.
    """
    from zoo import api

    rows = getattr(api, f"list_{kind}")(filter)
    return Answer({kind: rows}, table(rows) if rows else f"no {kind} match {filter!r}")
