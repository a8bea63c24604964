"""The rows of a table file, one after another, in constant memory: CSV, TSV, JSON Lines, JSON and Parquet.

A row that cannot be read is given as a `DataError` in the place of its values, so that the caller decides how many of them are
too many. What makes every later row doubtful (a quotation mark that is never closed, a file that is cut off) is raised.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import json
import re
import zlib
from collections.abc import Callable, Collection, Generator, Iterator
from pathlib import Path
from typing import IO, Any, cast

from zoo.errors import DataError

Values = dict[str, Any]
"""Column to value: a text in CSV and TSV; in JSON and Parquet whatever stands there, None where nothing does."""
Row = tuple[int, Values | DataError]
Reader = Callable[[Path, Collection[str] | None], Iterator[Row]]

_HEAD = 1 << 20
"""Characters from which delimiter and quoting are told."""
_LONGEST = 1 << 24
"""Characters of one field of a CSV file; more is a quotation mark that was never closed. (csv's own limit is 131,072: less than a
long article.)"""
_CONSISTENT = 0.9
"""Share of rows that must have as many fields as the header for a delimiter to be the right one."""
_BATCH = 1024
"""Rows of Parquet in memory at a time."""


def read_rows(path: Path, only: Collection[str] | None = None) -> Generator[Row]:
    """Each row's number and values, in the file's order.

    Rows are numbered from 1. In CSV and TSV the first row is the one below the header (a spreadsheet shows it as its row 2), a row
    of several lines counts once, and a blank line counts though it gives nothing. In JSON Lines the number is that of the line; in
    JSON and Parquet that of the object or row. `.json` alone is read as a whole. All but Parquet may be compressed (`.gz`).

    Args:
        only: the columns that are wanted; None: all.

    Raises: DataError, at once or later: the file is missing, of another kind, cut off, or its header is wrong.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compressed = suffixes[-1:] == [".gz"]
    suffix = next(iter(suffixes[-2:-1] if compressed else suffixes[-1:]), "")
    if suffix not in _READERS or (compressed and suffix == ".parquet"):
        raise DataError(f"{path}: not a table that can be read; save it as one of {', '.join(_READERS)} (the text ones also .gz)")
    return _guarded(path, _READERS[suffix](path, only))


def is_table(path: Path) -> bool:
    """Whether the name of a file is that of a table."""
    return re.search(rf"({'|'.join(map(re.escape, _READERS))})(\.gz)?$", path.name.lower()) is not None


def bad_row(path: Path, number: int, reason: str) -> DataError:
    """How every message names a row; in one line, whatever is quoted in it."""
    return DataError(f"{path.name}, row {number:,}: {' '.join(reason.split())}")


def _guarded(path: Path, rows: Iterator[Row]) -> Generator[Row]:
    """The rows, with whatever the disk or the compression raises as one line that names the file."""
    try:
        yield from rows
    except OSError as error:  # gzip.BadGzipFile too
        raise DataError(f"{path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise DataError(f"{path}: the compressed file is damaged or cut off; fetch it again") from error
    except UnicodeDecodeError as error:  # UTF-16 alone: bytes that are no UTF-8 are found by row
        raise DataError(f"{path}: damaged or cut off: it begins as UTF-16 and does not go on so; fetch it again") from error


def _open_text(path: Path, newline: str | None) -> IO[str]:
    """The file as text: UTF-16 if its first bytes say so, else UTF-8, where other bytes become lone surrogates."""
    opened: Any = gzip.open if path.suffix.lower() == ".gz" else open
    with opened(path, "rb") as stream:
        head = stream.read(4096)
    if not head.strip(codecs.BOM_UTF8 + b"\r\n\t "):
        raise DataError(f"{path}: an empty file")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return cast(IO[str], opened(path, "rt", encoding="utf-16", newline=newline))
    if b"\0" in head.split(b"\n")[0]:
        raise DataError(f"{path}: NUL bytes in the first line: a binary file, or UTF-16 without its mark; save it as UTF-8 text")
    return cast(IO[str], opened(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline=newline))


def _flaw(text: str) -> str | None:
    """Why a text cannot be used: bytes that are not UTF-8, half a surrogate pair, a NUL."""
    if "\0" in text:
        return "a NUL character; remove it"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        if not 0xDC80 <= ord(text[error.start]) <= 0xDCFF:
            return f"half of a surrogate pair (\\u{ord(text[error.start]):04x}) is no character; remove it"
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


def _read_separated(path: Path, only: Collection[str] | None) -> Iterator[Row]:
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST))
    with _open_text(path, "") as stream:
        delimiter, quoting = _dialect(path, stream.readlines(_HEAD))
    with _open_text(path, "") as stream:
        reader = csv.reader(stream, delimiter=delimiter, quoting=quoting, strict=True)
        records = _records(path, reader)
        names = _header(path, next((fields for fields in records if fields), []))
        wanted = [index for index, name in enumerate(names) if name and (only is None or name in only)]
        for number, fields in enumerate(records, 1):
            if isinstance(fields, str):
                yield number, bad_row(path, number, fields)
            elif len(fields) not in (0, len(names)):
                hint = f"; is a {delimiter!r} in a text not quoted?" if len(fields) > len(names) else ""
                yield number, bad_row(path, number, f"number of fields {len(fields)}, in the header {len(names)}{hint}")
            elif fields:
                flaw = _flaw(delimiter.join(fields))
                yield number, bad_row(path, number, flaw) if flaw else {names[index]: fields[index] for index in wanted}


