"""The rows of Parquet and Arrow files, and of folders of Parquet: of these columns alone that are asked for, or could be.

A column that nobody reads may hold anything: dates that Python does not know, bytes that are not UTF-8, gigabytes of images.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import urllib.parse
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from natsort import natsorted

from zoo.data.notices import Notice, NoticeEntry
from zoo.data.sources.row_values import split_of
from zoo.data.sources.source import Row, Values, bad_row, flaw
from zoo.errors import DataError, first_line
from zoo.folders import is_folder, special

_BATCH = 1024
"""Rows in memory at a time."""
_FEW = 4
"""Rows in memory at a time, where they hold whole files."""
_BUFFER = 1 << 20
"""Bytes of a column that are read at a time."""
_PARQUET, _ARROW = (".parquet", ".pq"), (".arrow", ".feather")
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""What stands in the name of a folder for a column that is empty there."""

Batches = Iterator[Any]


def read_parquet(path: Path, only: Collection[str] | None, notices: list[str]) -> Iterator[Row]:
    """A Parquet file."""
    from pyarrow import parquet  # a third of a second, and only these formats need it

    def batches() -> Batches:
        with parquet.ParquetFile(path, page_checksum_verification=True, buffer_size=_BUFFER) as file:
            names = _columns(path, file.schema_arrow, only)
            yield file.schema_arrow
            for group in range(file.num_row_groups):  # pyarrow itself would hold several at once
                yield from file.iter_batches(_rows_of(file.schema_arrow, names), row_groups=[group], columns=names)

    return _rows(path, "Parquet", batches, tolerant=only is None)


def read_arrow(path: Path, only: Collection[str] | None, notices: list[str]) -> Iterator[Row]:
    """A file of Arrow's IPC format, with or without a footer; Feather is the one with."""
    import pyarrow

    def batches() -> Batches:
        with pyarrow.OSFile(str(path)) as source:
            schema = _open_arrow(source).schema
            names = _columns(path, schema, only)
            yield schema
            places = {name: place for place, name in enumerate(schema.names)}
            options = pyarrow.ipc.IpcReadOptions(included_fields=[places[name] for name in names])
            file = _open_arrow(source, options)
            if isinstance(file, pyarrow.ipc.RecordBatchFileReader):
                whole = (file.get_batch(number) for number in range(file.num_record_batches))
            else:
                whole = iter(file)
            for batch in whole:
                for column in batch.columns:
                    _as_bytes(column).validate(full=True)  # nothing of the file was checked, and a wrong offset ends the process
                size = _rows_of(schema, names)
                yield from (batch.slice(start, size) for start in range(0, batch.num_rows, size))

    return _rows(path, "Arrow", batches, tolerant=only is None)


def read_folder(path: Path, only: Collection[str] | None, notices: list[str]) -> Iterator[Row]:
    """A folder of Parquet files, in natural order of their names: parts of one table. A folder `key=value` is a column of them.

    Raises: DataError if there are none, or they are splits rather than parts.
    """
    files, others = _parts(path)
    if others:
        said, why = f"{path}: {len(others):,} files are not Parquet and ignored: ", "not Parquet, beside Parquet files"
        notices.append(Notice.naming(said, list(map(NoticeEntry, others)), what="file", why=why, done="ignored"))
    number = 0
    for file in files:
        keys = _keys(file.parent.relative_to(path))
        inside = None if only is None else [name for name in only if name not in keys]
        for _, values in read_parquet(file, inside, notices):
            number += 1
            yield number, values if isinstance(values, DataError) else values | _wanted(keys, only)


def _open_arrow(source: Any, options: Any = None) -> Any:
    """A reader from the beginning of an Arrow file: of one with a footer, or of a stream. Raises: as pyarrow."""
    from pyarrow import ipc

    source.seek(0)
    framed = source.read(6) == b"ARROW1"
    source.seek(0)
    return (ipc.open_file if framed else ipc.open_stream)(source, options=options)


def media_of(path: Path) -> dict[str, str | None]:
    """Columns that hold whole files, or their paths, as `datasets` writes images and audio: `image` or `audio` where the file says so, None
    where it does not, `binary` for bytes alone. Empty for other tables, and for what cannot be opened."""
    from pyarrow import types

    schema = _schema(path)
    if schema is None:
        return {}
    said = _features(schema.metadata or {})
    found: dict[str, str | None] = {}
    for field in schema:
        if _holds_files(field.type):
            kind = str(said.get(field.name, {}).get("_type", "")).casefold()
            found[field.name] = kind if kind in ("image", "audio") else None
        elif types.is_binary(field.type) or types.is_large_binary(field.type):
            found[field.name] = "binary"
    return found


