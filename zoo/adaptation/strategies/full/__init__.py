"""`full`: everything trains."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.strategy import Strategy


@dataclass(frozen=True)
class Full(Strategy):
    """Everything trains; batch-norm statistics too where they are live (the option `batch_norm`)."""

    kind = "full"
    use = "plenty of data: everything trains"
    aliases = ("none",)
    """`--freeze none` freezes nothing."""

    ships_whole = True
    live_statistics = True