def _records(path: Path, reader: Any) -> Iterator[list[str] | str]:
    """The fields of each record, or why it has none. Raises: DataError if a quotation mark stays open."""
    while True:
        line = reader.line_num + 1
        try:
            yield next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if "expected after" not in str(error):
                raise DataError(f"{path}, line {line:,}: a quotation mark is opened here and never closed; close it") from error
            lines = f"line {line:,}" if reader.line_num == line else f"lines {line:,} to {reader.line_num:,}"
            yield f"a quotation mark within a quoted field ({lines}); write it twice"


def _header(path: Path, fields: list[str] | str) -> list[str]:
    """Column names without the white space around them. A column without a name, such as an index, is passed over."""
    flaw = fields if isinstance(fields, str) else _flaw(", ".join(fields))
    if flaw:
        raise DataError(f"{path}, header: {flaw}")
    names = [name.strip() for name in fields]
    if not any(names):
        raise DataError(f"{path}: the header is empty; name the columns in the first line")
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise DataError(f"{path}: two columns are called {twice[0]!r} (or the first line is no header); give each its own name")
    other = re.search(r"[,;|\t]", names[0])
    if len(names) == 1 and other:
        reason = f"one column, whose name {names[0]!r} contains {other[0]!r}"
        raise DataError(f"{path}: {reason}; is that the delimiter? Then rows differ in their fields: quote the texts")
    return names


def _dialect(path: Path, lines: list[str]) -> tuple[str, Any]:
    """Delimiter (the one of the file's ending, unless another fits and it does not) and the way of quoting.

    Tab-separated files often hold quotation marks as plain characters; they do where that makes more rows whole.
    """
    own = "\t" if path.name.lower().removesuffix(".gz").endswith((".tsv", ".tab")) else ","
    fits = {one: _fit(lines, one, csv.QUOTE_MINIMAL) for one in dict.fromkeys((own, ",", ";", "\t", "|"))}
    plain = _fit(lines, "\t", csv.QUOTE_NONE)
    quoting = csv.QUOTE_NONE if plain > fits["\t"] else csv.QUOTE_MINIMAL
    fits["\t"] = max(plain, fits["\t"])
    fitting = [one for one, (share, width) in fits.items() if width > 1 and share >= _CONSISTENT]
    chosen = own if own in fitting or not fitting else max(fitting, key=lambda one: fits[one])
    return chosen, quoting if chosen == "\t" else csv.QUOTE_MINIMAL


def _fit(lines: list[str], delimiter: str, quoting: Any) -> tuple[float, int]:
    """Share of the records that have as many fields as the first, and how many that is."""
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting, strict=True)
    widths: list[int] = []
    while True:
        try:
            widths.append(len(next(reader)))
        except StopIteration:
            break
        except csv.Error:
            widths.append(0)
    first = widths[0]
    return sum(width == first for width in widths) / len(widths), first


def _read_lines(path: Path, only: Collection[str] | None) -> Iterator[Row]:
    with _open_text(path, None) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield number, _parse_line(path, number, line, only)


def _parse_line(path: Path, number: int, line: str, only: Collection[str] | None) -> Values | DataError:
    flaw = _flaw(line)
    if flaw:
        return bad_row(path, number, flaw)
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
    flaw = next((one for value in found.values() if isinstance(value, str) and (one := _flaw(value))), None)
    if flaw:
        return bad_row(path, number, flaw)
    return found if only is None else {name: found.get(name) for name in only}


def _read_json(path: Path, only: Collection[str] | None) -> Iterator[Row]:
    with _open_text(path, None) as stream:
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


def _read_parquet(path: Path, only: Collection[str] | None) -> Iterator[Row]:
    import pyarrow
    from pyarrow import parquet  # a third of a second, and only this format needs it

    number = 0
    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            if len(set(names)) < len(names):
                raise DataError(f"{path}: two columns are called {max(names, key=names.count)!r}; give each its own name")
            classes = _class_names(file.schema_arrow.metadata or {})
            for batch in file.iter_batches(_BATCH, columns=None if only is None else list(only)):
                for values in batch.to_pylist():
                    number += 1
                    yield number, values | {name: _named(values[name], own) for name, own in classes.items() if name in values}
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise  # of the disk; pyarrow's own have none
        after = f" after row {number:,}" if number else ""
        raise DataError(f"{path}: cut off, damaged, or not Parquet{after}: {str(error).strip().splitlines()[0]}") from error


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Names of the numbered classes of a column, as the datasets library writes them beside the columns."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        items = {name: own.get("feature", own) for name, own in features.items() if isinstance(own, dict)}
        return {name: own["names"] for name, own in items.items() if own.get("_type") == "ClassLabel"}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}  # written by another library, or another version of this one: the numbers remain


def _named(value: Any, names: list[str]) -> Any:
    """A class, or a list of them, by name; None for one that has none (-1 stands for no label)."""
    if isinstance(value, list):
        return [_named(one, names) for one in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


_READERS: dict[str, Reader] = {
    ".csv": _read_separated,
    ".tsv": _read_separated,
    ".tab": _read_separated,
    ".jsonl": _read_lines,
    ".ndjson": _read_lines,
    ".json": _read_json,
    ".parquet": _read_parquet,
}
"""By the file's ending."""
