"""What the targets of a user's data sets mean: the task, the names behind them, and each as a row of the targets."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from zoo.data import checks
from zoo.data.targets import Targets
from zoo.errors import ConfigError, DataError, shown
from zoo.types import Labels, Task

_LARGEST = float(np.finfo(np.float32).max)
_FEW = 1000
"""Classes may be numbered as high as this, and else no higher than there are rows: larger numbers are not numbers of classes."""

Name = Callable[[int], str]
"""What people call a row."""


@dataclass(frozen=True)
class Encoding:
    """How a target becomes a number, or a row of them."""

    task: Task
    names: tuple[str, ...]
    by_name: bool
    """Whether the targets are names, and not numbers."""
    notices: list[str] = field(default_factory=list, compare=False)

    def encode(self, name: str, value: Any) -> int | tuple[float, ...]:
        """A target as `SampleSet.target` gives it. Raises: DataError with the name of its row."""
        value = plain(value)
        if self.task is Task.CLASSIFICATION:
            return self._number(name, value)
        values = list(value) if isinstance(value, list | tuple) else [value]
        if self.by_name:
            places = {self._number(name, one) for one in values}
            return tuple(float(place in places) for place in range(len(self.names)))
        if len(values) != len(self.names):
            raise DataError(f"{name}: {len(values)} values, and {len(self.names)} in the first row; give as many in each")
        for one in values:
            if not _is_number(one) or (self.task is Task.MULTILABEL and one not in (0, 1)):
                expected = "0 or 1" if self.task is Task.MULTILABEL else "a finite number, in float32's range"
                raise DataError(f"{name}: its target is {shown(one)}; expected {expected}")
        return tuple(float(np.float32(one)) for one in values)

    def _number(self, name: str, value: Any) -> int:
        if value is None or (isinstance(value, float) and math.isnan(value)):
            raise DataError(f"{name}: its class is {value}; give one, or leave the row out")
        if self.by_name:
            if not isinstance(value, str):
                raise DataError(f"{name}: class {shown(value)}; expected a name, as in the first row")
            folded = unicodedata.normalize("NFC", value)
            if folded not in self._places:
                checks.check_known(name, [folded], list(self.names), "train")
            return self._places[folded]
        if not _is_number(value) or value != int(value):
            raise DataError(f"{name}: class {shown(value)}; expected a whole number, as in the first row")
        if value < 0:
            raise DataError(f"{name}: class {value}; classes are numbered from 0")
        if value >= len(self.names):
            raise DataError(f"{name}: class {value}, but there are {len(self.names)} class names")
        return int(value)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    def encode_all(self, name: Name, values: Sequence[Any]) -> Targets:
        """A row each: `[N] int64`, or `[N, C] float32`. Raises: as `encode`."""
        rows = [self.encode(name(index), value) for index, value in enumerate(values)]
        return np.array(rows, np.int64 if self.task is Task.CLASSIFICATION else np.float32)


def encoding_of(parts: Sequence[Sequence[Any]], names: Sequence[str] | None, column: str, task: str = "auto") -> Encoding:
    """How the targets of these parts, `train` the first, are to be taken.

    By its first target: a whole number or a name is a class; a float is a value (regression); names in a list are labels; numbers in a
    list are labels if they are all 0 and 1, else values.

    Args:
        names: of the classes, labels or values in the order of their numbers; None: names sorted, or the numbers.
        column: what a single value is called.
        task: `auto`, or what is asked for: numbers can be classes or values.

    Raises: ConfigError if the targets cannot be of the task; DataError.
    """
    train = [plain(value) for value in parts[0]]
    first, notices = train[0], []
    lists = [value for value in train if isinstance(value, list | tuple)] if isinstance(first, list | tuple) else []
    several = [one for row in lists for one in row]
    by_name = isinstance(first, str) or any(isinstance(one, str) for one in several)
    if lists:
        found = Task.MULTILABEL if by_name or all(one in (0, 1) for one in several) else Task.REGRESSION
        possible = {found} if by_name else {found, Task.REGRESSION}
    else:
        found = Task.REGRESSION if isinstance(first, float) and math.isfinite(first) else Task.CLASSIFICATION
        possible = {Task.CLASSIFICATION} if by_name else {Task.CLASSIFICATION, Task.REGRESSION}
    if task == "auto" and found is Task.REGRESSION:
        notices = [
            f"{column} holds numbers that are not whole: regression" if lists else f"{column} holds floats: regression (task=)"
        ]
    if task not in ("auto", *possible):
        raise ConfigError(
            f"task {task}: {column} is {shown(first)} in the first row, which is {found}; leave task out, or give other targets"
        )
    decided = found if task == "auto" else Task(task)
    if names is None:
        names = _names([train, *parts[1:]], lists, by_name, column, decided)
    return Encoding(decided, tuple(map(_text, names)), by_name, notices)


def _text(name: Any) -> str:
    try:
        return str(name)
    except ValueError:  # a number of thousands of digits
        raise DataError(f"the name of a class is {shown(name)}; give a text") from None


def _names(parts: Sequence[Sequence[Any]], lists: Sequence[Any], by_name: bool, column: str, task: Task) -> Sequence[str]:
    """Names for the outputs that nobody named."""
    if by_name:
        flat = (one for row in lists for one in row) if lists else parts[0]
        return Labels.sort(one for one in flat if isinstance(one, str)).names
    if lists:
        return [str(number) for number in range(len(lists[0]))]
    if task is Task.REGRESSION:
        return [column]
    numbers = [value for part in parts for value in map(plain, part) if _is_number(value)]
    largest = int(max(numbers, default=0))
    if largest >= max(_FEW, len(parts[0])):
        raise DataError(
            f"{column} has the class {largest:,} in {len(parts[0]):,} rows of train; number classes from 0, or give names"
        )
    return [str(number) for number in range(largest + 1)]


def _is_number(value: Any) -> bool:
    """Whether it is a number that float32 can hold."""
    return isinstance(value, int | float) and abs(value) <= _LARGEST  # false for NaN too


def plain(value: Any) -> Any:
    """A tensor, an array or a numpy number as Python's own; true and false as 1 and 0."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return int(value) if isinstance(value, bool) else value
