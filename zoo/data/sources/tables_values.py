"""One row of a table: its inputs and its label, checked. Reading a whole table, streaming it and predicting on it share this."""

from __future__ import annotations

import math
import re
import reprlib
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.data.sources.tables_flaws import Values
from zoo.errors import DataError
from zoo.folders import exists, is_file
from zoo.types import Kind, Schema

Label = str | tuple[str, ...]
"""One label; or several: those of a list or of a delimited field, or one from each of several columns."""

_MISSING = frozenset({"", "nan", "null", "n/a", "#n/a", "<na>"})
"""What stands in CSV files for no label, folded. `None` and `NA` do not: they are classes of many data sets."""

_WHOLE = re.compile(r"[+-]?\d+\.0+", re.ASCII)


@dataclass(frozen=True)
class Chosen:
    """Which columns of a table are what, once that is known."""

    kind: Kind
    inputs: tuple[str, ...]
    """One column, or the two of pairs of texts."""
    labels: tuple[str, ...]
    """Empty where none are wanted."""
    delimiter: str | None
    """What stands between the labels of one field."""
    split: str | None
    notice: str | None
    """Which columns were guessed; None: none was."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that is read, each once."""
        return tuple(dict.fromkeys((*self.inputs, *self.labels, *((self.split,) if self.split else ()))))

    @property
    def schema(self) -> Schema:
        """The same, as it travels with a model."""
        return Schema(self.inputs, self.labels, self.delimiter, self.split, pairs=len(self.inputs) == 2)


def take_inputs(chosen: Chosen, values: Values, folder: Path) -> tuple[str, ...]:
    """The text (or the two) as it stands there; or the path of a file that exists, relative to the table's folder.

    Raises: DataError saying why there is none; the caller names the row.
    """
    return tuple(_text(chosen.kind, name, values.get(name), folder) for name in chosen.inputs)


def take_label(chosen: Chosen, values: Values) -> Label:
    """The label of a row, in Unicode's NFC and without white space around it. Numbers that are whole are written so: `3`, not `3.0`.

    Raises: DataError saying why there is none; the caller names the row.
    """
    if len(chosen.labels) > 1:
        return tuple(_single(name, values.get(name)) for name in chosen.labels)
    (name,) = chosen.labels
    value = values.get(name)
    if isinstance(value, str) and chosen.delimiter:
        several = [spell(one) for one in value.split(chosen.delimiter)]
        return _distinct(name, [one for one in several if one])
    if isinstance(value, (list, tuple)):
        return _distinct(name, [_single(name, one) for one in value])
    return _single(name, value)


def take_split(chosen: Chosen, values: Values) -> str:
    """`train`, `val` or `test`. Raises: DataError; the caller names the row."""
    value = str(values.get(chosen.split or "") or "").strip()
    try:
        return SPLIT_WORDS[value.casefold()]
    except KeyError:
        raise DataError(f"{chosen.split} is {reprlib.repr(value)}, expected train, val or test") from None


SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test",
}  # fmt: skip
"""How splits are written in tables, folded."""


def spell(value: Any) -> str:
    """A value as a label: as its text in CSV would be, but for whole numbers, which have no `.0`.

    (pandas writes a column of whole numbers with one empty field as `1.0`, `2.0`; another table of the same classes has none.)
    """
    text = unicodedata.normalize("NFC", str(value).strip())
    return text.partition(".")[0] if _WHOLE.fullmatch(text) else text


def is_missing(value: Any) -> bool:
    """Whether a label is not there."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or (isinstance(value, str) and value.strip().casefold() in _MISSING)


def _text(kind: Kind, name: str, value: Any, folder: Path) -> str:
    if isinstance(value, (dict, list, bytes)):
        raise DataError(f"{name} holds a {type(value).__name__}, expected a {'text' if kind is Kind.TEXT else 'path'}")
    text = "" if value is None or value != value else str(value)  # NaN alone is not equal to itself
    if not text.strip():
        raise DataError(f"{name} is empty")
    if kind is not Kind.TEXT:
        text = text.strip()
        _check_file(text, folder)
    return text


def _check_file(name: str, folder: Path) -> None:
    """Whether it can be decoded is for others to find out: only its presence is looked at."""
    if name.startswith(("http://", "https://")):
        raise DataError(f"{name}: a web address; nothing is fetched: download the file and give its path")
    path = folder / name
    try:
        reason = None if is_file(path) else "not a file" if exists(path) else "no such file"
    except OSError as error:  # a name that is too long, a folder that may not be entered
        reason = error.strerror
    if reason:
        hint = "; write / between folders" if "\\" in name else ""
        raise DataError(f"{name}: {reason} (paths are relative to the table{hint})")


def _single(name: str, value: Any) -> str:
    if is_missing(value):
        raise DataError(f"{name} is empty")
    if isinstance(value, (dict, list, tuple, bytes)):
        raise DataError(f"{name} holds a {type(value).__name__}, expected one label")
    return spell(value)


def _distinct(name: str, labels: list[str]) -> tuple[str, ...]:
    """Several labels, none of them twice: a vector of 0 and 1 would have."""
    twice = next((one for one in labels if labels.count(one) > 1), None)
    if twice is not None:
        raise DataError(
            f"{name} has {reprlib.repr(twice)} twice; give the names of the labels (0 and 1 go into a column for each label)"
        )
    return tuple(labels)
