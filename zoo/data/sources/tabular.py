"""Tables of texts, or of paths, as sample sets."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from zoo.config import DataConfig
from zoo.data.on_disk import Strings
from zoo.data.sets import DIGEST, Integers, SampleSet, Source, TextSet
from zoo.data.sources.folders import ALL
from zoo.data.sources.reading import bit_depth_of, file_notices, file_set, read_files
from zoo.data.sources.tables import Columns, Table, choose_columns, read_rows, read_table, take_inputs
from zoo.data.sources.tables_rows import bad_row
from zoo.data.targets import Targets
from zoo.errors import ConfigError, DataError
from zoo.types import Kind, Task

TEXT_DIGEST = b"\x00text\x00"
"""Between the texts of a pair, so that no pair has the digest of another."""


def open_table(path: Path, options: DataConfig, kind: Kind | None = None, place: Path | None = None) -> Source:
    """A table as checked samples, by split where it has a column for that.

    kind: what a model takes, where that is known: it tells paths from the texts beside them.
    place: the cache, which remembers which files were checked; None: all are.

    Raises: DataError, ConfigError, UnknownName.
    """
    task = None if options.task == "auto" else options.task
    table = read_table(
        path, columns(options), task=task, kind=kind, max_unreadable=options.max_unreadable, on_disk=options.streaming
    )
    labels = table.labels if table.task == "classification" else table.labels.astype(np.float32)
    splits = (
        {ALL: np.arange(len(table))}
        if table.splits is None
        else {split: np.flatnonzero(table.splits == split) for split in ("train", "val", "test")}
    )
    unreadable, notices = list(table.unreadable), list(table.notices)
    parts: dict[str, SampleSet]
    bit_depth = None
    if table.kind is Kind.TEXT:
        parts = {split: _texts(table, labels, rows) for split, rows in splits.items() if len(rows)}
    else:
        root, names = path.parent, [str(name) for name in table.inputs[0]]
        results, bad = read_files(root, names, table.kind, options.max_unreadable, place, options.bit_depth)
        bit_depth = bit_depth_of(results, options.bit_depth)
        parts = {
            split: file_set(root, table.kind, rows, names, results, labels, bit_depth)
            for split, rows in splits.items()
            if len(rows)
        }
        unreadable, notices = unreadable + bad, notices + file_notices(table.kind, names, results, bad, bit_depth)
    return Source(
        description=f"table {path}",
        licence="unknown",
        classes=table.names,
        parts=parts,
        unreadable=unreadable,
        notices=notices,
        task=Task(table.task),
        kind=table.kind,
        bit_depth=bit_depth,
        examined=table.kind is Kind.TEXT,
    )


def columns(options: DataConfig) -> Columns:
    """Which columns were asked for."""

    def names(text: str | None) -> tuple[str, ...] | None:
        return None if text is None else tuple(part.strip() for part in text.split(","))

    return Columns(
        names(options.text), options.image, options.audio, names(options.label), options.label_delimiter, options.split
    )


def open_inputs(path: Path, kind: Kind, column: str | None = None) -> Iterator[tuple[str, Any]]:
    """The inputs in a table one by one, each under its row's name: a text, a pair of texts or a path; a `DataError` in its place says why
    there is none.

    Raises: DataError, ConfigError, UnknownName, as `read_table`.
    """
    names = None if column is None else tuple(part.strip() for part in column.split(","))
    if kind is not Kind.TEXT and names is not None and len(names) > 1:
        raise ConfigError(f"--column {column}: pairs are for texts; {kind.nouns} are one column of paths")
    single = names[0] if names else None
    wanted = {Kind.TEXT: Columns(text=names), Kind.IMAGE: Columns(image=single), Kind.AUDIO: Columns(audio=single)}[kind]
    chosen = choose_columns(path, wanted, labelled=False, kind=kind)
    if chosen.kind is not kind:
        raise DataError(f"{path}: no column of {kind.nouns} is found, which the model takes; name it with --column")
    for number, values in read_rows(path, only=chosen.inputs):
        name = f"{path.name}, row {number}"
        if isinstance(values, DataError):
            yield name, values
            continue
        try:
            found = take_inputs(chosen, values, path.parent)
        except DataError as error:
            yield name, bad_row(path, number, str(error))
            continue
        yield name, str(path.parent / found[0]) if kind is not Kind.TEXT else found[0] if len(found) == 1 else found


def _texts(table: Table, labels: Targets, rows: Integers) -> TextSet:
    first, *rest = table.inputs
    second = rest[0] if rest else None
    return TextSet(
        title=table.path.name,
        texts=first[rows],
        seconds=None if second is None else second[rows],
        numbers=table.numbers[rows],
        targets=labels[rows],
        digests=digests(first[rows], None if second is None else second[rows]),
    )


def digests(texts: Strings, seconds: Strings | None) -> np.ndarray:
    """`[N]`: sha256 of each text, or of each pair."""
    found = np.empty(len(texts), DIGEST)  # filled one by one: a list of a million texts in hexadecimal takes twice as much
    for place, text in enumerate(texts):
        whole = text.encode() if seconds is None else text.encode() + TEXT_DIGEST + seconds[place].encode()
        found[place] = hashlib.sha256(whole).hexdigest()
    return found
