"""The rows of a user's own data, whatever form they came in, and where in each the sample and its class are."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import IterableDataset

from zoo.data.rows_on_disk import RowsOnDisk
from zoo.errors import ConfigError, DataError, UnknownName
from zoo.types import Schema

Keys = Sequence[str]
"""Columns: of the sample and of its class; of both texts of a pair and of its class."""

_ITEMS = {"text", "sentence", "content", "body", "document", "image", "img", "picture", "photo", "pixel_values", "x"}
_TARGETS = {"label", "labels", "class", "classes", "target", "targets", "category", "y"}
"""Names, in lower case, that say what a column holds."""


@dataclass(frozen=True)
class Columns:
    """A table in memory; a row is a dictionary."""

    columns: Mapping[str, Sequence[Any]]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: values[index] for name, values in self.columns.items()}


@dataclass(frozen=True)
class Given:
    """The rows of one part, and where in each the sample and its target are."""

    title: str
    rows: Any
    first: Any
    """The first row, read to see what it is like."""
    keys: tuple[str, ...] | None
    """None: rows are (sample, target)."""

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, index: int) -> str:
        """What people call a row."""
        return f"{self.title}[{index}]"

    def read(self, index: int) -> tuple[Any, Any]:
        """The sample (a tuple of texts if it has two columns) and its target. Raises: DataError naming the row."""
        return self._parted(index, self.rows[index])

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Every row in turn, each read once. Raises: DataError naming the one that cannot be read."""
        yield self._parted(0, self.first)
        for index in range(1, len(self)):
            with naming(self.name(index)):
                row = self.rows[index]
            yield self._parted(index, row)

    def _parted(self, index: int, row: Any) -> tuple[Any, Any]:
        try:
            if self.keys is None:
                item, target = row
                return item, target
            *found, target = [row[key] for key in self.keys]
        except Exception as error:
            expected = "(sample, class)" if self.keys is None else f"a row with {', '.join(self.keys)}"
            raise DataError(f"{self.name(index)}: expected {expected}: {_line(error)}") from error
        return found[0] if len(found) == 1 else tuple(found), target


@contextlib.contextmanager
def naming(name: str) -> Iterator[None]:
    """Turn whatever a user's code raises into a DataError that begins with `name`."""
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"{name}: {_line(error)}") from error


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}".removesuffix(": ")


def parts_of(data: Any) -> tuple[Any, Any, Any]:
    """(train, val, test) of what a user gives: two or three data sets in a tuple or a list, or one alone, whose others are None.

    One alone is a table, a data set, a list of rows, or a pair of arrays `(X, y)`. Raises: ConfigError.
    """
    rows = isinstance(data, list) and bool(data) and isinstance(data[0], Mapping | tuple) and not _are_arrays(data[0])
    if not isinstance(data, tuple | list) or rows or _are_arrays(data):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ConfigError(f"data has {len(data)} parts; expected (train, val), (train, val, test), or one data set")
    return (*data, None, None)[:3]


def open_rows(title: str, dataset: Any, keys: Keys | None, streaming: bool = False, schema: Schema | None = None) -> Given:
    """The rows of one part. keys: None: those of the schema, which a model read, if they are there, else guessed. streaming: an
    iterable is read through once, onto the disk.

    Raises: DataError, UnknownName, ConfigError.
    """
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
    with naming(f"{title}[0]"):
        first = rows[0]
    if not isinstance(first, Mapping):
        if keys is not None:
            raise ConfigError(
                f"{title}: its rows are no dictionaries but {type(first).__name__}s, so keys name nothing; leave them out"
            )
        return Given(title, rows, first, None)
    names = [str(name) for name in first]
    if keys is None and schema and schema.inputs and {*schema.inputs, *schema.labels} <= set(names):
        keys = (*schema.inputs, *schema.labels)
    return Given(title, rows, first, _guess(title, rows, names) if keys is None else _checked(keys, names, title))


def _rows(title: str, dataset: Any) -> Any:
    """What has rows: a data frame's columns, a pair of arrays row by row, everything else as it is."""
    if _are_arrays(dataset):
        samples, targets = dataset
        if len(samples) != len(targets):
            raise DataError(f"{title}: {len(samples):,} samples and {len(targets):,} classes; give as many of both")
        return list(zip(samples, targets, strict=True))
    module = type(dataset).__module__.partition(".")[0]
    if module in ("pandas", "polars") and hasattr(dataset, "columns"):
        return Columns({str(name): dataset[name].to_list() for name in dataset.columns})
    return dataset


def _are_arrays(data: Any) -> bool:
    """Whether this is a pair of arrays, of samples and of classes."""
    return isinstance(data, tuple | list) and len(data) == 2 and all(isinstance(part, np.ndarray) for part in data)


def _checked(keys: Keys, names: list[str], title: str) -> tuple[str, ...]:
    if isinstance(keys, str) or len(keys) not in (2, 3):
        raise ConfigError(f"keys is {keys!r}; expected (sample, class), or (text, second text, class)")
    for key in keys:
        if key not in names:
            raise UnknownName("column", key, names, f"in {title} (it has: {', '.join(names)})")
    return tuple(keys)


def _guess(title: str, rows: Any, names: list[str]) -> tuple[str, ...]:
    """Raises: DataError unless one column alone can be the class, and one the sample."""
    kinds = {name: type(feature).__name__ for name, feature in (getattr(rows, "features", None) or {}).items()}
    targets = [name for name in names if kinds.get(name) == "ClassLabel"] or [
        name for name in names if name.casefold() in _TARGETS
    ]
    others = [name for name in names if name not in targets]
    items = others if len(others) == 1 else [name for name in others if kinds.get(name) == "Image" or name.casefold() in _ITEMS]
    if len(targets) != 1 or len(items) != 1:
        raise DataError(
            f"{title}: which of the columns {', '.join(names)} are the sample and its class? give keys=(SAMPLE, CLASS)"
        )
    return items[0], targets[0]
