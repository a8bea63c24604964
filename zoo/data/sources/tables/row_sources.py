"""The rows of a table file, one after another, in constant memory; and rows of any other form, numbered and of plain values.

A row that cannot be read is given as a `DataError` in the place of its values, so that the caller decides how many of them are
too many. What makes every later row doubtful (a quotation mark that is never closed, a file that is cut off) is raised.
"""

from __future__ import annotations

import lzma
import re
import zlib
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zoo.data.sources.source import Reader, Row, Values, bad_row, flaw
from zoo.data.sources.tables.parquet import is_partitioned, read_arrow, read_folder, read_parquet
from zoo.data.sources.tables.text_files import COMPRESSED, read_json, read_lines, read_separated, require_file
from zoo.errors import DataError
from zoo.folders import is_folder

__all__ = ["Row", "Values", "bad_row", "flaw", "is_partitioned", "is_table", "read_rows"]
_TEXTS: dict[str, Reader] = {
    ".csv": read_separated,
    ".tsv": read_separated,
    ".tab": read_separated,
    ".jsonl": read_lines,
    ".ndjson": read_lines,
    ".json": read_json,
}
"""By the file's ending; these may be compressed."""
_BINARY: dict[str, Reader] = {".parquet": read_parquet, ".pq": read_parquet, ".arrow": read_arrow, ".feather": read_arrow}
ENDINGS = (*_TEXTS, *_BINARY)
_TABLE = re.compile(
    rf"(?:({'|'.join(map(re.escape, _TEXTS))})({'|'.join(map(re.escape, COMPRESSED))})?|({'|'.join(map(re.escape, _BINARY))}))$"
)
_UNTYPED = re.compile(r"\.(csv|tsv|tab)(\.\w+)?$")
Reading = Callable[[Path, Collection[str] | None, list[str] | None], Generator[Row]]
"""What gives the rows of a file, as `read_rows` does."""


def read_rows(path: Path, only: Collection[str] | None = None, notices: list[str] | None = None) -> Generator[Row]:
    """Each row's number and values, in the file's order.

    Rows are numbered from 1. In CSV and TSV the first row is the one below the header (a spreadsheet shows it as its row 2), a row
    of several lines counts once, and a blank line counts though it gives nothing. In JSON Lines the number is that of the line; in
    JSON, Parquet and Arrow that of the object or row. `.json` alone is read as a whole. CSV, TSV and JSON may be compressed.

    Args:
        only: the columns that are wanted; None: all (of Parquet and Arrow all that can be texts, paths, labels or files).
        notices: takes what there is to say of the whole; complete once the last row is given.

    Raises: DataError, at once or later: the file is missing, of another kind, cut off, or its header is wrong.
    """
    said: list[str] = [] if notices is None else notices
    only = None if only is None else dict.fromkeys(only)  # in their order; there may be thousands, and each is looked up
    if is_folder(path):
        return _guarded(path, read_folder(path, only, said))
    require_file(path)
    match = _TABLE.search(path.name.lower())
    if match is None:
        known = ", ".join(ENDINGS)
        raise DataError(
            f"{path}: not a table that can be read; save it as one of {known} (the text ones also {', '.join(COMPRESSED)})"
        )
    return _guarded(path, (_TEXTS | _BINARY)[match[1] or match[3]](path, only, said))


def is_table(path: Path) -> bool:
    """Whether the name of a file is that of a table."""
    return _TABLE.search(path.name.lower()) is not None


def _guarded(path: Path, rows: Iterator[Row]) -> Generator[Row]:
    """The rows, with whatever the disk or the compression raises as one line that names the file."""
    try:
        yield from rows
    except OSError as error:  # gzip.BadGzipFile too
        raise DataError(f"{path}: {error.strerror or error}") from error
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"{path}: the compressed file is damaged or cut off; fetch it again") from error
    except UnicodeDecodeError as error:  # UTF-16 alone: bytes that are not UTF-8 are found by row
        raise DataError(f"{path}: damaged or cut off: it begins as UTF-16 and does not go on so; fetch it again") from error


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
