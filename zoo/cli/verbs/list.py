"""`zoo list`."""

from __future__ import annotations

from typing import Literal

from zoo.cli import flags
from zoo.cli.flags import Common
from zoo.cli.output import Output, table
from zoo.errors import ConfigError

What = Literal["backbones", "heads", "strategies", "recipes", "metrics"]
Kind = Literal["image", "text", "audio"]


def list(what: What = "backbones", /, *, filter: str = "", kind: Kind | None = None, common: Common = flags.NONE) -> Output:
    """List the backbones, heads, strategies, recipes or metrics that can be named.

    Try:
        zoo list backbones --filter vit
        zoo list backbones --kind text
        zoo list strategies

    Args:
        what: What to list.
        filter: Part of a name, or a pattern with * and ?.
        kind: Backbones that take images, texts or audio clips alone.
    """
    from zoo import api

    if kind is not None and what != "backbones":
        raise ConfigError(f"--kind {kind} is for backbones; leave it out to list {what}")
    rows = api.list_backbones(filter, kind) if what == "backbones" else getattr(api, f"list_{what}")(filter)
    return Output({what: rows}, table(rows) if rows else f"no {what} match {filter!r}" + (f" and kind {kind}" if kind else ""))
