"""Tables of texts, or of paths of pictures or recordings, with labels: from a file to checked columns.

    zoo finetune ... --data reviews.csv                                        columns guessed where only one will do, and said
    zoo finetune ... --data reviews.csv --text body --label class
    zoo finetune ... --data birds.parquet --image path --label species
    zoo finetune ... --data toxic.csv --text comment --label insult,threat     columns of 0 and 1: multilabel

Pictures and recordings are looked for, not opened.
"""

from __future__ import annotations

import contextlib
import itertools
import reprlib
from array import array
from collections.abc import Callable, Collection, Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.on_disk import DiskStrings, Spool, Strings
from zoo.data.sources.tables_columns import Columns, choose
from zoo.data.sources.tables_labels import Codes, Resolved, Targets, TaskName, check_enough, resolve, spellings
from zoo.data.sources.tables_rows import Row, Values, bad_row, is_table, read_rows
from zoo.data.sources.tables_values import Chosen, Label, take_inputs, take_label, take_split
from zoo.errors import DataError, UnknownName
from zoo.types import Kind, Schema

__all__ = [
    "Chosen", "Columns", "Table", "choose", "choose_columns", "is_table", "read_rows", "read_table",
    "take_inputs", "take_label", "take_split",
]  # fmt: skip

Rows = Callable[[Path, Collection[str] | None, list[str] | None], Generator[Row]]
"""What gives the rows of a file, as `read_rows` does."""

_SAMPLE = 1000
"""Rows from which columns are told,"""
_FEWEST, _CELLS = 50, 1 << 20
"""or fewer, but so many at least, where they would have more fields than this."""
_CHUNK = 8192
"""Python strings that wait to go into an array."""
_TASKS = ("classification", "multilabel", "regression")
_SPLITS = ("train", "val", "test")
_SHOWN, _PAIRS = 5, 3
"""Rows, and pairs of rows, in a message."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of a table that can be used, in the file's order."""

    path: Path
    kind: Kind
    inputs: tuple[Strings, ...]
    """`[N]` texts, or paths as they stand in the file (relative to its folder, or absolute); two arrays for pairs of texts."""
    numbers: NDArray[np.int64]
    """`[N]`, counted as `read_rows` does: in CSV from 1 below the header, in JSON Lines by lines."""
    labels: Targets
    """Classification: `[N] int64`, indices into the names. Multilabel: `[N, C] int8`, 0 or 1. Regression: `[N, K] float64`."""
    task: TaskName
    names: tuple[str, ...]
    """Of the classes, in natural order; or of the columns of labels, as they were given."""
    splits: NDArray[np.str_] | None
    """`[N]`, each `train`, `val` or `test`; None where the table has no such column."""
    columns: Chosen
    notices: list[str]
    """What was guessed, and what is doubtful; a line each."""
    unreadable: list[str]
    """Rows that are left out, by number, each with the reason."""

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass
class _Gathered:
    """What has been read so far. Labels are kept once each."""

    inputs: list[list[NDArray[Any]]]
    spools: list[Spool]
    """Where the inputs go instead, where they are to stay on the disk."""
    labels: dict[Label, int] = field(default_factory=dict)
    numbers: array[int] = field(default_factory=lambda: array("q"))
    codes: array[int] = field(default_factory=lambda: array("q"))
    splits: bytearray = field(default_factory=bytearray)
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    """What there is to say of the file as a whole."""
    total: int = 0


