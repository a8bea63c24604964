"""What a model predicts on: the rows of a table, of a data frame and its like, or plain samples, without labels.

Every input has a name; a `DataError` in its place says why there is nothing to predict, so that the others keep their places.
"""

from __future__ import annotations

import itertools
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo.backbones.audio import AudioClip
from zoo.config import DataConfig
from zoo.data.sources.in_memory.given_rows import equal_columns, is_column
from zoo.data.sources.row_values import Chosen, is_absent
from zoo.data.sources.source import Named, Request, flaw
from zoo.data.sources.tables.gathering import Columns, choose, take_inputs
from zoo.errors import ConfigError, DataError
from zoo.types import Kind, Schema

log = logging.getLogger("zoo")

_SAMPLE = 50
"""Rows by which the column of a data frame is told."""


def request_for(spec: str, kind: Kind, column: str | None = None, schema: Schema | None = None) -> Request:
    """What a source is asked for to predict on.

    Args:
        column: of tables, the one with the inputs (two with a comma for pairs of texts); None: those that the model read, if they are
            there, else guessed, which is said.

    Raises: ConfigError for a pair where the model takes no texts.
    """
    _asked(kind, column)
    named: dict[str, Any] = {} if column is None else {kind.value: column}
    return Request(DataConfig(data=spec, **named), trainable=False, kind=kind, schema=schema)


def _asked(kind: Kind, column: str | None) -> Columns:
    names = None if column is None else tuple(part.strip() for part in column.split(","))
    if kind is not Kind.TEXT and names is not None and len(names) > 1:
        raise ConfigError(f"--column {column}: pairs are for texts; {kind.nouns} are one column")
    single = names[0] if names else None
    return {Kind.TEXT: Columns(text=names), Kind.IMAGE: Columns(image=single), Kind.AUDIO: Columns(audio=single)}[kind]


@dataclass(frozen=True)
class InputRows:
    """Rows in memory, of which the columns that the model reads are known. They can be gone through again and again."""

    what: str
    """What people call the whole."""
    chosen: Chosen
    length: int
    read: Callable[[], Iterator[tuple[Any, ...]]]
    """The values of the chosen columns, row by row."""

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Named]:
        for number, values in enumerate(self.read()):
            name = f"#{number}"
            try:
                yield name, self._item(values)
            except DataError as error:
                yield name, DataError(f"{name}: {error}")

    def _item(self, values: tuple[Any, ...]) -> Any:
        present = [None if is_absent(value) else value for value in values]
        if self.chosen.kind is not Kind.TEXT:
            if present[0] is None:
                raise DataError(f"{self.chosen.inputs[0]} is empty")
            return _medium(present[0])
        texts = take_inputs(self.chosen, dict(zip(self.chosen.inputs, present, strict=True)), Path())
        return texts[0] if len(texts) == 1 else texts


def rows_of(data: Any, kind: Kind, column: str | None = None, schema: Schema | None = None) -> InputRows | None:
    """The rows of a data frame (pandas, polars, pyarrow), a dictionary of columns, a dictionary as one row, a list of dictionaries, or a
    `datasets.Dataset`; None for anything else.

    Raises: DataError, ConfigError, UnknownName: it has no rows, or which column is the input cannot be told.
    """
    frame = _frame(data)
    if frame is None:
        return None
    if not frame.length:
        raise DataError(f"{frame.what}: no rows")
    repeated = {name for name, count in Counter(frame.names).items() if count > 1}
    asked = _asked_of(frame, kind, column)
    for name in asked or (schema.inputs if schema else ()):
        if name in repeated:
            raise DataError(f"{frame.what}: two columns are called {name!r}; give each its own name")
    names = [name for name in frame.names if name not in repeated]
    chosen = _choose(frame, names, kind, asked, schema)
    return InputRows(frame.what, chosen, frame.length, lambda: frame.read(chosen.inputs))


