"""`lp-ft`: what trains is what trains under `full`; where its head begins is its own."""

from __future__ import annotations

from zoo.adaptation.strategies.full.applying import apply

__all__ = ["apply"]
