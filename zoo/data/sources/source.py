"""What every source of data is: something that knows its own names, and opens what they name. What it says of a bad row."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from zoo.config import DataConfig
from zoo.data.sets import Opened
from zoo.errors import DataError
from zoo.folders import exists, expanded
from zoo.types import Kind, Schema

Named = tuple[str, Any]
"""The name of an input, and the input; a `DataError` in its place says why there is none, so that the others keep their places."""
Values = dict[str, Any]
"""Column to value: a text in CSV and TSV; in JSON and Parquet whatever stands there, None where nothing does."""
Row = tuple[int, Values | DataError]
"""Its number, and what it holds, or why it cannot be read."""
Reader = Callable[[Path, Collection[str] | None, list[str]], Iterator[Row]]
"""Gives the rows of a file: of these columns (None: of all), and what there is to say of the whole at the end of a list."""


@dataclass(frozen=True)
class Request:
    """What is wanted of a source."""

    options: DataConfig
    """`data` is the name; the others say which columns are what, and what is done about unreadable samples."""
    place: Path | None = None
    """The cache, which remembers the files that were checked; None: all are."""
    trainable: bool = True
    """There must be something to learn: two classes or more, in a folder none of them empty."""
    only: Sequence[str] = ()
    """Splits, of which the first that there is is read, and no other, where a source can read one alone; empty: all."""
    kind: Kind | None = None
    """What a model takes, where there is one: in a table, it tells paths from the texts beside them."""
    schema: Schema | None = None
    """What a model read, where there is one: its columns come before those that are guessed."""

    @property
    def spec(self) -> str:
        """What names the data."""
        return self.options.data

    @property
    def column(self) -> str | None:
        """The column that was named for the samples of `kind`; two with a comma for pairs of texts."""
        return None if self.kind is None else getattr(self.options, self.kind.value)


class Source(ABC):
    """A kind of place where samples are.

    Those of zoo are the `SOURCE` of a module or package in `zoo/data/sources/`; others come by the entry points `zoo.sources`, each an
    instance. Of a name that several claim, zoo's own has it, and `folder`, which claims every folder, comes last.
    """

    spelling: ClassVar[str]
    """How its data are named, for people: `a table (.csv, .parquet)`."""
    columns: ClassVar[bool] = False
    """Whether its rows have columns, of which `group` may be one."""
    last: ClassVar[bool] = False
    """Whether it has what no other source claims."""

    @abstractmethod
    def claims(self, spec: str, is_folder: bool) -> bool:
        """Whether this names data of this source, by the name and, where a folder is at that place, by what is in it. Nothing is read, and
        nothing raised. It is asked of every input of a prediction: of a name that is not a folder's, the disk is not asked again."""

    def exists(self, spec: str) -> bool:
        """Whether something is at a claimed name; True where the name is not a path."""
        return exists(expanded(spec))

    @abstractmethod
    def open(self, request: Request) -> Opened:
        """The labelled samples, read and checked. Raises: DataError, ConfigError, UnknownName: each names the file, row or column."""

    def inputs(self, request: Request) -> Iterator[Named]:
        """What a model of `request.kind` predicts on, one by one; no labels are needed where the source can do without.

        Raises: as `open`; DataError where the samples are not of that kind.
        """
        opened = self.open(request)
        if opened.kind is not request.kind and request.kind is not None:
            raise DataError(f"{request.spec}: {opened.kind.nouns}, and the model takes {request.kind.nouns}; give it such data")
        for samples in opened.parts.values():
            for index in range(len(samples)):
                try:
                    yield samples.name(index), samples.item(index)
                except DataError as error:
                    yield samples.name(index), error

    def count(self, request: Request) -> int:
        """About how many inputs there are."""
        return sum(map(len, self.open(request).parts.values()))

    def files(self, request: Request) -> list[Path]:
        """The files that the data are in: data have changed where their sizes or times have. Empty where there are none."""
        return []


def bad_row(path: Path, number: int, reason: str) -> DataError:
    """How every message names a row; in one line, whatever is quoted in it."""
    return DataError(f"{path.name}, row {number:,}: {' '.join(reason.split())}")


def flaw(text: str) -> str | None:
    """Why a text cannot be used: bytes that are not UTF-8, half a surrogate pair, a NUL."""
    if "\0" in text:
        return "a NUL character; remove it"
    if text.isascii():
        return None
    try:
        text.encode()
    except UnicodeEncodeError as error:
        if not 0xDC80 <= ord(text[error.start]) <= 0xDCFF:
            return f"half of a surrogate pair (\\u{ord(text[error.start]):04x}) is not a character; remove it"
        return _foreign(text, error.start)
    return None


def _foreign(text: str, start: int) -> str:
    """What a text in another encoding would read as, from a few characters around the first byte that is not UTF-8."""
    piece = text[max(start - 12, 0) : start + 12].encode(errors="surrogateescape")
    byte = text[start].encode(errors="surrogateescape")[0]
    try:
        encoding, reading = "cp1252", piece.decode("cp1252")
    except UnicodeDecodeError:
        encoding, reading = "latin-1", piece.decode("latin-1")
    return f"not UTF-8 (byte 0x{byte:02x}); as {encoding} it reads {reading!r}: convert the file, iconv -f {encoding} -t utf-8"