@dataclass(frozen=True)
class _Frame:
    """Anything with rows and columns."""

    what: str
    names: list[str]
    length: int
    read: Callable[[Sequence[str]], Iterator[tuple[Any, ...]]]
    """The values of these columns, row by row."""


def _frame(data: Any) -> _Frame | None:
    """Raises: DataError for what has columns, and cannot be read row by row."""
    library, what = type(data).__module__.partition(".")[0], f"the {type(data).__name__}"
    if isinstance(data, Mapping):
        return _of_mapping(data, what, library)
    if library == "datasets" and hasattr(data, "select_columns"):
        return _of_dataset(data, what)
    if type(data).__name__ == "LazyFrame":
        raise DataError(f"{what} is not computed yet; give what its collect() gives")
    if library in ("pandas", "polars", "pyarrow") and hasattr(data, "columns"):
        return _of_columns(data, what, library)
    if isinstance(data, Sequence) and not isinstance(data, str | bytes) and len(data) and _is_row(data[0]):
        return _of_dictionaries(data)
    if hasattr(data, "columns") or hasattr(data, "column_names"):
        raise DataError(f"{what} of {library} is not read; give a data frame of pandas or polars, or a list of texts or files")
    return None


def _is_row(item: Any) -> bool:
    """Whether this is a row by the names of its columns, not an encoded file as `datasets` has them."""
    return isinstance(item, Mapping) and not is_encoded(item)


def is_encoded(item: Any) -> bool:
    """Whether this is a file's content, or its path, as `datasets` has images and audio clips that are not decoded."""
    return isinstance(item, Mapping) and {"bytes", "path"} == set(item)


def _of_mapping(data: Mapping[str, Any], what: str, library: str) -> _Frame | None:
    if library == "datasets":
        raise DataError(f"{what} has several data sets ({', '.join(map(str, data))}); give one of them")
    if is_encoded(data):
        return None
    if not any(map(is_column, data.values())):
        return _of_dictionaries([{str(name): value for name, value in data.items()}])
    lists = equal_columns(data, "the dictionary")
    size = len(next(iter(lists.values())))
    return _Frame("the dictionary", list(lists), size, lambda names: zip(*(lists[name] for name in names), strict=True))


