"""Images, or audio clips, that stand in the rows of a Parquet or Arrow file themselves, as `datasets` writes them, and not as paths."""

from __future__ import annotations

from collections.abc import Collection, Generator
from pathlib import Path, PurePath
from typing import Any

from zoo import cache
from zoo.data.sources.flaws import Row, Values, bad_row
from zoo.data.sources.tables.columns import Columns
from zoo.data.sources.tables.files import read_rows
from zoo.data.sources.tables.parquet import media_of
from zoo.errors import ConfigError, DataError
from zoo.types import Kind, Schema

_BINARY = "binary"
"""What `media_of` says of bytes of which nobody knows what they are."""


def embedded(path: Path, columns: Columns, kind: Kind | None = None, schema: Schema | None = None) -> tuple[str, Kind] | None:
    """The column that holds the samples of a table themselves, and their kind; None where they are texts or paths.

    Args:
        columns: those that were asked for; of bytes that do not say what they are, a column has to be asked for.
        kind: what the model takes, if that is known.
        schema: what the model read.

    Raises: ConfigError if there are several; DataError.
    """
    found = media_of(path)
    kinds = {name: kind or Kind.IMAGE if said in (None, _BINARY) else Kind(said) for name, said in found.items()}
    for asked, meant in ((columns.image, Kind.IMAGE), (columns.audio, Kind.AUDIO)):
        if asked is not None:
            return (asked, meant) if asked in found else None
    if columns.text is not None or kind is Kind.TEXT:
        return None
    trained = [name for name in (schema.inputs if schema else ()) if name in found]
    guessed = trained or [name for name, said in found.items() if said != _BINARY and kind in (None, kinds[name])]
    if len(guessed) > 1:
        raise ConfigError(f"{path}: {', '.join(map(repr, guessed))} could each be meant; say --{kinds[guessed[0]]} {guessed[0]}")
    return (guessed[0], kinds[guessed[0]]) if guessed else None


def content_of(value: Any) -> bytes | None:
    """The bytes of a sample; None where the row has none."""
    found = value.get("bytes") if isinstance(value, dict) else value
    return found if isinstance(found, bytes) and found else None


class Unpacked:
    """The samples as files of a passing folder; the rows have their names in place of them.

    So they are checked, decoded and read again as all files are, and memory holds some rows at a time.
    """

    def __init__(self, column: str) -> None:
        """column: which holds them. Raises: OutputError."""
        self.column = column
        self.folder = cache.passing()

    def rows(self, path: Path, only: Collection[str] | None = None, notices: list[str] | None = None) -> Generator[Row]:
        """As `read_rows`. Raises: DataError, also where the disk is full."""
        for number, values in read_rows(path, None if only is None else [*only, self.column], notices):
            if isinstance(values, DataError) or self.column not in values:
                yield number, values
                continue
            yield number, self._put(path, number, values)

    def _put(self, path: Path, number: int, values: Values) -> Values | DataError:
        value = values[self.column]
        content = content_of(value)
        if content is None:
            return bad_row(path, number, f"{self.column} is empty")
        said = value.get("path") if isinstance(value, dict) else None
        name = f"row {number}{PurePath(said).suffix.lower() if isinstance(said, str) else ''}"
        try:
            (self.folder / name).write_bytes(content)
        except OSError as error:
            raise DataError(f"{path}: its samples cannot be unpacked into {self.folder}: {error.strerror}; make room") from error
        return values | {self.column: name}
