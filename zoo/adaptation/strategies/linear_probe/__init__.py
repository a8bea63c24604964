"""`linear-probe`: nothing of the backbone trains."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.strategy import Strategy


@dataclass(frozen=True)
class LinearProbe(Strategy):
    """Only the head trains; the backbone is inert."""

    kind = "linear-probe"
    use = "little data, or a first look: only the head trains (also spelt `backbone`)"
    aliases = ("backbone",)
    """`--freeze backbone` freezes the backbone."""

    inert = True