def _of_dictionaries(rows: Sequence[Any]) -> _Frame:
    names = list(dict.fromkeys(str(name) for row in rows[:_SAMPLE] if isinstance(row, Mapping) for name in row))

    def read(chosen: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        for row in rows:
            yield tuple(row.get(name) if isinstance(row, Mapping) else None for name in chosen)

    return _Frame("the list of dictionaries", names, len(rows), read)


def _of_columns(data: Any, what: str, library: str) -> _Frame:
    length = data.num_rows if library == "pyarrow" else len(data)
    names = [str(name) for name in (data.schema.names if library == "pyarrow" else data.columns)]

    def column(place: int) -> list[Any]:
        if library == "pandas":
            return list(data.iloc[:, place].tolist())
        return list(data.column(place).to_pylist() if library == "pyarrow" else data.to_series(place).to_list())

    def read(chosen: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        return zip(*(column(names.index(name)) for name in chosen), strict=True)

    return _Frame(what, names, length, read)


def _of_dataset(data: Any, what: str) -> _Frame:
    if not hasattr(data, "__len__"):
        raise DataError(f"{what} has no length; give a list of its rows, or data.take(N)")
    plain = data.with_format(None)  # another format gives data frames, arrays or tensors for rows

    def read(chosen: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        for row in plain.select_columns(list(chosen)):
            yield tuple(row[name] for name in chosen)

    return _Frame(what, list(plain.column_names), len(plain), read)


def _asked_of(frame: _Frame, kind: Kind, column: str | None) -> tuple[str, ...]:
    """The columns that were named; a name with a comma is one column, if it is there."""
    if column is None:
        return ()
    if column in frame.names:
        return (column,)
    asked = _asked(kind, column)
    return asked.text or tuple(name for name in (asked.image, asked.audio) if name)


def _choose(frame: _Frame, names: list[str], kind: Kind, asked: tuple[str, ...], schema: Schema | None) -> Chosen:
    """Which columns are the input, and what to say of it. Raises: ConfigError, UnknownName."""
    rows = itertools.islice(frame.read(names), _SAMPLE)
    sample = [{name: None if is_absent(value) else value for name, value in zip(names, row, strict=True)} for row in rows]
    known = schema.inputs if schema else ()
    if not asked and not (known and set(known) <= set(names)):
        held = [name for name in names if any(_is_medium(kind, row[name]) for row in sample)]
        asked = tuple(held if len(held) == 1 else names if len(names) == 1 else ())
        if asked and known:
            log.warning(
                "%s: column %r is read in place of %s, which training read", frame.what, asked[0], " and ".join(map(repr, known))
            )
    single = asked[0] if asked else None
    columns = {Kind.TEXT: Columns(text=asked or None), Kind.IMAGE: Columns(image=single), Kind.AUDIO: Columns(audio=single)}
    chosen = choose(frame.what, sample, columns[kind], labelled=False, kind=kind, schema=schema, flag="column=")
    if chosen.notice:
        log.warning("%s: %s", frame.what, chosen.notice)
    return chosen


def _is_medium(kind: Kind, value: Any) -> bool:
    """Whether a value is an image or an audio clip itself, not its path."""
    if kind is Kind.IMAGE:
        return isinstance(value, Image.Image | bytes | Path) or is_encoded(value)
    return kind is Kind.AUDIO and isinstance(value, AudioClip | Path | Mapping)


def samples_of(items: Iterable[Any], kind: Kind, schema: Schema | None = None) -> Iterator[Named]:
    """Plain samples with their names: a path or a text is its own name, the i-th of everything else is `#i`.

    Raises: DataError where the model takes pairs of texts and one is given, or the other way round.
    """
    for number, item in enumerate(items):
        yield sample_of(item, number, kind, schema)


def sample_of(item: Any, number: int, kind: Kind, schema: Schema | None = None) -> Named:
    """As `samples_of`, of the sample of that number."""
    name = f"#{number}"
    if is_absent(item):
        return name, DataError(f"{name}: {item!r} in place of the {kind.value}")
    if kind is not Kind.TEXT:
        if isinstance(item, str | PathLike):
            name = str(item)
        return name, _medium(item)
    if isinstance(item, list | np.ndarray):
        item = tuple(str(one) if isinstance(one, str) else one for one in item)
    texts = (item,) if isinstance(item, str) else item
    if isinstance(texts, tuple) and schema is not None and all(isinstance(text, str) for text in texts):
        _check_count(name, texts, schema)
    wrong = (
        next((reason for text in texts if isinstance(text, str) and (reason := flaw(text))), None)
        if isinstance(texts, tuple)
        else None
    )
    if wrong:
        return name, DataError(f"{name}: {wrong}")
    return (str(item), str(item)) if isinstance(item, str) else (name, item)


def _check_count(name: str, texts: tuple[str, ...], schema: Schema) -> None:
    columns = f" ({', '.join(schema.inputs)})" if schema.inputs else ""
    if schema.pairs and len(texts) == 1:
        raise DataError(
            f"{name}: one text, and the model takes pairs{columns}; give a table with both columns, or in Python tuples of two texts"
        )
    if not schema.pairs and len(texts) == 2:
        raise DataError(f"{name}: a pair of texts, and the model takes single ones{columns}; give a list of texts")


def _medium(item: Any) -> Any:
    """A file's content, or an audio clip, as `datasets` has them; everything else as it is."""
    if is_encoded(item):
        return item["bytes"] if item["bytes"] is not None else item["path"]
    if isinstance(item, Mapping) and {"array", "sampling_rate"} <= set(item):
        return item["array"], item["sampling_rate"]
    return item