def class_names(path: Path, column: str) -> list[str] | None:
    """Names of the numbered classes of a column, in their order, as `datasets` writes them; None where the file says nothing of them."""
    schema = _schema(path)
    return None if schema is None else _class_names(schema.metadata or {}).get(column)


def _schema(path: Path) -> Any:
    """The columns of a file, or of the first one of a folder; None of other tables, and of what cannot be opened."""
    if special(path) or not (is_folder(path) or path.name.lower().endswith((*_PARQUET, *_ARROW))):
        return None
    import pyarrow
    from pyarrow import parquet

    try:
        file = _parts(path)[0][0] if is_folder(path) else path
        if file.name.lower().endswith(_PARQUET):
            return parquet.read_schema(file)
        with pyarrow.OSFile(str(file)) as source:
            return _open_arrow(source).schema
    except (pyarrow.ArrowException, ValueError, OSError, DataError):
        return None  # whoever reads its rows says what is wrong


def _holds_files(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_struct(kind)) and {field.name for field in kind} == {"bytes", "path"} and len(kind) == 2


def _rows_of(schema: Any, names: list[str]) -> int:
    """How many rows are in memory at a time."""
    from pyarrow import types

    kinds = [schema.field(name).type for name in names]
    return _FEW if any(_holds_files(kind) or types.is_binary(kind) or types.is_large_binary(kind) for kind in kinds) else _BATCH


def is_partitioned(path: Path) -> bool:
    """Whether this is a folder that holds Parquet files, or folders `key=value`, at its top."""
    if not is_folder(path):
        return False
    try:
        with os.scandir(path) as entries:
            return any(_is_part(entry.name) or (_key(entry.name) and entry.is_dir()) for entry in entries)
    except OSError:
        return False


def _parts(path: Path) -> tuple[list[Path], list[str]]:
    """The Parquet files under a folder, and the names of the other files but for those that begin with a dot or an underscore."""
    found: list[str] = []
    others: list[str] = []
    for folder, inside, names in os.walk(path):
        inside[:] = [name for name in inside if not name.startswith((".", "_"))]
        for name in names:
            file = os.path.join(folder, name)  # noqa: PTH118
            if not name.startswith((".", "_")):
                (found if _is_part(name) and not special(file) else others).append(os.path.relpath(file, path))
    if not found:
        raise DataError(f"{path}: a folder without Parquet files; a table is a file, or a folder of .parquet files")
    splits = sorted({name for name in found if split_of(Path(name).stem.replace("_", "-").partition("-")[0])})
    if splits:
        raise DataError(f"{path}: its files are splits ({', '.join(splits[:3])}); `hf:{path}` reads them so, or name one of them")
    return [path / name for name in natsorted(sorted(found))], sorted(others)


def _is_part(name: str) -> bool:
    return name.lower().endswith(_PARQUET) and not name.startswith((".", "_"))


def _key(name: str) -> tuple[str, str | None] | None:
    """Column and value of a folder `key=value`."""
    column, sign, value = name.partition("=")
    return (column, None if value == _NO_VALUE else urllib.parse.unquote(value)) if column and sign else None


def _keys(folder: Path) -> dict[str, str | None]:
    return dict(key for name in folder.parts if (key := _key(name)))


def _wanted(keys: dict[str, str | None], only: Collection[str] | None) -> dict[str, str | None]:
    return keys if only is None else {name: value for name, value in keys.items() if name in only}


