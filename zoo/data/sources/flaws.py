"""What is wrong with a row of a table, or with a text in it, in one line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from zoo.errors import DataError

Values = dict[str, Any]
"""Column to value: a text in CSV and TSV; in JSON and Parquet whatever stands there, None where nothing does."""
Row = tuple[int, Values | DataError]
"""Its number, and what it holds, or why it cannot be read."""
Reader = Callable[[Path, Collection[str] | None, list[str]], Iterator[Row]]
"""Gives the rows of a file: of these columns (None: of all), and what there is to say of the whole at the end of a list."""


def bad_row(path: Path, number: int, reason: str) -> DataError:
    """How every message names a row; in one line, whatever is quoted in it."""
    return DataError(f"{path.name}, row {number:,}: {' '.join(reason.split())}")


def flaw(text: str) -> str | None:
    """Why a text cannot be used: bytes that are not UTF-8, half a surrogate pair, a NUL."""
    if "\0" in text:
        return "a NUL character; remove it"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        if not 0xDC80 <= ord(text[error.start]) <= 0xDCFF:
            return f"half of a surrogate pair (\\u{ord(text[error.start]):04x}) is not a character; remove it"
        return _foreign(text, error.start)
    return None


def _foreign(text: str, start: int) -> str:
    """What a text in another encoding would read as, from a few characters around the first byte that is not UTF-8."""
    piece = text[max(start - 12, 0) : start + 12].encode(errors="surrogateescape")
    byte = text[start].encode(errors="surrogateescape")[0]
    try:
        encoding, reading = "cp1252", piece.decode("cp1252")
    except UnicodeDecodeError:
        encoding, reading = "latin-1", piece.decode("latin-1")
    return f"not UTF-8 (byte 0x{byte:02x}); as {encoding} it reads {reading!r}: convert the file, iconv -f {encoding} -t utf-8"
