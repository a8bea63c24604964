"""`lp-ft`: a linear probe, then everything trains from there."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.strategy import Strategy


@dataclass(frozen=True)
class LpFt(Strategy):
    """The head is solved on the inert backbone, then everything trains from there, arxiv.org/abs/2202.10054."""

    kind = "lp-ft"
    use = "other cameras, places or people to come: the solved head first, then everything trains"

    ships_whole = True
    begins_solved = True
