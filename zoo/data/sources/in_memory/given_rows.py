"""The rows of a user's own data, whatever form they came in."""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset, Subset

from zoo.data.on_disk import RowsOnDisk
from zoo.data.sources.row_values import plain, split_of
from zoo.data.sources.source import Row, Values
from zoo.data.sources.tables.parquet import named
from zoo.errors import ConfigError, DataError

log = logging.getLogger("zoo")

Keys = Sequence[str]
"""Columns: of the sample and of its class; of both texts of a pair and of its class."""

SAMPLE, TARGET = "the sample", "the target"
"""What the two halves of a row are called that has no names for them."""
_SAMPLED = 1000
"""Rows from which columns are told, where that reads nothing but memory."""


@dataclass(frozen=True)
class ColumnTable:
    """A table in memory; a row is a dictionary."""

    columns: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: values[index] for name, values in self.columns.items()}


@dataclass(frozen=True)
class Given:
    """The rows of one part."""

    title: str
    """`train`, `val` or `test`."""
    rows: Any
    first: Any
    """The first row, read to see what it is like."""
    named: bool
    """Whether rows are dictionaries; else they are (sample, target)."""
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Names of the numbered classes of columns, as the library `datasets` states them."""
    own: Mapping[str, str] = field(default_factory=dict)
    """What a column is called here that is called otherwise in the part to train on."""

    typed = True

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def split(self) -> str:
        """All rows are of one."""
        return self.title

    @property
    def folder(self) -> Path:
        """Paths begin where the program runs."""
        return Path.cwd()

    def name(self, number: int) -> str:
        """`train[17]`."""
        return f"{self.title}[{number}]"

    def bad(self, number: int, reason: str) -> DataError:
        """`train[17]: reason`."""
        return DataError(f"{self.name(number)}: {' '.join(reason.split())}")

    @cached_property
    def first_values(self) -> Values:
        """Of the first row."""
        return self._values(self.first)

    @property
    def names(self) -> list[str]:
        """Of the columns."""
        return list(self.first_values)

    def sample(self) -> list[Values]:
        """The first rows, or the first alone where more would have to be decoded."""
        at_hand = isinstance(self.rows, ColumnTable | list) or (hasattr(self.rows, "features") and not self._decodes())
        found = itertools.islice(self.read(), _SAMPLED if at_hand else 1)
        return [values for _, values in found if not isinstance(values, DataError)] or [self._values(self.first)]

    def read(self, only: Collection[str] | None = None, notices: list[str] | None = None) -> Iterator[Row]:
        """Number and values of each row, in order; a DataError in place of the values says why there are none."""
        columns = None if only is None else self._columns(only)
        if columns is not None:
            yield from enumerate(dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
            return
        for number in range(len(self)):
            try:
                yield number, self.row(number, again=number > 0)
            except DataError as error:
                yield number, error

    def row(self, number: int, *, again: bool = True) -> Values:
        """The values of a row. again: False: of the first row, as it was read. Raises: DataError naming it."""
        try:
            return self._values(self.rows[number] if again else self.first)
        except DataError as error:
            raise DataError(f"{self.name(number)}: {error}") from error
        except Exception as error:  # whatever a user's code raises
            raise self.bad(number, line(error)) from error

    def _values(self, row: Any) -> Values:
        if self.named and not isinstance(row, Mapping):
            raise DataError(f"a {type(row).__name__}, expected a dictionary, as the first row is")
        found = row if self.named else _of_pair(row, self._count)
        values = {str(name): self._stated(str(name), value) for name, value in found.items()}
        return values | {name: values[own] for name, own in self.own.items() if own in values}

    @cached_property
    def _count(self) -> int:
        sample = self.first[0] if isinstance(self.first, tuple | list) and self.first else None
        return len(sample) if isinstance(sample, tuple | list) and all(isinstance(one, str) for one in sample) else 1

    def _stated(self, column: str, value: Any) -> Any:
        return named(plain(value), list(self.classes[column])) if column in self.classes else value

    def _columns(self, only: Collection[str]) -> dict[str, Sequence[Any]] | None:
        """These columns without the others: an image beside them need not be decoded. None where that cannot be had."""
        if not self.named:
            (name, *more) = only
            stated = stated_targets(self.rows) if not more and self.own.get(name, name) == TARGET else None
            return None if stated is None else {name: stated}
        own = {name: self.own.get(name, name) for name in only}
        if isinstance(self.rows, ColumnTable):
            return {name: self.rows.columns[one] for name, one in own.items() if one in self.rows.columns}
        if not hasattr(self.rows, "select_columns") or self.rows.format["type"] == "custom":
            return None
        there = {name: one for name, one in own.items() if one in self.rows.column_names}
        return {name: [self._stated(one, value) for value in self.rows.select_columns([one])[one]] for name, one in there.items()}

    def _decodes(self) -> bool:
        return any(hasattr(feature, "decode_example") for feature in self.rows.features.values())


def _of_pair(row: Any, count: int) -> Values:
    """A row that is (sample, target); the sample is a pair of texts where `count` is 2."""
    try:
        sample, target = row
    except (TypeError, ValueError) as error:
        raise DataError(f"expected (sample, class): {line(error)}") from error
    if count == 1:
        return {SAMPLE: sample, TARGET: target}
    if not isinstance(sample, tuple | list) or len(sample) != count or count > 2:
        raise DataError(f"{shape(sample)}, and {count} texts in the first row; give one, or a pair, in each")
    return {"the text": sample[0], "the second text": sample[1], TARGET: target}


def shape(sample: Any) -> str:
    """What a sample is, for people."""
    return f"{len(sample)} texts" if isinstance(sample, tuple | list) else f"a {type(sample).__name__}"


def line(error: Exception) -> str:
    """An exception of a user's code in one line."""
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}".removesuffix(": ")


