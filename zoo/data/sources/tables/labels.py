"""What the labels of some data mean: the task, the names of the outputs, and an array of targets.

Works on the different labels and on which of them each row has, so that a million rows of ten classes are ten labels.
"""

from __future__ import annotations

import itertools
import math
import re
import reprlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from zoo.data.notices import Notice, NoticeEntry
from zoo.data.sources.row_values import Label, spell, written
from zoo.errors import ConfigError, DataError, nearest
from zoo.types import Labels

TaskName = Literal["classification", "multilabel", "regression"]
Codes = NDArray[np.int64]
Targets = NDArray[np.int64] | NDArray[np.int8] | NDArray[np.float64]

_MEASURED = 20
"""Whole numbers are taken as measured, not as classes, if there are more different ones than this, and than half the rows."""
_MOSTLY = 0.9
"""Share of rows whose labels are numbers from which the others are mistakes."""
_FLAGS = {"0": 0, "1": 1, "false": 0, "true": 1}
_LARGEST = 1e100
"""Of a value to predict, in size: squares of such numbers, and sums of these, are far from the end of float64."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)


@dataclass(frozen=True)
class Understood:
    """What was decided of the different labels."""

    task: TaskName
    names: tuple[str, ...]
    """Class names in natural order, or as they were stated; or the columns as they were given."""
    targets: Targets
    """A row for each different label: `[D] int64` indices into the names, `[D, C] int8` 0 or 1, or `[D, K] float64`."""
    flawed: dict[int, str] = field(default_factory=dict)
    """Different labels that cannot be used, by their position, and why."""
    notices: list[str] = field(default_factory=list)


def resolve(
    labels: Sequence[Label], codes: Codes, columns: tuple[str, ...], task: str | None, stated: Sequence[str] | None = None
) -> Understood:
    """Decide the task, or hold the data against the one that is asked for.

    Args:
        labels: the different labels, `[D]`.
        codes: `[N]`, which of them each row has.
        columns: where they come from; with several, each label is a tuple with one value from each.
        task: None: inferred. Several columns are multilabel if all are 0 and 1, else regression; lists of names and delimited fields
            are multilabel; numbers of which any is not whole are regression, and so are whole ones that hardly repeat; all else is
            classification. Lists of numbers: see `_from_vectors`.
        stated: names of the outputs, in their order: those that labels are, or those of labels that are numbers from 0; None: the
            names that occur.

    Raises: ConfigError: the labels cannot be of this task. DataError: one is not among the names that are stated.
    """
    stated = None if stated is None else [written(name) for name in stated]
    shares = np.bincount(codes, minlength=len(labels)) / max(len(codes), 1)
    if len(columns) > 1:
        return _from_columns(labels, shares, columns, task)
    if any(isinstance(one, tuple) for one in labels):
        vectors = [tuple(value for value in one if not isinstance(value, str)) for one in labels if isinstance(one, tuple)]
        if any(vectors) and list(map(len, vectors)) == list(map(len, labels)) and not any(isinstance(one, str) for one in labels):
            return _from_vectors(vectors, codes, columns[0], task, stated)
        lists = [one if isinstance(one, tuple) else (one,) for one in labels]
        return _from_lists(lists, codes, columns[0], task, stated)
    texts = [one for one in labels if isinstance(one, str)]
    if task == "multilabel":
        reason = "multilabel takes several columns of 0 and 1 (--label a,b,c), lists, or a --label-delimiter"
        raise ConfigError(f"--label {columns[0]} --task multilabel: each row has one label; {reason}")
    if task is None:
        task, notices = _infer(texts, shares, columns[0], len(codes))
    else:
        notices = []
    if task == "regression":
        return _numbers([(one,) for one in texts], tuple(stated or columns), notices)
    return _classes(texts, columns[0], len(codes), notices, stated)


def _infer(texts: list[str], shares: NDArray[np.float64], column: str, rows: int) -> tuple[str, list[str]]:
    """Classification or regression, and what to say of it."""
    numeric = np.array([_NUMBER.fullmatch(one) is not None or _COMMA.fullmatch(one) is not None for one in texts], bool)
    if shares[numeric].sum() < _MOSTLY:
        return "classification", []
    found = [_number(one) for one, is_number in zip(texts, numeric, strict=True) if is_number]
    measured = any(value is None or not value.is_integer() for value in found)
    if measured or (len(found) > _MEASURED and 2 * len(found) > rows):
        return "regression", [f"{column} holds numbers: regression (--task classification takes them as classes)"]
    if len(found) > _MEASURED:
        text = f"the {len(found):,} whole numbers of {column} are taken as classes (--task regression takes them as numbers)"
        return "classification", [text]
    return "classification", []


def _classes(texts: list[str], column: str, rows: int, notices: list[str], stated: Sequence[str] | None) -> Understood:
    if {one.casefold() for one in texts} <= {"false", "true"}:  # as Python, R and JSON write them
        texts = [one.capitalize() for one in texts]
    names, place = _places(texts, stated, column)
    if stated is not None:
        return Understood("classification", names, np.array([place[one] for one in texts], np.int64), {}, notices)
    if len(names) > _MEASURED and 2 * len(names) > rows:
        notices.append(f"{column} has {len(names):,} classes in {rows:,} rows; is it the column of labels?")
    for mark in ("|", ";"):
        if sum(mark in name for name in names) * 2 > len(names):
            notices.append(
                f"labels such as {reprlib.repr(names[0])} seem to be several in one; --label-delimiter '{mark}' takes them so"
            )
    nobody = [name for name in names if name.casefold() in ("none", "na")]
    if nobody:
        notices.append(f"the label {nobody[0]!r} is taken as a class; leave the field empty where there is no label")
    return Understood("classification", names, np.array([place[one] for one in texts], np.int64), {}, notices)


def _places(used: Iterable[str], stated: Sequence[str] | None, column: str) -> tuple[tuple[str, ...], dict[str, int]]:
    """Names of the outputs, and which of them each label means. Raises: DataError for one that is not among the stated."""
    found = Labels.sort(used).names
    names = found if stated is None else tuple(stated)
    place = {name: index for index, name in enumerate(names)}
    unknown = [name for name in found if name not in place]
    if unknown and all(name.isdecimal() for name in found):  # numbers of the names, from 0
        place = {str(index): index for index in range(len(names))}
        unknown = [name for name in found if name not in place]
    if unknown and len(names) == 2 and set(found) <= {"False", "True"}:
        place, unknown = {"False": 0, "True": 1}, []
    if unknown:
        similar = nearest(unknown[0], names, 1)
        hint = f"; did you mean {similar[0]!r}?" if similar else ""
        raise DataError(f"{column} is {reprlib.repr(unknown[0])}, which is not one of the {len(names)} class names{hint}")
    return names, place


def _from_vectors(
    labels: list[tuple[float, ...]], codes: Codes, column: str, task: str | None, stated: Sequence[str] | None
) -> Understood:
    """Lists of numbers. One number in each is that number; 0 and 1, as many in each, say which of so many labels hold; numbers that are
    not whole, as many in each, are values; whole numbers, not as many in each, are labels by number.

    Raises: ConfigError where it can only be said by a task: as many whole numbers in each, not all 0 and 1; and as `resolve`.
    """
    widths = np.array([len(one) for one in labels])
    width = int(np.bincount(widths[codes]).argmax())
    whole = all(float(value).is_integer() for one in labels for value in one)
    if (widths == 1).all() and task != "multilabel":
        single = resolve([spell(one[0]) for one in labels], codes, (column,), task, stated)
        return replace(single, notices=[f"{column} has the shape [N, 1]: one label a sample", *single.notices])
    if task == "classification":
        raise ConfigError(f"task {task}: {column} has several numbers a sample (its shape is [N, {width}]); give one")
    numbered = whole and (task == "multilabel" or (task is None and (widths != width).any()))
    if all(value in (0, 1) for one in labels for value in one) and (widths == width).all() and task != "regression":
        names = tuple(map(str, range(width) if stated is None else stated))
        _check_width(column, width, names)
        return Understood("multilabel", names, np.array(labels, np.int8))
    if numbered:
        return _from_lists([tuple(map(spell, one)) for one in labels], codes, column, task, stated)
    if task == "multilabel" or (task is None and whole):
        raise ConfigError(
            f"{column} holds {width} numbers in each row: are they labels by number, or values? Say --task multilabel or regression"
        )
    names = tuple(map(str, range(width) if stated is None else stated))
    _check_width(column, width, names)
    targets = np.array([one if len(one) == width else (0.0,) * width for one in labels], np.float64)
    flawed = {row: f"{column} holds {len(one)} numbers, most rows {width}" for row, one in enumerate(labels) if len(one) != width}
    said = f"{column} holds {width} numbers a sample: regression with {width} outputs"
    return Understood("regression", names, targets, flawed, [] if task else [said])


def _check_width(column: str, width: int, names: Sequence[str]) -> None:
    if len(names) != width:
        raise ConfigError(f"{column} holds {width} numbers a sample, and there are {len(names)} names; give one for each")


def _from_lists(
    labels: list[tuple[Any, ...]], codes: Codes, column: str, task: str | None, stated: Sequence[str] | None
) -> Understood:
    if task not in (None, "multilabel"):
        raise ConfigError(f"--label {column} --task {task}: rows have several labels each; that is multilabel")
    labels = [tuple(map(spell, one)) for one in labels]
    names, place = _places(itertools.chain.from_iterable(labels), stated, column)
    targets = np.zeros((len(labels), len(names)), np.int8)
    for row, own in enumerate(labels):
        targets[row, [place[name] for name in own]] = 1
    bare = sum(int((codes == row).sum()) for row, own in enumerate(labels) if not own)
    notices = [f"{column} is empty in {bare:,} rows: taken as none of the labels"] if bare else []
    flawed = {row: f"{column} has a label twice" for row, own in enumerate(labels) if len(set(own)) < len(own)}
    return Understood("multilabel", names, targets, flawed, notices)


def _from_columns(labels: Sequence[Any], shares: NDArray[np.float64], columns: tuple[str, ...], task: str | None) -> Understood:
    if task == "classification":
        raise ConfigError(f"--label {','.join(columns)} --task classification: several columns are multilabel or regression")
    flags = np.array([all(one.casefold() in _FLAGS for one in own) for own in labels], bool)
    if task == "regression" or (task is None and shares[flags].sum() < _MOSTLY):
        said = f"{', '.join(columns)} hold numbers: regression with {len(columns)} outputs (--task multilabel takes 0 and 1)"
        return _numbers(labels, columns, [] if task else [said])
    targets, flawed = _convert(labels, columns, lambda text: _FLAGS.get(text.casefold()), "0 or 1")
    return Understood("multilabel", columns, targets.astype(np.int8), flawed)


def _numbers(labels: Sequence[tuple[str, ...]], columns: tuple[str, ...], notices: list[str]) -> Understood:
    targets, flawed = _convert(labels, columns, _number, "a number")
    return Understood("regression", columns, targets, flawed, notices)


def _convert(
    labels: Sequence[tuple[str, ...]], columns: tuple[str, ...], read: Callable[[str], float | None], expected: str
) -> tuple[NDArray[np.float64], dict[int, str]]:
    """`[D, K]`, and why a label that has no value has none (its row is 0)."""
    targets = np.zeros((len(labels), len(columns)))
    flawed: dict[int, str] = {}
    for row, own in enumerate(labels):
        values = [read(text) for text in own]
        if None in values:
            index = values.index(None)
            hint = " (a decimal comma? write a point)" if _COMMA.fullmatch(own[index]) else ""
            flawed[row] = f"{columns[index]} is {reprlib.repr(own[index])}, expected {expected}{hint}"
        else:
            targets[row] = values
    return targets, flawed


def _number(text: str) -> float | None:
    """A number up to 1e100 in size, written in digits with a point."""
    value = float(text) if _NUMBER.fullmatch(text) else math.inf
    return value if abs(value) <= _LARGEST else None


def occurring(resolved: Understood, nouns: str) -> Understood:
    """The same without the classes or labels that no row has: data that were filtered still name those that are gone."""
    if resolved.task == "regression":
        return resolved
    several = resolved.task == "multilabel"
    there = np.asarray(resolved.targets.any(axis=0) if several else np.isin(np.arange(len(resolved.names)), resolved.targets))
    absent = [name for name, used in zip(resolved.names, there.tolist(), strict=True) if not used]
    if not absent:
        return resolved
    targets = resolved.targets[:, there] if several else (np.cumsum(there) - 1)[resolved.targets]
    names = tuple(name for name in resolved.names if name not in frozenset(absent))
    what, why = "labels" if several else "classes", f"no {nouns} have it"
    said = f"{what} without {nouns}, left out ({len(absent):,}): "
    notice = Notice.naming(said, list(map(NoticeEntry, absent)), what="class", why=why, done="left out")
    return replace(resolved, names=names, targets=targets, notices=[*resolved.notices, notice])


def check_enough(place: str, resolved: Understood, targets: Targets) -> None:
    """Raises: DataError if the targets of the rows that are left are all the same."""
    if resolved.task == "classification" and len(np.unique(targets)) < 2:
        raise DataError(f"{place}: one label only ({resolved.names[int(targets[0])]}); at least two are needed")
    if resolved.task == "multilabel" and (targets == targets[:1]).all():
        raise DataError(f"{place}: every row has the same labels; there is nothing to tell apart")
    if resolved.task == "regression":
        same = (targets == targets[:1]).all(axis=0)
        if same.any():
            index = int(same.argmax())
            raise DataError(f"{place}: {resolved.names[index]} is {targets[0, index]:g} in every row; there is nothing to learn")


def spellings(labels: Sequence[Label]) -> list[tuple[str, str]]:
    """Pairs of labels that differ in case or white space alone, each as the first two spellings of it."""
    flat: Iterable[Any] = itertools.chain.from_iterable((one,) if isinstance(one, str) else one for one in labels)
    by_folded: dict[str, list[str]] = {}
    for text in (one for one in dict.fromkeys(flat) if isinstance(one, str)):
        by_folded.setdefault("".join(text.casefold().split()), []).append(text)
    return [(found[0], found[1]) for found in by_folded.values() if len(found) > 1]
