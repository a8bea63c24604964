"""Tables of texts, or of paths of images or audio clips, with labels: from a file to checked columns.

    zoo finetune ... --data reviews.csv                                        columns guessed where only one will do, and said
    zoo finetune ... --data reviews.csv --text body --label class
    zoo finetune ... --data birds.parquet --image path --label species
    zoo finetune ... --data toxic.csv --text comment --label insult,threat     columns of 0 and 1: multilabel

Images and audio clips are looked for, not opened.
"""

from __future__ import annotations

import contextlib
import itertools
import reprlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.notices import Notice, NoticeEntry, first
from zoo.data.on_disk import DiskStrings, Spool, Strings
from zoo.data.sources.row_values import Chosen, Label, Missing, take_group, take_inputs, take_label, take_split
from zoo.data.sources.tables.columns import Columns, choose
from zoo.data.sources.tables.labels import Codes, Targets, TaskName, Understood, check_enough, occurring, resolve, spellings
from zoo.data.sources.tables.parquet import class_names
from zoo.data.sources.tables.row_sources import FileRows, Reading, RowSource, Values, is_table, is_typed, read_rows
from zoo.errors import DataError, UnknownName
from zoo.types import Kind, Schema

__all__ = [
    "Chosen", "Columns", "Table", "choose", "choose_columns", "is_table", "read_rows", "read_table",
    "take_group", "take_inputs", "take_label", "take_split",
]  # fmt: skip

_SAMPLE = 1000
"""Rows from which columns are told,"""
_FEWEST, _CELLS = 50, 1 << 20
"""or fewer, but so many at least, where they would have more fields than this."""
_CHUNK = 8192
"""Python strings that wait to go into an array."""
_NO_CLASS = "-1"
"""What stands for no label where classes are numbered."""
_TASKS = ("classification", "multilabel", "regression")
_SPLITS = ("train", "val", "test")
_PAIRS = 3
"""Pairs of rows in a message."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """The rows of a table that can be used, in the file's order."""

    kind: Kind
    inputs: tuple[Strings, ...]
    """`[N]` texts, or paths as they stand in the file (relative to its folder, or absolute); two arrays for pairs of texts; none where
    the inputs stay where they are."""
    numbers: NDArray[np.int64]
    """`[N]`, counted as `read_rows` does: in CSV from 1 below the header, in JSON Lines by lines."""
    labels: Targets
    """Classification: `[N] int64`, indices into the names. Multilabel: `[N, C] int8`, 0 or 1. Regression: `[N, K] float64`."""
    task: TaskName
    names: tuple[str, ...]
    """Of the classes, in natural order or as they were stated; or of the columns of labels, as they were given."""
    codes: dict[Label, int]
    """The different labels; of each, its place among `meanings`."""
    meanings: Targets
    """As `labels`, a row for each different label."""
    splits: NDArray[np.str_] | None
    """`[N]`, each `train`, `val` or `test`; None where the table has no such column."""
    groups: NDArray[np.int64] | None
    """`[N]`: the number of each row's group; None where no column says it."""
    columns: Chosen
    notices: list[str]
    """What was guessed, and what is doubtful; a line each."""
    unreadable: list[str]
    """RowSource that are left out, by number, each with the reason."""

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass
class _Gathered:
    """What has been read so far. Labels are kept once each. RowSource are known by (place of their part, number)."""

    inputs: list[list[NDArray[Any]]]
    spools: list[Spool]
    """Where the inputs go instead, where they are to stay on the disk."""
    labels: dict[Label, int] = field(default_factory=dict)
    parts: bytearray = field(default_factory=bytearray)
    numbers: array[int] = field(default_factory=lambda: array("q"))
    codes: array[int] = field(default_factory=lambda: array("q"))
    splits: bytearray = field(default_factory=bytearray)
    groups: array[int] = field(default_factory=lambda: array("q"))
    group_names: dict[str, int] = field(default_factory=dict)
    unreadable: list[tuple[int, int, str]] = field(default_factory=list)
    unlabelled: dict[int, list[tuple[int, int, str]]] = field(default_factory=dict)
    """By split."""
    notices: list[str] = field(default_factory=list)
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
    rows: Reading = read_rows,
    folder: Path | None = None,
    trainable: bool = True,
) -> Table:
    """Read every row of a table file once, and check it.

    kind: what the model takes, which helps to guess; None: not known.
    schema: what the model read; its columns come before those that are guessed.
    rows: what gives the rows.
    folder: to which paths are relative; None: that of the table.

    Raises: as `gather`; ConfigError and UnknownName where the columns must be named, or named otherwise.
    """
    chosen = choose_columns(path, columns, kind=kind, schema=schema, rows=rows)
    part = FileRows(path, rows, folder or path.parent)
    return gather(
        str(path),
        [part],
        chosen,
        task=task,
        named=class_names(path, chosen.labels[0]) if len(chosen.labels) == 1 else None,
        max_unreadable=max_unreadable,
        on_disk=on_disk,
        trainable=trainable,
    )