def stated_targets(dataset: Any) -> Sequence[Any] | None:
    """`[N]` from `.targets` or `.labels`, through torch's Subset; None where there are none that can be trusted."""
    if isinstance(dataset, Subset):
        whole = stated_targets(dataset.dataset)
        return None if whole is None else [whole[index] for index in dataset.indices]
    if getattr(dataset, "target_transform", None) is not None:
        return None  # what `dataset[i]` gives is not what the attribute says
    for name in ("targets", "labels"):
        values = np.asarray(getattr(dataset, name, ()))
        if values.ndim == 1 and len(values) == len(dataset) and np.issubdtype(values.dtype, np.integer):
            found: list[int] = values.tolist()
            return found
    return None


def parts_of(data: Any) -> tuple[Any, Any, Any]:
    """(train, val, test) of what a user gives: two or three data sets in a tuple or a list, a dictionary of them by split (as a
    `DatasetDict`), or one alone, whose others are None.

    One alone is a table, a data set, a list of rows, a dictionary of columns, or a pair of arrays `(X, y)`. Raises: ConfigError, DataError.
    """
    if has_parts(data):
        parts, unused = by_split("data", data)
        if unused:
            log.warning("data: of its parts, %s are not used", ", ".join(unused))
        return parts["train"], parts.get("val"), parts.get("test")
    if not isinstance(data, tuple | list) or _are_rows(data) or _are_arrays(data):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ConfigError(f"data has {len(data)} parts; expected (train, val), (train, val, test), or one data set")
    return (*data, None, None)[:3]


def has_parts(data: Any) -> bool:
    """Whether this is a dictionary of data sets, not of columns."""
    return isinstance(data, Mapping) and bool(data) and all(not is_column(one) or _are_rows(one) for one in data.values())


def by_split(place: str, found: Mapping[Any, Any]) -> tuple[dict[str, Any], list[str]]:
    """Data sets by our names of splits, one alone as `train`, which is to be split; and the names of the others.

    Raises: DataError if there are several and none is for training.
    """
    named: dict[str, Any] = {}
    unused: list[str] = []
    for name, part in found.items():
        role = split_of(str(name))
        if role and role not in named:
            named[role] = part
        else:
            unused.append(str(name))
    if "train" not in named:
        if len(found) > 1:
            raise DataError(f"{place}: its parts are {', '.join(map(str, found))}; none of them is called train")
        named, unused = {"train": next(iter(found.values()))}, []
    return named, unused


