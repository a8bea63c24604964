"""Tables as sample sets: texts, paths, or images and audio clips that stand in the rows of a Parquet or Arrow file themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Generator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from zoo import cache
from zoo.config import DataConfig
from zoo.data.on_disk import Strings
from zoo.data.sets import ALL, DIGEST, Integers, Opened, SampleSet, TextSet
from zoo.data.sources.class_folders.reading import bit_depth_of, file_notices, file_set, read_files
from zoo.data.sources.source import Row, Values, bad_row
from zoo.data.sources.tables.columns import Columns
from zoo.data.sources.tables.gathering import Table, read_table
from zoo.data.sources.tables.parquet import media_of
from zoo.data.sources.tables.row_sources import read_rows
from zoo.data.targets import DTYPES, Targets
from zoo.errors import ConfigError, DataError
from zoo.types import Kind, Schema, Task

_BINARY = "binary"
"""What `media_of` says of bytes of which nobody knows what they are."""
TEXT_DIGEST = b"\x00text\x00"
"""Between the texts of a pair, so that no pair has the digest of another."""


def embedded(path: Path, columns: Columns, kind: Kind | None = None, schema: Schema | None = None) -> tuple[str, Kind] | None:
    """The column that holds the samples of a table themselves, and their kind; None where they are texts or paths.

    Args:
        columns: those that were asked for; of bytes that do not say what they are, a column has to be asked for.
        kind: what the model takes, if that is known.
        schema: what the model read.

    Raises: ConfigError if there are several; DataError.
    """
    found = media_of(path)
    kinds = {name: kind or Kind.IMAGE if said in (None, _BINARY) else Kind(said) for name, said in found.items()}
    for asked, meant in ((columns.image, Kind.IMAGE), (columns.audio, Kind.AUDIO)):
        if asked is not None:
            return (asked, meant) if asked in found else None
    if columns.text is not None or kind is Kind.TEXT:
        return None
    trained = [name for name in (schema.inputs if schema else ()) if name in found]
    guessed = trained or [name for name, said in found.items() if said != _BINARY and kind in (None, kinds[name])]
    if len(guessed) > 1:
        raise ConfigError(f"{path}: {', '.join(map(repr, guessed))} could each be meant; say --{kinds[guessed[0]]} {guessed[0]}")
    return (guessed[0], kinds[guessed[0]]) if guessed else None


def content_of(value: Any) -> bytes | None:
    """The bytes of a sample; None where the row has none."""
    found = value.get("bytes") if isinstance(value, dict) else value
    return found if isinstance(found, bytes) and found else None


class Unpacked:
    """The samples as files of a passing folder; the rows have their names in place of them.

    So they are checked, decoded and read again as all files are, and memory holds some rows at a time.
    """

    def __init__(self, column: str) -> None:
        """column: which holds them. Raises: OutputError."""
        self.column = column
        self.folder = cache.passing()

    def rows(self, path: Path, only: Collection[str] | None = None, notices: list[str] | None = None) -> Generator[Row]:
        """As `read_rows`. Raises: DataError, also where the disk is full."""
        for number, values in read_rows(path, None if only is None else [*only, self.column], notices):
            if isinstance(values, DataError) or self.column not in values:
                yield number, values
                continue
            yield number, self._put(path, number, values)

    def _put(self, path: Path, number: int, values: Values) -> Values | DataError:
        value = values[self.column]
        content = content_of(value)
        if content is None:
            return bad_row(path, number, f"{self.column} is empty")
        said = value.get("path") if isinstance(value, dict) else None
        name = f"row {number}{PurePath(said).suffix.lower() if isinstance(said, str) else ''}"
        try:
            (self.folder / name).write_bytes(content)
        except OSError as error:
            raise DataError(f"{path}: its samples cannot be unpacked into {self.folder}: {error.strerror}; make room") from error
        return values | {self.column: name}


def open_table(
    path: Path,
    options: DataConfig,
    kind: Kind | None = None,
    place: Path | None = None,
    schema: Schema | None = None,
    trainable: bool = True,
) -> Opened:
    """A table as checked samples, by split where it has a column for that.

    kind: what a model takes, where that is known: it tells paths from the texts beside them.
    place: the cache, which remembers which files were checked; None: all are.
    schema: what a model read, where there is one: its columns come before those that are guessed.
    trainable: there must be something to learn.

    Raises: DataError, ConfigError, UnknownName.
    """
    asked, root, rows = columns(options), path.parent, read_rows
    inside = embedded(path, asked, kind, schema)
    if inside is not None:
        unpacked = Unpacked(inside[0])
        asked = replace(asked, image=inside[0]) if inside[1] is Kind.IMAGE else replace(asked, audio=inside[0])
        root, rows = unpacked.folder, unpacked.rows
    table = read_table(
        path,
        asked,
        task=None if options.task == "auto" else options.task,
        kind=kind,
        schema=schema,
        max_unreadable=options.max_unreadable,
        on_disk=options.streaming,
        rows=rows,
        folder=root,
        trainable=trainable,
    )
    return from_table(table, f"table {path}", root, TextSet, options, None if inside else place, path.name)


def from_table(
    table: Table,
    description: str,
    root: Path,
    form: type[TextSet],
    options: DataConfig,
    place: Path | None = None,
    title: str | None = None,
) -> Opened:
    """Rows as checked samples, by split where they have one.

    Args:
        description: what people call the data.
        root: where paths begin.
        form: how texts are kept.
        options: how many files may be unreadable, and the bits that 16-bit images use.
        place: the cache, which remembers which files were checked; None: all are.
        title: what people call the table where a text is from; None: its split.
    """
    labels = as_targets(table)
    splits = (
        {ALL: np.arange(len(table))}
        if table.splits is None
        else {split: np.flatnonzero(table.splits == split) for split in ("train", "val", "test")}
    )
    unreadable, notices = list(table.unreadable), list(table.notices)
    parts: dict[str, SampleSet]
    bit_depth = None
    if table.kind is Kind.TEXT:
        titles = {split: title or ("train" if split == ALL else split) for split in splits}
        parts = {split: _texts(table, titles[split], labels, rows, form) for split, rows in splits.items() if len(rows)}
    else:
        names = [str(name) for name in table.inputs[0]]
        results, bad = read_files(root, names, table.kind, options.max_unreadable, place, options.bit_depth)
        bit_depth = bit_depth_of(results, options.bit_depth)
        known = {} if table.splits is None else dict(zip(names, table.splits.tolist(), strict=True))
        parts = {
            split: file_set(root, table.kind, rows, names, results, labels, bit_depth, table.groups)
            for split, rows in splits.items()
            if len(rows)
        }
        unreadable, notices = unreadable + bad, notices + file_notices(table.kind, names, results, bit_depth, known)
    return Opened(
        description=description,
        licence="unknown",
        classes=table.names,
        parts=parts,
        unreadable=unreadable,
        notices=notices,
        task=Task(table.task),
        kind=table.kind,
        bit_depth=bit_depth,
        schema=table.columns.schema,
        examined=table.kind is Kind.TEXT,
    )


def as_targets(table: Table) -> Targets:
    """The labels of a table as sample sets have them."""
    return table.labels.astype(DTYPES[Task(table.task)], copy=False)


def columns(options: DataConfig) -> Columns:
    """Which columns were asked for."""

    def names(text: str | None) -> tuple[str, ...] | None:
        return None if text is None else tuple(part.strip() for part in text.split(","))

    return Columns(
        names(options.text),
        options.image,
        options.audio,
        names(options.label),
        options.label_delimiter,
        options.split,
        options.group,
    )


def _texts(table: Table, title: str, labels: Targets, rows: Integers, form: type[TextSet]) -> TextSet:
    first, *rest = table.inputs
    second = rest[0] if rest else None
    return form(
        title=title,
        texts=first[rows],
        seconds=None if second is None else second[rows],
        numbers=table.numbers[rows],
        targets=labels[rows],
        groups=None if table.groups is None else table.groups[rows],
        digests=digests(first[rows], None if second is None else second[rows]),
    )


def digests(texts: Strings, seconds: Strings | None) -> np.ndarray:
    """`[N]`: sha256 of each text, or of each pair."""
    found = np.empty(len(texts), DIGEST)  # filled one by one: a list of a million texts in hexadecimal takes twice as much
    for place, text in enumerate(texts):
        whole = text.encode() if seconds is None else text.encode() + TEXT_DIGEST + seconds[place].encode()
        found[place] = hashlib.sha256(whole).hexdigest()
    return found
