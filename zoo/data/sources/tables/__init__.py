"""Tables of texts, of paths, or of images and audio clips themselves: CSV, TSV, JSON, Parquet, Arrow, and folders of Parquet files."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from zoo.data.sets import Opened
from zoo.data.sources.source import Named, Request, Source, bad_row
from zoo.data.sources.tables.gathering import choose_columns, take_inputs
from zoo.data.sources.tables.row_sources import ENDINGS, is_partitioned, is_table, read_rows
from zoo.data.sources.tables.sample_sets import columns, content_of, embedded, open_table
from zoo.errors import DataError
from zoo.folders import expanded, is_folder
from zoo.types import Kind

log = logging.getLogger("zoo")


class TableSource(Source):
    """A file by the ending of its name, or a folder of Parquet files."""

    spelling = f"a table ({', '.join(ENDINGS)})"
    columns = True

    def claims(self, spec: str, is_folder: bool) -> bool:
        return is_partitioned(expanded(spec)) if is_folder else is_table(Path(spec))

    def open(self, request: Request) -> Opened:
        return open_table(expanded(request.spec), request.options, request.kind, request.place, request.schema, request.trainable)

    def inputs(self, request: Request) -> Iterator[Named]:
        """A text, a pair of texts, a path, or the content of a file in each row."""
        path, kind, asked = expanded(request.spec), request.kind or Kind.TEXT, columns(request.options)
        inside = embedded(path, asked, kind, request.schema)
        if inside is not None:
            yield from _contents(path, inside[0])
            return
        chosen = choose_columns(path, asked, labelled=False, kind=kind, schema=request.schema)
        if chosen.kind is not kind:
            raise DataError(f"{path}: no column of {kind.nouns} is found, which the model takes; name it with --column")
        if chosen.notice:
            log.warning("%s: %s", path, chosen.notice)
        notices: list[str] = []
        for number, values in read_rows(path, chosen.inputs, notices):
            name = f"{path.name}, row {number}"
            if isinstance(values, DataError):
                yield name, values
                continue
            try:
                found = take_inputs(chosen, values, path.parent)
            except DataError as error:
                yield name, bad_row(path, number, str(error))
                continue
            yield name, str(path.parent / found[0]) if kind is not Kind.TEXT else found[0] if len(found) == 1 else found
        for notice in notices:
            log.warning("%s", notice)

    def count(self, request: Request) -> int:
        return sum(1 for _ in read_rows(expanded(request.spec)))

    def files(self, request: Request) -> list[Path]:
        path = expanded(request.spec)
        if not is_folder(path):
            return [path]
        return sorted(Path(folder) / name for folder, _, names in os.walk(path) for name in names)


def _contents(path: Path, column: str) -> Iterator[Named]:
    """The content of the files that stand in a column."""
    for number, values in read_rows(path, [column]):
        name = f"{path.name}, row {number}"
        content = values if isinstance(values, DataError) else content_of(values.get(column))
        yield name, bad_row(path, number, f"{column} is empty") if content is None else content


SOURCE = TableSource()