def open_rows(title: str, dataset: Any, streaming: bool = False) -> Given:
    """The rows of one part. streaming: an iterable is read through once, onto the disk. Raises: DataError."""
    rows = _rows(title, dataset)
    if streaming and isinstance(rows, Iterable) and (isinstance(rows, IterableDataset) or not hasattr(rows, "__getitem__")):
        rows = RowsOnDisk(title, rows)
    try:
        count = len(rows)
    except TypeError:
        count = -1
    if count < 0 or isinstance(rows, IterableDataset) or not hasattr(rows, "__getitem__"):
        hint = "give a map-style data set, or streaming=True, which reads it once onto the disk"
        raise DataError(f"{title}: a {type(dataset).__name__} has no length or no index; {hint}")
    if not count:
        raise DataError(f"{title}: the data set is empty")
    try:
        first = rows[0]
    except Exception as error:
        raise DataError(f"{title}[0]: {line(error)}") from error
    given = Given(title, rows, first, isinstance(first, Mapping), _classes(rows))
    if not given.named:
        given.row(0, again=False)  # (sample, target), or refused
    return given


def aliased(part: Given, own: Sequence[str], common: Sequence[str]) -> Given:
    """The same rows, whose columns `own` are called `common` too."""
    return replace(part, own=dict(zip(common, own, strict=True)))


def _classes(rows: Any) -> dict[str, Sequence[str]]:
    """Names of numbered classes, and of those in lists, by column, as `datasets` states them."""
    features = getattr(rows, "features", None) or {}
    found = {
        name: getattr(one, "names", None) or getattr(getattr(one, "feature", None), "names", None)
        for name, one in features.items()
    }
    return {str(name): names for name, names in found.items() if names}


def _rows(title: str, dataset: Any) -> Any:
    """What has rows: a data frame's columns, a pair of arrays row by row, everything else as it is."""
    if _are_arrays(dataset):
        samples, targets = dataset
        if len(samples) != len(targets):
            raise DataError(f"{title}: {len(samples):,} samples and {len(targets):,} classes; give as many of both")
        return list(zip(samples, targets, strict=True))
    module = type(dataset).__module__.partition(".")[0]
    if module == "polars" and hasattr(dataset, "collect"):
        dataset = dataset.collect()
    if module in ("pandas", "polars") and hasattr(dataset, "columns"):
        names = [str(name) for name in dataset.columns]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise DataError(f"{title}: two columns are called {twice[0]!r}; give each its own name")
        return ColumnTable({str(name): dataset[name].to_list() for name in dataset.columns})
    if isinstance(dataset, Mapping):
        return ColumnTable(equal_columns(dataset, title))
    if module == "datasets" and getattr(dataset, "format", {}).get("type") not in (None, "custom"):
        return dataset.select_columns(dataset.format["columns"]).with_format(None)  # the same rows, as arrays of a library
    return dataset


def equal_columns(data: Mapping[Any, Any], what: str) -> dict[str, list[Any]]:
    """The columns of a dictionary of columns. Raises: DataError for single values beside them, or columns of different lengths."""
    columns = {str(name): values for name, values in data.items()}
    single = [name for name, values in columns.items() if not is_column(values)]
    if single:
        raise DataError(f"{what} has columns and a single value beside them ({single[0]}); give columns alone, or a row")
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{what} has columns of different lengths: {lengths}; give as many values in each")
    return {name: list(values) for name, values in columns.items()}


def is_column(values: Any) -> bool:
    """Whether these are the values of a column: a list, an array or a series."""
    return isinstance(values, list) or (hasattr(values, "__len__") and hasattr(values, "dtype") and hasattr(values, "__iter__"))


def _are_rows(data: Any) -> bool:
    """Whether this is a list of rows."""
    return isinstance(data, list) and bool(data) and isinstance(data[0], Mapping | tuple) and not _are_arrays(data[0])


def _are_arrays(data: Any) -> bool:
    """Whether this is a pair of arrays, of samples and of classes."""
    return isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, np.ndarray) for part in data)