def read_table(
    path: Path,
    columns: Columns,
    *,
    task: str | None = None,
    kind: Kind | None = None,
    schema: Schema | None = None,
    max_unreadable: float = 0.01,
    on_disk: bool = False,
    rows: Rows = read_rows,
    folder: Path | None = None,
) -> Table:
    """Read every row of a table once, and check it.

    A row is left out, and listed, if its text or label is empty, its file is missing, its number is none, or the file's format is
    broken there. Labels are brought into Unicode's NFC and lose the white space around them; texts stay as they are.

    Args:
        task: `classification`, `multilabel` or `regression`; None: told by the labels, and said where it is regression.
        kind: what the model takes, which helps to guess; None: not known.
        schema: what the model read; its columns come before those that are guessed.
        max_unreadable: share of the rows that may be left out, 0 to 1.
        on_disk: keep texts (or paths) in a file of their own, not in memory.
        rows: what gives the rows.
        folder: to which paths are relative; None: that of the table.

    Raises: DataError: the file cannot be read, more rows must be left out (naming the first), or all labels are the same.
        ConfigError and UnknownName: the columns or the task must be named, or named otherwise.
    """
    if task is not None and task not in _TASKS:
        raise UnknownName("task", task, _TASKS, f"(tasks: {', '.join(_TASKS)})")
    chosen = choose_columns(path, columns, kind=kind, schema=schema, rows=rows)
    gathered = _gather(path, chosen, on_disk, rows, path.parent if folder is None else folder)
    _check_share(path, gathered, max_unreadable)
    codes = np.array(gathered.codes, np.int64)
    resolved = resolve(list(gathered.labels), codes, chosen.labels, task)
    numbers = np.array(gathered.numbers, np.int64)
    flawed = np.isin(codes, list(resolved.flawed))
    for number, code in zip(numbers[flawed].tolist(), codes[flawed].tolist(), strict=True):
        gathered.unreadable.append((number, str(bad_row(path, number, resolved.flawed[code]))))
    gathered.unreadable.sort()
    _check_share(path, gathered, max_unreadable)
    sound = np.flatnonzero(~flawed) if resolved.flawed else slice(None)  # a slice copies nothing
    inputs: tuple[Strings, ...] = tuple(spool.done()[sound] for spool in gathered.spools)
    inputs = inputs or tuple(_join(chunks)[sound] for chunks in gathered.inputs)
    codes, numbers = codes[sound], numbers[sound]
    check_enough(str(path), resolved, resolved.targets[codes])
    unreadable = [line for _, line in gathered.unreadable]
    notices = [chosen.notice] if chosen.notice else []
    notices += gathered.notices + resolved.notices + _doubts(chosen.kind, inputs, list(gathered.labels), resolved, codes, numbers)
    if unreadable:
        notices.append(f"{len(unreadable):,} rows cannot be read and left out: {_first(unreadable)}")
    splits = np.array(_SPLITS)[np.frombuffer(bytes(gathered.splits), np.uint8)[sound]] if chosen.split else None
    return Table(
        path=path, kind=chosen.kind, inputs=inputs, numbers=numbers, labels=resolved.targets[codes], task=resolved.task,
        names=resolved.names, splits=splits, columns=chosen, notices=notices, unreadable=unreadable,
    )  # fmt: skip


def choose_columns(
    path: Path,
    columns: Columns,
    *,
    labelled: bool = True,
    kind: Kind | None = None,
    schema: Schema | None = None,
    rows: Rows = read_rows,
) -> Chosen:
    """Which columns of a file are what, by its first rows. Raises: as `choose`; DataError if there are no rows, or none is whole."""
    whole, flawed = _sample(path, None, rows)
    names = list(dict.fromkeys(name for values in whole for name in values))
    unseen = [name for name in columns.asked if name not in names]
    if unseen and whole:  # of a type that nobody would guess
        whole, flawed = _sample(path, [*names, *unseen], rows)
    if flawed and not whole:
        raise flawed[0]
    return choose(path, whole, columns, labelled=labelled, kind=kind, schema=schema)


def _sample(path: Path, only: Sequence[str] | None, read: Rows) -> tuple[list[Values], list[DataError]]:
    """The first rows, and why some of them cannot be read."""
    whole: list[Values] = []
    flawed: list[DataError] = []
    with contextlib.closing(read(path, only, None)) as rows:
        for _, values in itertools.islice(rows, _SAMPLE):
            if isinstance(values, DataError):
                flawed.append(values)
                continue
            whole.append(values)
            if len(whole) >= _FEWEST and len(whole) * len(values) > _CELLS:
                break
    return whole, flawed


def _gather(path: Path, chosen: Chosen, on_disk: bool, rows: Rows, folder: Path) -> _Gathered:
    """Every row, checked by itself."""
    gathered = _Gathered([[] for _ in chosen.inputs], [Spool() for _ in chosen.inputs if on_disk])
    waiting: list[tuple[str, ...]] = []
    for number, values in rows(path, chosen.names, gathered.notices):
        gathered.total += 1
        if isinstance(values, DataError):
            gathered.unreadable.append((number, str(values)))
            continue
        try:
            label = take_label(chosen, values)
            split = _SPLITS.index(take_split(chosen, values)) if chosen.split else 0
            inputs = take_inputs(chosen, values, folder)
        except DataError as error:
            gathered.unreadable.append((number, str(bad_row(path, number, str(error)))))
            continue
        waiting.append(inputs)
        gathered.numbers.append(number)
        gathered.codes.append(gathered.labels.setdefault(label, len(gathered.labels)))
        gathered.splits.append(split)
        if len(waiting) == _CHUNK:
            _store(gathered, waiting)
    _store(gathered, waiting)
    return gathered


