"""What the values of a row mean, whatever form the row came in: a file, a data frame, a list, an array. The one table of these rules.

| a value is | where |
|---|---|
| missing | None, NaN, pandas' NA and NaT, text of white space alone; where a format has no types (CSV, TSV), `nan`, `null`, `n/a`, too |
| a name (of a class, a label) | all else, as text in Unicode's NFC without white space around it; whole floats without `.0`, no `-0` |
| a number | a name that is written as one, see `zoo.data.sources.tables.labels`, which tells numbers to learn from numbered classes |
| several labels | a list of names; text with a delimiter that was given; the names of several columns |
| a vector | a list of numbers: what it means is for all rows together to say |
| a split | the words of `SPLIT_WORDS`, whatever their case and hyphens |
"""

from __future__ import annotations

import math
import re
import reprlib
import sys
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import lru_cache
from pathlib import Path, PurePath
from types import NoneType
from typing import Any

from zoo.data.sources.source import Values, flaw
from zoo.errors import DataError, shown
from zoo.folders import exists, is_file
from zoo.types import Kind, Schema

Label = str | tuple[str, ...] | tuple[float, ...]
"""One label; or several: those of a list or of a delimited field, or one from each of several columns; or a list of numbers."""

_WORDS = frozenset({"nan", "null", "n/a", "#n/a", "<na>"})
"""What stands in CSV files for no label, folded. `None` and `NA` do not: they are classes of many data sets."""

_WHOLE = re.compile(r"[+-]?\d+\.0+", re.ASCII)
_NO_VALUE = ("NAType", "NaTType")
"""Classes of what pandas has for nothing."""


class Missing(DataError):
    """A row has no label."""


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
    group: str | None
    notice: str | None
    """Which columns were guessed; None: none was."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that is read, each once."""
        return tuple(dict.fromkeys((*self.inputs, *self.labels, *(one for one in (self.split, self.group) if one))))

    @property
    def schema(self) -> Schema:
        """The same, as it travels with a model."""
        return Schema(self.inputs, self.labels, self.delimiter, self.split, pairs=len(self.inputs) == 2)


def take_inputs(chosen: Chosen, values: Values, folder: Path) -> tuple[str, ...]:
    """The text (or the two) as it stands there; or the path of a file that exists, relative to the table's folder.

    Raises: DataError saying why there is none; the caller names the row.
    """
    return tuple(_text(chosen.kind, name, values.get(name), folder) for name in chosen.inputs)


def take_label(chosen: Chosen, values: Values, *, typed: bool) -> Label:
    """The label of a row. typed: whether the row's form tells text from what is missing, as CSV does not.

    Raises: Missing; DataError saying why there is none; the caller names the row.
    """
    if len(chosen.labels) > 1:
        return tuple(_single(name, plain(values.get(name)), typed) for name in chosen.labels)
    (name,) = chosen.labels
    value = plain(values.get(name))
    if isinstance(value, str) and chosen.delimiter:
        several = [spell(one) for one in value.split(chosen.delimiter)]
        return _distinct(name, [one for one in several if one])
    if isinstance(value, (list, tuple)):
        return _several(name, value, typed)
    return _single(name, value, typed)


def take_split(chosen: Chosen, values: Values) -> str:
    """`train`, `val` or `test`. Raises: DataError; the caller names the row."""
    value = plain(values.get(chosen.split or ""))
    found = split_of("" if value is None else str(value))
    if found is None:
        raise DataError(f"{chosen.split} is {reprlib.repr(value)}, expected train, val or test")
    return found


def take_group(chosen: Chosen, values: Values) -> str:
    """The name of a row's group. Raises: DataError; the caller names the row."""
    value = plain(values.get(chosen.group or ""))
    name = "" if value is None or is_missing(value) else str(value).strip()
    if not name:
        raise DataError(f"{chosen.group} is empty, and says which samples belong together")
    return name


SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn"), "train"),
    **dict.fromkeys(
        ("val", "valid", "validate", "validation", "dev", "devel", "development", "eval", "evaluation", "holdout"), "val"
    ),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
}
"""How training, validation and test sets are called in tables, folders and data sets: in lower case, without hyphens."""


@lru_cache(maxsize=256)
def split_of(word: str) -> str | None:
    """The set that a word means: `train`, `val`, `test`; None: none that is known."""
    return SPLIT_WORDS.get(re.sub(r"[\s_-]", "", word).casefold())


def plain(value: Any) -> Any:
    """A value as Python's own: of NumPy, of torch, and None for what pandas has for nothing."""
    if type(value) is str:  # most are
        return value
    if hasattr(value, "tolist"):
        return value.tolist()
    return None if type(value).__name__ in _NO_VALUE else value


def spell(value: Any) -> str:
    """A value as a label: as its text in CSV would be, but for whole numbers, which have no `.0`, and zero, which has no sign.

    (pandas writes a column of whole numbers with one empty field as `1.0`, `2.0`; another table of the same classes has none.)
    """
    text = unicodedata.normalize("NFC", written(value).strip())
    whole = text.partition(".")[0] if _WHOLE.fullmatch(text) else text
    return "0" if whole == "-0" else whole


def written(value: Any) -> str:
    """A value as a text. Raises: DataError for a number that Python does not write."""
    try:
        return str(value)
    except ValueError:  # of a number of thousands of digits
        raise DataError("a number of thousands of digits; give a text") from None


def is_missing(value: Any, *, typed: bool = False) -> bool:
    """Whether a label is not there. typed: as in `take_label`."""
    value = plain(value)
    return is_absent(value) or (
        isinstance(value, str) and (not (text := value.strip()) or (not typed and text.casefold() in _WORDS))
    )


def is_absent(value: Any) -> bool:
    """Whether there is nothing: None, NaN, or what pandas has in their place."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or type(value).__name__ in _NO_VALUE


def _text(kind: Kind, name: str, value: Any, folder: Path) -> str:
    value = plain(value)
    if not isinstance(value, (str, int, float, PurePath, Decimal, date, NoneType)):
        raise DataError(f"{name} holds a {type(value).__name__}, expected a {'text' if kind is Kind.TEXT else 'path'}")
    text = "" if value is None or value != value else written(value)  # NaN alone is not equal to itself
    if not text.strip():
        raise DataError(f"{name} is empty")
    if reason := flaw(text):
        raise DataError(f"{name}: {reason}")
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


def _single(name: str, value: Any, typed: bool) -> str:
    if is_missing(value, typed=typed):
        said = (
            "empty" if not isinstance(value, str) or not value.strip() else f"{value.strip()!r}, which stands for no label here"
        )
        raise Missing(f"{name} is {said}")
    if isinstance(value, (dict, list, tuple, bytes)):
        raise DataError(f"{name} holds a {type(value).__name__}, expected one label")
    text = spell(value)
    if reason := flaw(text):
        raise DataError(f"{name}: {reason}")
    return text


def _several(name: str, values: Sequence[Any], typed: bool) -> Label:
    """A list: of numbers alone a vector, else of names."""
    values = [plain(one) for one in values]
    if values and all(isinstance(one, (int, float)) for one in values):
        if not all(abs(one) <= sys.float_info.max for one in values):  # false for NaN too; isfinite fails on longer integers
            raise DataError(f"{name} holds {shown(list(values))}, expected finite numbers")
        return tuple(one if isinstance(one, bool) else one + 0 for one in values)  # -0.0 becomes 0.0
    return _distinct(name, [_single(name, one, typed) for one in values])


def _distinct(name: str, labels: list[str]) -> tuple[str, ...]:
    """Several labels, none of them twice: a vector of 0 and 1 would have."""
    twice = next((one for one in labels if labels.count(one) > 1), None)
    if twice is not None:
        raise DataError(f"{name} has {reprlib.repr(twice)} twice; give each label once")
    return tuple(labels)