def _rows(path: Path, form: str, batches: Callable[[], Batches], *, tolerant: bool) -> Iterator[Row]:
    """The rows of the batches that stand behind a schema.

    tolerant: a value that cannot be read is None, since nobody may want it; else it makes its row a DataError.
    """
    import pyarrow

    number = 0
    try:
        found = batches()
        schema = next(found)
        classes = _class_names(schema.metadata or {})
        for batch in found:
            names = batch.schema.names
            columns = [_values(batch.column(place), classes.get(name)) for place, name in enumerate(names)]
            rows = zip(*(values for values, _ in columns)) if columns else itertools.repeat((), batch.num_rows)  # noqa: B905
            plain: Iterator[Values | DataError] = (dict(zip(names, row)) for row in rows)  # noqa: B905 - two million checks of what is so
            if any(wrong for _, wrong in columns):
                plain = itertools.starmap(functools.partial(_intact, path, tolerant), enumerate(plain, number + 1))
            yield from enumerate(plain, number + 1)
            number += batch.num_rows
    except (pyarrow.ArrowException, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise  # of the disk; pyarrow's own have none
        after = f" after row {number:,}" if number else ""
        raise DataError(f"{path}: cut off, damaged, or not {form}{after}: {first_line(error)}") from error


def _intact(path: Path, tolerant: bool, number: int, values: Any) -> Values | DataError:
    """A row of whose values some may be a DataError."""
    if tolerant:
        return {name: None if isinstance(value, DataError) else value for name, value in values.items()}
    flawed = next((f"{name}: {value}" for name, value in values.items() if isinstance(value, DataError)), None)
    return values if flawed is None else bad_row(path, number, flawed)


def _columns(path: Path, schema: Any, only: Collection[str] | None) -> list[str]:
    """The columns to read, in the file's order. Raises: DataError if one of those that are wanted is there twice."""
    counts = Counter(schema.names)
    if only is None:
        return [field.name for field in schema if counts[field.name] == 1 and _could_be_meant(field.type)]
    for name in only:
        if counts[name] > 1:
            raise DataError(f"{path}: two columns are called {name!r}; give each its own name")
    return [name for name in schema.names if name in only]


def _could_be_meant(kind: Any) -> bool:
    """Whether a column of this type can hold texts, paths or labels."""
    from pyarrow import types

    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or types.is_dictionary(kind):
        kind = kind.value_type
    plain = (types.is_string, types.is_large_string, types.is_string_view, types.is_integer, types.is_floating, types.is_boolean)
    return any(one(kind) for one in (*plain, types.is_decimal, types.is_null))


def _values(column: Any, names: list[str] | None) -> tuple[list[Any], bool]:
    """The values of a column, and whether some of them are a DataError that says why there is none.

    names: those of numbered classes, which are given in place of the numbers.
    """
    from pyarrow import compute, types

    column = column.dictionary_decode() if types.is_dictionary(column.type) else column
    text = types.is_string(column.type) or types.is_large_string(column.type)
    try:
        values = column.to_pylist()
        wrong = text and bool(compute.any(compute.match_substring(column, "\0")).as_py())
    except Exception:  # of text, ValueError; of dates, durations, time zones and structs, a dozen kinds
        values, wrong = [_one(value) for value in (_as_bytes(column) if text else column)], True
    if wrong:
        values = [DataError(reason) if isinstance(value, str) and (reason := flaw(value)) else value for value in values]
    return values if names is None else [named(value, names) for value in values], wrong


def _one(value: Any) -> Any:
    """A scalar's value, or a DataError that says why it has none; bytes of a text are decoded, others become lone surrogates."""
    try:
        found = value.as_py()
    except Exception as error:
        return DataError(f"cannot be read: {first_line(error)}")
    return found.decode(errors="surrogateescape") if isinstance(found, bytes) else found


def _as_bytes(column: Any) -> Any:
    """A column of texts as one of bytes, in which anything may stand."""
    import pyarrow

    wider = {pyarrow.string(): pyarrow.binary(), pyarrow.large_string(): pyarrow.large_binary()}
    return column.view(wider[column.type]) if column.type in wider else column


def _class_names(metadata: dict[bytes, bytes]) -> dict[str, list[str]]:
    """Names of the numbered classes of a column, as the datasets library writes them beside the columns."""
    items = {name: own.get("feature", own) for name, own in _features(metadata).items()}
    return {
        name: own["names"]
        for name, own in items.items()
        if isinstance(own, dict) and own.get("_type") == "ClassLabel" and "names" in own
    }


def _features(metadata: dict[bytes, bytes]) -> dict[str, dict[str, Any]]:
    """What the datasets library writes of columns beside them."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: own for name, own in features.items() if isinstance(own, dict)}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}  # written by another library, or another version of this one: the numbers remain


def named(value: Any, names: list[str]) -> Any:
    """A class, or a list of them, by name; None for one that has none (-1 stands for no label)."""
    if isinstance(value, list):
        return [named(one, names) for one in value]
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None