def gather(
    place: str,
    parts: Sequence[RowSource],
    chosen: Chosen,
    *,
    task: str | None = None,
    stated: Sequence[str] | None = None,
    named: Sequence[str] | None = None,
    max_unreadable: float = 0.01,
    on_disk: bool = False,
    taken: bool = True,
    trainable: bool = True,
) -> Table:
    """Read every row of some rows once, and check it.

    A row is left out, and listed, if its text or label is empty, its file is missing, its number is none, or the file's format is
    broken there. A validation or test set without any label is left out as a whole. Texts stay as they are.

    Args:
        place: what people call the data.
        parts: the rows, each part with a split of its own, or one alone.
        task: `classification`, `multilabel` or `regression`; None: told by the labels, and said where it is regression.
        stated: see `resolve`.
        named: the same where the data name their classes and nobody else does: those that no row has are left out.
        max_unreadable: share of the rows that may be left out, 0 to 1.
        on_disk: keep texts (or paths) in a file of their own, not in memory.
        taken: False: the inputs stay where they are, and the labels alone are read.
        trainable: there must be something to learn: labels that are not all the same.

    Raises: DataError: the rows cannot be read, more must be left out (naming the first), or all labels are the same. ConfigError,
        UnknownName: the task must be named otherwise.
    """
    if task is not None and task not in _TASKS:
        raise UnknownName("task", task, _TASKS, f"(tasks: {', '.join(_TASKS)})")
    gathered = _gather(parts, chosen, on_disk, taken)
    labelled = _sort_out_unlabelled(gathered)
    _check_share(place, gathered, max_unreadable)
    labels, codes = _used(gathered, labelled)
    resolved = resolve(labels, codes, chosen.labels, task, named if stated is None else stated)
    if stated is None and named is not None:
        resolved = occurring(resolved, chosen.kind.nouns)
    numbers = np.array(gathered.numbers, np.int64)
    flawed = np.isin(codes, list(resolved.flawed)) & labelled
    for row in np.flatnonzero(flawed).tolist():
        part, number = gathered.parts[row], int(numbers[row])
        gathered.unreadable.append((part, number, str(parts[part].bad(number, resolved.flawed[int(codes[row])]))))
    gathered.unreadable.sort()
    _check_share(place, gathered, max_unreadable)
    whole = labelled.all() and not resolved.flawed
    kept = slice(None) if whole else np.flatnonzero(labelled & ~flawed)  # a slice copies nothing
    inputs: tuple[Strings, ...] = tuple(spool.done()[kept] for spool in gathered.spools)
    inputs = inputs or tuple(_join(chunks)[kept] for chunks in gathered.inputs)
    codes, numbers = codes[kept], numbers[kept]
    splits = np.frombuffer(bytes(gathered.splits), np.uint8)[kept]
    names = _Names(parts, np.frombuffer(bytes(gathered.parts), np.uint8)[kept], numbers)
    if trainable:
        check_enough(place, resolved, resolved.targets[codes])
    unreadable = [line for *_, line in gathered.unreadable]
    divided = chosen.split is not None or len(parts) > 1
    notices = [chosen.notice] if chosen.notice else []
    notices += gathered.notices + resolved.notices + _doubts(chosen.kind, inputs, labels, resolved, codes, splits, names, divided)
    groups = None if chosen.group is None else np.array(gathered.groups, np.int64)[kept]
    if groups is not None:
        notices.append(_grouped(str(chosen.group), groups))
    if unreadable:
        entries = [_left_out(parts[part], number, line) for part, number, line in gathered.unreadable]
        before = f"{len(unreadable):,} rows cannot be read and left out: "
        notices.append(Notice.naming(before, entries, what="row", why="cannot be read", done="left out"))
    return Table(
        kind=chosen.kind, inputs=inputs, numbers=numbers, labels=resolved.targets[codes], task=resolved.task, names=resolved.names,
        codes={label: code for code, label in enumerate(labels)}, meanings=resolved.targets,
        splits=np.array(_SPLITS)[splits] if divided else None, groups=groups, columns=chosen,
        notices=notices, unreadable=unreadable,
    )  # fmt: skip


