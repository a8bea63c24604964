"""From the name of some data to what is there, read and checked sample by sample: the one place that knows every kind of place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo.config import DataConfig
from zoo.data import checks
from zoo.data.sets import Source
from zoo.data.sources import builtin, library, tabular
from zoo.data.sources.folders import list_folder
from zoo.data.sources.reading import read_listing
from zoo.data.sources.tables_rows import is_partitioned, is_table, read_rows
from zoo.errors import ConfigError
from zoo.folders import expanded, is_file, special
from zoo.types import Kind, Schema


def open_source(
    options: DataConfig,
    place: Path | None,
    *,
    trainable: bool = True,
    only: Sequence[str] = (),
    kind: Kind | None = None,
    schema: Schema | None = None,
) -> Source:
    """What `options.data` names.

    Args:
        place: the cache, which remembers the files that were checked; None: all are.
        trainable: there must be something to learn: two classes or more, in a folder none of them empty.
        only: parts of a folder, of which the first that there is is read, and no other; empty: all.
        kind: what a model takes, where that is known: in a table, it tells paths from the texts beside them.
        schema: what a model read, where there is one: its columns come before those that are guessed.

    Raises: DataError, ConfigError, UnknownName: each names the folder, file, row or column.
    """
    spec = options.data
    if options.group is not None and not (library.is_library(spec) or is_table(expanded(spec)) or is_partitioned(expanded(spec))):
        raise ConfigError(
            f"--group {options.group} names a column, and {spec} is not a table; list its files in one (path, label, {options.group})"
        )
    if spec.startswith(builtin.PREFIX):
        return builtin.open_builtin(spec)
    if library.is_library(spec):
        return library.open_library(options, schema, trainable)
    path = expanded(spec)
    if is_table(path) or is_partitioned(path):
        return tabular.open_table(path, options, kind, place, schema, trainable)
    if is_file(path) or special(path):
        read_rows(path)  # says what it is, and what is read
    listing = list_folder(path)
    if trainable:
        checks.check_layout(listing)
    part = next((name for name in only if name in listing.parts), None)
    if part is not None:
        listing = listing.only(part)
    return read_listing(listing, options.max_unreadable, place, options.bit_depth)
