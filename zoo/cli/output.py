"""What a verb gives: values for programs, and tables and lines for people.

Without `--json`, people read stdout. With it, the last line of stdout is one JSON object and everything for people is on stderr.
"""

from __future__ import annotations

import json as formats
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import IO, TYPE_CHECKING, Any

from zoo.errors import escaped, one_line

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 10_000
"""Columns of an output that is not a terminal: nothing is folded or cut for a program that reads it."""


class Output:
    """`values` for programs, `parts` (texts and tables, in order) for people, `notes`, lines that always go to stderr; the exit status."""

    def __init__(self, values: Mapping[str, Any], *parts: Table | str, notes: Sequence[str] = (), status: int = 0) -> None:
        self.values = values
        self.status = status
        self.parts = parts
        self.notes = notes

    def print(self, *, json: bool) -> None:
        """Print to stdout and stderr, as the module says."""
        from rich.console import Console

        stream: IO[str] = sys.stderr if json else sys.stdout
        width = None if stream.isatty() else WIDE
        console = Console(file=stream, width=width, markup=False, highlight=False, emoji=False)
        for part in self.parts:
            console.print(part, soft_wrap=isinstance(part, str))
        for note in self.notes:
            print(one_line(note), file=sys.stderr)
        if json:
            stream.flush()
            print(formats.dumps(plain(self.values), allow_nan=False))


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None, title: str | None = None) -> Table:
    """A table with a line a mapping; columns default to the keys of the first. Numbers are aligned to the right."""
    from rich import box
    from rich.table import Table

    names = list(columns or (rows[0] if rows else ()))
    shown = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for name in names:
        numeric = all(isinstance(row.get(name), (int, float, type(None))) for row in rows)
        shown.add_column(name.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(cell(row.get(name)) for name in names))
    return shown


def cell(value: Any) -> str:
    """A value as people read it: four significant digits, thousands apart, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    return escaped(str(value))


def plain(value: Any) -> Any:
    """A value of JSON's own types: NaN and infinities, which JSON has not, become null; paths become texts."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, PurePath):
        return str(value)
    return value
