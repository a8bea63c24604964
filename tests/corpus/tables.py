"""Tables: ours against pandas, Polars and Python's `json`, cell by cell.

A file is equal where any of them agrees on the names of the columns, the number of rows and every cell; of text formats, cells are compared
as they stand. Readers are told the delimiter and the quoting that ours found, since they would guess others.
"""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.data.sources.tables.row_sources import is_table, read_rows
from zoo.data.sources.tables.text_files import _HEAD, _dialect, open_text
from zoo.errors import DataError

SOURCES = (
    ("csvkit", "python"),
    ("agate", "python"),
    ("fastparquet", "python"),
    ("visidata", "python"),
    ("petl", "python"),
    ("clevercsv", "python"),
    ("tablib", "python"),
    ("frictionless", "python"),
    ("pandas", "debian"),
    ("miller", "debian"),
    ("r-cran-data.table", "debian"),
    ("q-text-as-data", "debian"),
    ("libtext-csv-perl", "debian"),
)
FORMATS = {
    ".csv": "CSV", ".tsv": "TSV", ".tab": "TSV", ".jsonl": "JSON Lines", ".ndjson": "JSON Lines", ".json": "JSON", ".parquet": "Parquet",
    ".pq": "Parquet", ".arrow": "Arrow", ".feather": "Arrow", ".gz": "compressed", ".bz2": "compressed", ".xz": "compressed",
    ".zst": "compressed",
}  # fmt: skip
_LARGEST = 1 << 26
"""Bytes of a file that is compared."""

Table = list[dict[str, Any]]


def claims(path: Path) -> bool:
    """Whether the file is a table by its name, and not too large to be compared."""
    return is_table(path) and path.stat().st_size <= _LARGEST


def check(path: Path) -> tuple[str, str]:
    """Ours against each reader that can read the file."""
    try:
        rows = list(read_rows(path))
    except DataError as error:
        return "refused", str(error).removeprefix(f"{path}: ")
    flawed = [one for _, one in rows if isinstance(one, DataError)]
    if flawed:
        return "refused", f"{len(flawed):,} of {len(rows):,} rows, by number: {flawed[0]}"
    ours = [one for _, one in rows if not isinstance(one, DataError)]
    differences = []
    for name, read in readers(path).items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = read(path)
        except Exception:  # a library's own, of any kind
            continue
        difference = compare(ours, theirs)
        if not difference:
            return "equal", name
        differences.append(f"{name}: {difference}")
    return ("wrong", "; ".join(differences)) if differences else ("no reader", "")


def compare(ours: Table, theirs: Table) -> str:
    """What is different; nothing if they are alike."""
    if len(ours) != len(theirs):
        return f"{len(theirs):,} rows, ours {len(ours):,}"
    for number, (mine, other) in enumerate(zip(ours, theirs, strict=True), 1):
        for name, value in mine.items():
            if name not in other:
                return f"row {number:,} has the columns {list(other)[:9]}, ours {list(mine)[:9]}"
            if not same(value, other[name]):
                return f"row {number:,}, {name}: {str(other[name])[:80]!r}, ours {str(value)[:80]!r}"
    return ""


def same(one: Any, other: Any) -> bool:
    """Whether two values mean the same, in any depth: NaN, nothing and an absent key are one."""
    if one is None or other is None:
        return _nothing(one) and _nothing(other)
    if isinstance(one, dict) and isinstance(other, dict):
        return all(same(one.get(name), other.get(name)) for name in {*one, *other})
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-12) or (math.isnan(one) and math.isnan(other))
    return bool(one == other)


def _nothing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def readers(path: Path) -> dict[str, Callable[[Path], Table]]:
    kinds = [suffix.lower() for suffix in path.suffixes[-2:]]
    if {".csv", ".tsv", ".tab"} & set(kinds):
        return {"pandas": pandas_separated, "Polars": polars_separated}
    if {".jsonl", ".ndjson"} & set(kinds):
        return {"json": standard_lines, "Polars": polars_lines}
    if ".json" in kinds:
        return {"json": lambda file: list(json.loads(content(file))), "pandas": pandas_json}
    return {"Polars": polars_parquet if {".parquet", ".pq"} & set(kinds) else polars_arrow}


def content(path: Path) -> str:
    """The text of a file; by ours, which unpacks and decodes it: what is compared is the grammar."""
    with open_text(path, "") as stream:
        return stream.read()


def dialect(path: Path) -> tuple[str, int]:
    with open_text(path, "") as stream:
        return _dialect(path, stream.readlines(_HEAD))


def named(table: Table) -> Table:
    """Column names as ours gives them: without white space around them, and columns without a name left out."""
    return [{str(name).strip(): value for name, value in row.items() if name and str(name).strip()} for row in table]


def pandas_separated(path: Path) -> Table:
    import pandas

    delimiter, quoting = dialect(path)
    options: dict[str, Any] = {"sep": delimiter, "quoting": quoting, "dtype": str, "keep_default_na": False, "index_col": False}
    frame = pandas.read_csv(io.StringIO(content(path)), **options)
    return named([dict(zip(frame.columns, row, strict=True)) for row in frame.itertuples(index=False, name=None)])


def polars_separated(path: Path) -> Table:
    import polars

    delimiter, quoting = dialect(path)
    mark = None if quoting == csv.QUOTE_NONE else '"'
    text = content(path).encode()
    frame = polars.read_csv(text, separator=delimiter, quote_char=mark, infer_schema=False, missing_utf8_is_empty_string=True)
    return named(frame.to_dicts())


def standard_lines(path: Path) -> Table:
    return [json.loads(line) for line in content(path).split("\n") if line.strip()]


def polars_lines(path: Path) -> Table:
    import polars

    return polars.read_ndjson(content(path).encode()).to_dicts()


def pandas_json(path: Path) -> Table:
    import pandas

    rows: Table = pandas.read_json(io.StringIO(content(path)), orient="records", dtype=False, convert_dates=False).to_dict(
        "records"
    )
    return rows


def polars_parquet(path: Path) -> Table:
    import polars

    return polars.read_parquet(path).to_dicts()


def polars_arrow(path: Path) -> Table:
    import polars

    with path.open("rb") as file:
        framed = file.read(6) == b"ARROW1"
    return (polars.read_ipc(path, memory_map=False) if framed else polars.read_ipc_stream(path)).to_dicts()
