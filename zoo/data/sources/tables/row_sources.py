"""Rows of any form, as every source of them gives them: numbered dictionaries of plain values."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zoo.data.sources.tables.files import Row, bad_row
from zoo.errors import DataError

_UNTYPED = re.compile(r"\.(csv|tsv|tab)(\.\w+)?$")

Reading = Callable[[Path, Collection[str] | None, list[str] | None], Generator[Row]]
"""What gives the rows of a file, as `read_rows` does."""


class RowSource(Protocol):
    """Rows that can be read more than once."""

    @property
    def split(self) -> str | None:
        """`train`, `val` or `test`, where all of them are of one set; None: a column may say it."""

    @property
    def folder(self) -> Path:
        """Where paths in them begin."""

    @property
    def typed(self) -> bool:
        """Whether their form tells text from what is missing, and from numbers."""

    def read(self, only: Collection[str] | None = None, notices: list[str] | None = None) -> Iterator[Row]:
        """Number and values of each, in order; a DataError in place of the values says why there are none.

        only: of these columns. notices: gets what there is to say of the whole."""

    def name(self, number: int) -> str:
        """What people call a row within the data."""

    def bad(self, number: int, reason: str) -> DataError:
        """What is wrong with a row, in one line."""


def is_typed(path: Path) -> bool:
    """Whether a file holds more than text, which is all that CSV and TSV hold."""
    return _UNTYPED.search(path.name.lower()) is None


@dataclass(frozen=True)
class FileRows:
    """Those of a table file."""

    path: Path
    reading: Reading
    """What gives them."""
    folder: Path
    split: str | None = None

    @property
    def typed(self) -> bool:
        """As `is_typed` says."""
        return is_typed(self.path)

    def read(self, only: Collection[str] | None = None, notices: list[str] | None = None) -> Iterator[Row]:
        """As `read_rows`."""
        return self.reading(self.path, only, notices)

    def name(self, number: int) -> str:
        """`reviews.csv, row 17`."""
        return f"{self.path.name}, row {number:,}"

    def bad(self, number: int, reason: str) -> DataError:
        """`reviews.csv, row 17: reason`."""
        return bad_row(self.path, number, reason)