def _grouped(column: str, groups: NDArray[np.int64]) -> str:
    sizes = np.unique(groups, return_counts=True)[1]
    return f"{column}: {len(sizes):,} groups, the largest of {sizes.max(initial=0):,} rows"


def choose_columns(
    path: Path,
    columns: Columns,
    *,
    labelled: bool = True,
    kind: Kind | None = None,
    schema: Schema | None = None,
    rows: Reading = read_rows,
) -> Chosen:
    """Which columns of a file are what, by its first rows. Raises: as `choose`; DataError if there are no rows, or none is whole."""
    whole, flawed = _sample(path, None, rows)
    names = list(dict.fromkeys(name for values in whole for name in values))
    unseen = [name for name in columns.asked if name not in names]
    if unseen and whole:  # of a type that nobody would guess
        whole, flawed = _sample(path, [*names, *unseen], rows)
    if flawed and not whole:
        raise flawed[0]
    return choose(path, whole, columns, labelled=labelled, kind=kind, schema=schema, header=not is_typed(path))


def _sample(path: Path, only: Sequence[str] | None, read: Reading) -> tuple[list[Values], list[DataError]]:
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


@dataclass(frozen=True)
class _Names:
    """What people call the rows that are left."""

    parts: Sequence[RowSource]
    part: NDArray[np.uint8]
    """`[N]`"""
    numbers: NDArray[np.int64]
    """`[N]`"""

    def __getitem__(self, index: int) -> str:
        return self.parts[int(self.part[index])].name(int(self.numbers[index]))


def _gather(parts: Sequence[RowSource], chosen: Chosen, on_disk: bool, taken: bool) -> _Gathered:
    """Every row, checked by itself."""
    columns = chosen.inputs if taken else ()
    gathered = _Gathered([[] for _ in columns], [Spool() for _ in columns if on_disk])
    wanted = chosen.names if taken else [name for name in chosen.names if name not in chosen.inputs]
    waiting: list[tuple[str, ...]] = []
    for place, part in enumerate(parts):
        typed, folder = part.typed, part.folder
        for number, values in part.read(wanted, gathered.notices):
            gathered.total += 1
            if isinstance(values, DataError):
                gathered.unreadable.append((place, number, str(values)))
                continue
            split = 0
            try:
                split = _SPLITS.index(part.split or (take_split(chosen, values) if chosen.split else "train"))
                inputs = take_inputs(chosen, values, folder) if taken else ()
                label = take_label(chosen, values, typed=typed)
                group = take_group(chosen, values) if chosen.group else ""
            except DataError as error:
                rows = gathered.unlabelled.setdefault(split, []) if isinstance(error, Missing) else gathered.unreadable
                rows.append((place, number, str(part.bad(number, str(error)))))
                continue
            waiting.append(inputs)
            gathered.parts.append(place)
            gathered.numbers.append(number)
            gathered.codes.append(gathered.labels.setdefault(label, len(gathered.labels)))
            gathered.splits.append(split)
            if chosen.group:
                gathered.groups.append(gathered.group_names.setdefault(group, len(gathered.group_names)))
            if len(waiting) == _CHUNK:
                _store(gathered, waiting)
    _store(gathered, waiting)
    return gathered


def _sort_out_unlabelled(gathered: _Gathered) -> NDArray[np.bool_]:
    """Which rows have labels, `[N]`: without a validation or test set that has none at all, which is left out, and said; in other sets,
    rows without one are unreadable. (Benchmarks keep the labels of their test sets: empty fields, or -1 where train has no such class.)"""
    splits, codes = np.frombuffer(bytes(gathered.splits), np.uint8), np.array(gathered.codes, np.int64)
    kept = np.ones(len(splits), bool)
    nothing = gathered.labels.get(_NO_CLASS, -1)
    if nothing >= 0 and not (codes[splits == 0] == nothing).any():
        kept = (codes != nothing) | ~np.isin(splits, [split for split in (1, 2) if (codes[splits == split] == nothing).all()])
    for split, name in enumerate(_SPLITS):
        rows, marked = gathered.unlabelled.get(split, []), int((~kept & (splits == split)).sum())
        if split and (rows or marked) and not (kept & (splits == split)).any():
            why = f"none of its {len(rows) + marked:,} rows has a label"
            said = f"{name} is left out: {why}"
            gathered.notices.append(Notice.of(said, [NoticeEntry(name, split=name)], what="set", why=why, done="left out"))
            gathered.total -= len(rows)
        else:
            gathered.unreadable += rows
    gathered.unreadable.sort()
    return kept


