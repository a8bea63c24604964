"""The rows of comma-separated files and their like: delimiter, quoting, and what a grammar of quotation marks swallows."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.data.notices import Entry, Notice
from zoo.data.sources.flaws import Row, bad_row, flaw
from zoo.data.sources.tables.compressed import COMPRESSED, open_text
from zoo.errors import DataError

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


def read_separated(path: Path, only: Collection[str] | None, notices: list[str]) -> Iterator[Row]:
    """CSV and TSV: the first row that is not blank names the columns. A row that seems to have swallowed others is a notice."""
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
    with open_text(path, "") as stream:
        delimiter, quoting = _dialect(path, stream.readlines(_HEAD))
    with open_text(path, "") as stream:
        records = _records(path, csv.reader(stream, delimiter=delimiter, quoting=quoting, strict=True))
        names = _header(path, next((fields for fields, _, _ in records if fields), []))
        wanted = [index for index, name in enumerate(names) if name and (only is None or name in only)]
        swallowing: list[Entry] = []
        for number, (fields, line, lines) in enumerate(records, 1):
            if lines >= _SPAN and _swallows(fields, lines, delimiter, len(names)):
                swallowing.append(Entry(f"row {number:,}", f", lines {line:,} to {line + lines - 1:,}"))
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
