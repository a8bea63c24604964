"""The rows of tables that are text: CSV and its like, JSON Lines and JSON; decompressed, decoded, and never a file that would wait."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from zoo.data.notices import Notice, NoticeEntry
from zoo.data.sources.source import Row, Values, bad_row, flaw
from zoo.errors import DataError
from zoo.folders import special

_HEAD = 1 << 20
"""Characters from which delimiter and quoting are told."""
_LONGEST = 1 << 24
"""Characters of one field of a CSV file; more is a quotation mark that was never closed. (csv's own limit is 131,072: less than a
long article.)"""
_CONSISTENT = 0.9
"""Share of rows that must have as many fields as the header for a delimiter to be the right one."""
_SPAN, _VERY_LONG = 10, 1000
"""Lines of one row from which it is looked at whether they are rows of their own, and from which it is said in any case."""
_SHOWN = 3
"""Rows in a message."""


def _open_zstd(path: Path, mode: str = "rb") -> IO[bytes]:
    import pyarrow  # half a second, and the standard library reads no zstd before Python 3.14

    return cast(IO[bytes], io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")))


_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _open_zstd}
COMPRESSED = tuple(_OPENERS)
"""Endings of compressed files that are read."""


def require_file(path: Path) -> None:
    """Raises: DataError for a pipe, a socket or a device, which would be waited for."""
    kind = special(path)
    if kind:
        raise DataError(f"{path}: {kind}, not a file; write what it gives into a file first")


def open_text(path: Path, newline: str | None) -> IO[str]:
    """The file as text: UTF-16 if its first bytes say so, else UTF-8, where other bytes become lone surrogates.

    Raises: DataError if it is empty or binary; OSError.
    """
    require_file(path)
    opener = _OPENERS.get(path.suffix.lower(), open)
    with opener(path, "rb") as stream:
        head = stream.read(4096)
    if not head.strip(codecs.BOM_UTF8 + b"\r\n\t "):
        raise DataError(f"{path}: an empty file")
    utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not utf16 and b"\0" in head.split(b"\n")[0]:
        raise DataError(f"{path}: NUL bytes in the first line: a binary file, or UTF-16 without its mark; save it as UTF-8 text")
    encoding, errors = ("utf-16", "strict") if utf16 else ("utf-8-sig", "surrogateescape")
    return io.TextIOWrapper(opener(path, "rb"), encoding=encoding, errors=errors, newline=newline)


def read_separated(path: Path, only: Collection[str] | None, notices: list[str]) -> Iterator[Row]:
    """CSV and TSV: the first row that is not blank names the columns. A row that seems to have swallowed others is a notice."""
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
    with open_text(path, "") as stream:
        delimiter, quoting = _dialect(path, stream.readlines(_HEAD))
    with open_text(path, "") as stream:
        records = _records(path, csv.reader(stream, delimiter=delimiter, quoting=quoting, strict=True))
        names = _header(path, next((fields for fields, _, _ in records if fields), []))
        wanted = [index for index, name in enumerate(names) if name and (only is None or name in only)]
        swallowing: list[NoticeEntry] = []
        for number, (fields, line, lines) in enumerate(records, 1):
            if lines >= _SPAN and _swallows(fields, lines, delimiter, len(names)):
                swallowing.append(NoticeEntry(f"row {number:,}", f", lines {line:,} to {line + lines - 1:,}"))
            if isinstance(fields, str):
                yield number, bad_row(path, number, fields)
            elif len(fields) not in (0, len(names)):
                hint = f"; is a {delimiter!r} in a text not quoted?" if len(fields) > len(names) else ""
                yield number, bad_row(path, number, f"number of fields {len(fields)}, in the header {len(names)}{hint}")
            elif fields:
                wrong = flaw(delimiter.join(fields))
                yield number, bad_row(path, number, wrong) if wrong else {names[index]: fields[index] for index in wanted}
    if swallowing:
        why = "between two quotation marks stand many lines"
        before = f"{path.name}: {why}, which are taken as one row ("
        after = "): where a mark is a plain character of a text, write it twice, and quote the text"
        notices.append(Notice.naming(before, swallowing, after, what="row", why=why, done="taken as one row", shown=_SHOWN))


def _records(path: Path, reader: Any) -> Iterator[tuple[list[str] | str, int, int]]:
    """The fields of each record, or why it has none; the line on which it begins, and how many it has.

    Raises: DataError if a quotation mark stays open.
    """
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "expected after" not in str(error):
                raise DataError(f"{path}, line {line:,}: a quotation mark is opened here and never closed; close it") from error
            lines = f"line {line:,}" if reader.line_num == line else f"lines {line:,} to {reader.line_num:,}"
            fields = f"a quotation mark within a quoted field ({lines}); write it twice"
        yield fields, line, reader.line_num - line + 1


def _swallows(fields: list[str] | str, lines: int, delimiter: str, width: int) -> bool:
    """Whether a record of many lines seems to hold rows: most lines within its longest field have as many fields as a row."""
    if lines >= _VERY_LONG or isinstance(fields, str):
        return True
    inside = max(fields, key=len).splitlines()[1:-1]
    rows = sum(len(one) == width for one in csv.reader(inside, delimiter=delimiter))
    return width > 1 and 2 * rows >= len(inside)


def _header(path: Path, fields: list[str] | str) -> list[str]:
    """Column names without the white space around them. A column without a name, such as an index, is passed over."""
    wrong = fields if isinstance(fields, str) else flaw(", ".join(fields))
    if wrong or isinstance(fields, str):
        raise DataError(f"{path}, header: {wrong}")
    names = [name.strip() for name in fields]
    if not any(names):
        raise DataError(f"{path}: the header is empty; name the columns in the first line")
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    if twice:
        raise DataError(
            f"{path}: two columns are called {twice[0]!r} (or the first line is not a header); give each its own name"
        )
    other = re.search(r"[,;|\t]", names[0])
    if len(names) == 1 and other:
        reason = f"one column, whose name {names[0]!r} contains {other[0]!r}"
        raise DataError(f"{path}: {reason}; is that the delimiter? Then rows differ in their fields: quote the texts")
    return names


@dataclass(frozen=True)
class _Fit:
    """How well some lines are read by a delimiter and a way of quoting."""

    share: float
    """Of the records, those that have as many fields as the first,"""
    width: int
    """which is so many."""
    whole: int
    """How many these records are."""


def _dialect(path: Path, lines: list[str]) -> tuple[str, Any]:
    """Delimiter (the one of the file's ending, unless another fits and it does not) and the way of quoting.

    Tab-separated files often hold quotation marks as plain characters. They do where that gives more rows that are whole, and rows that
    are about as even: a mark that a text begins with would else swallow the rows up to the next one.
    """
    name = path.name.lower()
    for ending in COMPRESSED:
        name = name.removesuffix(ending)
    own = "\t" if name.endswith((".tsv", ".tab")) else ","
    fits = {one: _fit(lines, one, csv.QUOTE_MINIMAL) for one in dict.fromkeys((own, ",", ";", "\t", "|"))}
    plain, quoting = _fit(lines, "\t", csv.QUOTE_NONE), csv.QUOTE_MINIMAL
    even = plain.share >= min(_CONSISTENT, fits["\t"].share)
    if plain.whole > fits["\t"].whole and even and not _wrapped(lines, "\t"):
        fits["\t"], quoting = plain, csv.QUOTE_NONE
    fitting = [one for one, fit in fits.items() if fit.width > 1 and fit.share >= _CONSISTENT]
    chosen = own if own in fitting or not fitting else max(fitting, key=lambda one: (fits[one].share, fits[one].width))
    return chosen, quoting if chosen == "\t" else csv.QUOTE_MINIMAL


def _fit(lines: Sequence[str], delimiter: str, quoting: Any) -> _Fit:
    """How well the lines are read so."""
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    widths: list[int] = []
    while True:
        try:
            widths.append(len(next(reader)))
        except StopIteration:
            break
        except csv.Error:
            widths.append(0)
    whole = widths.count(widths[0])
    return _Fit(whole / len(widths), widths[0], whole)


def _wrapped(lines: Sequence[str], delimiter: str) -> bool:
    """Whether quotation marks are used as CSV does: most fields that have one at an end have one at both."""
    fields = [field for line in lines for field in line.rstrip("\r\n").split(delimiter) if '"' in field]
    both = sum(len(field) > 1 and field[0] == field[-1] == '"' for field in fields)
    return both > sum((field[0] == '"') != (field[-1] == '"') or field == '"' for field in fields)


def read_lines(path: Path, only: Collection[str] | None, notices: list[str]) -> Iterator[Row]:
    """JSON Lines: an object a line."""
    with open_text(path, None) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield number, _parse_line(path, number, line, only)


def _parse_line(path: Path, number: int, line: str, only: Collection[str] | None) -> Values | DataError:
    wrong = flaw(line)
    if wrong:
        return bad_row(path, number, wrong)
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        hint = "; a file that is one list of objects is called .json" if line.lstrip().startswith("[") else ""
        return bad_row(path, number, f"not JSON: {error.msg} at character {error.pos + 1:,}{hint}")
    except (ValueError, RecursionError):
        return bad_row(path, number, "JSON with a number too long or too many brackets in each other")
    return _pick(path, number, found, only)


def _pick(path: Path, number: int, found: Any, only: Collection[str] | None) -> Values | DataError:
    """The wanted columns of one parsed JSON value."""
    if not isinstance(found, dict):
        return bad_row(path, number, f"a {type(found).__name__}, expected an object such as {{'text': ..., 'label': ...}}")
    wrong = next((one for value in found.values() if isinstance(value, str) and (one := flaw(value))), None)
    if wrong:
        return bad_row(path, number, wrong)
    return found if only is None else {name: found.get(name) for name in only}


def read_json(path: Path, only: Collection[str] | None, notices: list[str]) -> Iterator[Row]:
    """JSON: a list of objects, read as a whole."""
    with open_text(path, None) as stream:
        text = stream.read()
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        hint = "; one object a line is called .jsonl" if error.msg == "Extra data" else ""
        raise DataError(f"{path}, line {error.lineno:,}: not JSON: {error.msg}{hint}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: JSON with a number too long or too many brackets in each other") from error
    if not isinstance(found, list):
        raise DataError(f"{path}: expected a list of objects, found a {type(found).__name__}; one object a line is called .jsonl")
    for number, one in enumerate(found, 1):
        yield number, _pick(path, number, one, only)