def _used(gathered: _Gathered, labelled: NDArray[np.bool_]) -> tuple[list[Label], Codes]:
    """The different labels of the rows that have one, and `[N]` which of them each row has (any, where it has none)."""
    labels, codes = list(gathered.labels), np.array(gathered.codes, np.int64)
    if labelled.all():
        return labels, codes
    used = np.unique(codes[labelled])
    return [labels[code] for code in used.tolist()], np.searchsorted(used, codes).clip(max=len(used) - 1)


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


def _check_share(place: str, gathered: _Gathered, max_unreadable: float) -> None:
    lines = [line for *_, line in gathered.unreadable]
    if len(lines) > max_unreadable * gathered.total:
        share = f"{len(lines):,} of {gathered.total:,} rows cannot be read, more than --max-unreadable {max_unreadable:.2%}"
        raise DataError(f"{place}: {share}: {first(lines)}")
    if len(lines) == gathered.total:
        raise DataError(f"{place}: no row can be read: {first(lines)}")


def _doubts(
    kind: Kind,
    inputs: tuple[Strings, ...],
    labels: list[Label],
    resolved: Understood,
    codes: Codes,
    splits: NDArray[np.uint8],
    names: _Names,
    divided: bool,
) -> list[str]:
    """Labels of two spellings, rows that repeat others, and inputs with several labels."""
    used = [labels[code] for code in np.unique(codes).tolist()] if resolved.task != "regression" else []
    notices = [
        f"labels {one!r} and {other!r} differ in case or spaces alone; give them one spelling if they are one"
        for one, other in spellings(used)
    ]
    if not inputs:
        return notices
    same = np.unique(resolved.targets, axis=0, return_inverse=True)[1].reshape(-1)[codes]
    groups = _number_groups(inputs) * len(_SPLITS) + splits  # those of two splits are leaks, and told as such
    repeated, contradicting = _twins(groups, same)
    if repeated:
        why = "repeats an earlier one with the same label"
        said = f"{len(repeated):,} rows repeat an earlier one with the same label: "
        pairs = _Pairs(names, [(late, early) for early, late in repeated], splits, divided)
        notices.append(Notice.naming(said, pairs, what="row", why=why, done="kept", shown=_PAIRS))
    if contradicting:
        why = f"the {kind.nouns} of another row, with another label"
        said = f"{len(contradicting):,} rows repeat the {kind.nouns} of an earlier one with another label: "
        pairs = _Pairs(names, contradicting, splits, divided, (labels, codes))
        notices.append(Notice.naming(said, pairs, what="row", why=why, done="kept", shown=_PAIRS))
    return notices


@dataclass(frozen=True)
class _Pairs:
    """Entries of rows that are equal to another, made as they are gone through: there may be as many as rows."""

    names: _Names
    pairs: list[tuple[int, int]]
    """Places of a row, and of the other."""
    splits: NDArray[np.uint8]
    """Of each row, its place among the names of splits."""
    divided: bool
    """Whether there are splits."""
    labels: tuple[list[Label], Codes] | None = None
    """The different ones, and which of them each row has; None: they are not told."""

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[NoticeEntry]:
        return (self._entry(*pair) for pair in self.pairs)

    def _entry(self, row: int, other: int) -> NoticeEntry:
        split = _SPLITS[self.splits[row]] if self.divided else ""
        return NoticeEntry(self.names[row], f"{self._label(row)} = {self.names[other]}{self._label(other)}", split)

    def _label(self, row: int) -> str:
        if self.labels is None:
            return ""
        label = self.labels[0][self.labels[1][row]]
        return f" ({reprlib.repr(label if isinstance(label, str) else ', '.join(map(str, label)))})"


def _left_out(part: RowSource, number: int, line: str) -> NoticeEntry:
    """A row by its name, and what its line says beside that."""
    before = str(part.bad(number, ""))  # `reviews.csv, row 17:`
    return NoticeEntry(before.removesuffix(":"), f": {line.removeprefix(before).lstrip()}", part.split or "")


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
