"""Every failure that zoo reports. One class a reaction, not one a place.

    ZooError                exit status
    |- ConfigError          2   change an option, a recipe or a name
    |  `- UnknownName       2   ... the message offers the nearest names
    |- DataError            2   mend the data
    |- WeightsError         2   get other weights, or get them here
    |- CheckpointError      2   use another checkpoint or published folder
    |- OutputError          2   write somewhere else, or make room
    `- RunFailed            1   the run itself went wrong; its last checkpoint stands
       |- NonFinite         1   ... lower the learning rate or the precision
       `- AuditFailed       1   ... frozen tensors moved, or trained ones did not

A message is one line: what is wrong, with which file, row or name, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ZooError(Exception):
    """A failure that is reported in one line. `exit_status` is that of the command."""

    exit_status = 2


class ConfigError(ZooError):
    """An option, a recipe or a name needs another value."""


class UnknownName(ConfigError):
    """A name that nothing answers to; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, names: Iterable[str], hint: str = "") -> None:
        offer = nearest(name, names)
        suggestion = f"; did you mean {', '.join(repr(other) for other in offer)}?" if offer else ""
        super().__init__(f"no {kind} {name!r}{suggestion}{' ' + hint if hint else ''}")


class DataError(ZooError):
    """The data needs mending."""


class WeightsError(ZooError):
    """Weights are missing, damaged, or belong to another network."""


class CheckpointError(ZooError):
    """A checkpoint or a published folder is incomplete, damaged, or does not fit."""


class OutputError(ZooError):
    """Something cannot be written where it should be."""


class RunFailed(ZooError):
    """A run went wrong after it had started; its last whole checkpoint stands."""

    exit_status = 1


class NonFinite(RunFailed):
    """A loss, a gradient or every evaluation was NaN or infinite."""


class AuditFailed(RunFailed):
    """A frozen tensor moved, or a tensor that should train had no gradient."""


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The `count` names most like `name`, best first; none where nothing is similar (difflib's ratio, cutoff 0.5)."""
    by_folded = {other.casefold(): other for other in names}
    return [by_folded[folded] for folded in difflib.get_close_matches(name.casefold(), by_folded, n=count, cutoff=0.5)]