def _store(gathered: _Gathered, waiting: list[tuple[str, ...]]) -> None:
    """Move the strings that wait into arrays, or onto the disk."""
    for index, chunks in enumerate(gathered.inputs):
        if gathered.spools:
            gathered.spools[index].add(row[index] for row in waiting)
        else:
            chunks.append(np.array([row[index] for row in waiting], np.dtypes.StringDType()))
    waiting.clear()


def _join(chunks: list[NDArray[Any]]) -> NDArray[Any]:
    """All of them in one array; the chunks are let go."""
    joined = np.concatenate(chunks)
    chunks.clear()
    return joined


def _check_share(path: Path, gathered: _Gathered, max_unreadable: float) -> None:
    lines = [line for _, line in gathered.unreadable]
    if len(lines) > max_unreadable * gathered.total:
        share = f"{len(lines):,} of {gathered.total:,} rows cannot be read, more than --max-unreadable {max_unreadable:.2%}"
        raise DataError(f"{path}: {share}: {_first(lines)}")
    if len(lines) == gathered.total:
        raise DataError(f"{path}: no row can be read: {_first(lines)}")


def _doubts(
    kind: Kind, inputs: tuple[Strings, ...], labels: list[Label], resolved: Resolved, codes: Codes, numbers: NDArray[np.int64]
) -> list[str]:
    """Labels of two spellings, rows that repeat others, and inputs with several labels."""
    used = [labels[code] for code in np.unique(codes).tolist()] if resolved.task != "regression" else []
    notices = [
        f"labels {first!r} and {second!r} differ in case or spaces alone; give them one spelling if they are one"
        for first, second in spellings(used)
    ]
    same = np.unique(resolved.targets, axis=0, return_inverse=True)[1].reshape(-1)[codes]
    groups = _number_groups(inputs)
    repeated, contradicting = _twins(groups, same)
    if repeated:
        shown = "; ".join(f"row {numbers[late]:,} = row {numbers[early]:,}" for early, late in repeated[:_PAIRS])
        notices.append(f"{len(repeated):,} rows repeat an earlier one with the same label: {shown}")
    if contradicting:

        def name(index: int) -> str:
            label = labels[codes[index]]
            return f"row {numbers[index]:,} ({reprlib.repr(label if isinstance(label, str) else ', '.join(label))})"

        shown = "; ".join(f"{name(early)} = {name(late)}" for early, late in contradicting[:_PAIRS])
        notices.append(f"{len(contradicting):,} rows repeat the {kind.nouns} of an earlier one with another label: {shown}")
    return notices


def _number_groups(inputs: tuple[Strings, ...]) -> Codes:
    """`[N]`, the same number for equal inputs."""
    keys = [texts.hashes() if isinstance(texts, DiskStrings) else texts for texts in inputs]
    groups = np.unique(keys[0], return_inverse=True)[1]
    for more in keys[1:]:
        others = np.unique(more, return_inverse=True)[1]
        groups = np.unique(groups * (int(others.max()) + 1) + others, return_inverse=True)[1]
    return groups.astype(np.int64)


def _twins(groups: Codes, labels: Codes) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pairs (first row of its inputs and label, row), and (first row of its inputs, row of another label that comes first with it)."""
    _, first_of_group, group = np.unique(groups, return_index=True, return_inverse=True)
    pairs = groups * (int(labels.max()) + 1) + labels
    _, first_of_pair, pair = np.unique(pairs, return_index=True, return_inverse=True)
    rows = np.arange(len(groups))
    repeated = np.flatnonzero(first_of_pair[pair] < rows)
    leading = first_of_pair[pair] == rows
    contradicting = np.flatnonzero(leading & (first_of_group[group] < rows))
    return (
        list(zip(first_of_pair[pair][repeated].tolist(), repeated.tolist(), strict=True)),
        list(zip(first_of_group[group][contradicting].tolist(), contradicting.tolist(), strict=True)),
    )


def _first(lines: Sequence[str]) -> str:
    return "; ".join(lines[:_SHOWN]) + ("; ..." if len(lines) > _SHOWN else "")
