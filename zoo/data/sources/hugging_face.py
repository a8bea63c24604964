"""Data sets of the library `datasets`: on the Hub or in its cache (`hf:NAME`, `hf:NAME:CONFIGURATION`), in a folder of data files
(`hf:FOLDER`), or saved with `save_to_disk` (the folder itself, or `hf:FOLDER`). Scripts that a data set may bring are never run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo.backbones import hub
from zoo.data.inputs import rows_of
from zoo.data.notices import Notice, NoticeEntry
from zoo.data.sets import Opened
from zoo.data.sources.in_memory.given_rows import by_split
from zoo.data.sources.in_memory.given_sets import open_parts
from zoo.data.sources.source import Named, Request, Source
from zoo.errors import DataError
from zoo.folders import exists, expanded, is_file
from zoo.types import Kind

PREFIX = "hf:"


class HuggingFace(Source):
    """A data set of the library `datasets`. The network is asked for `hf:NAME` alone, where the library's cache has it not."""

    spelling = "hf:NAME (a data set of Hugging Face)"
    columns = True

    def claims(self, spec: str, is_folder: bool) -> bool:
        return (spec.startswith(PREFIX) and len(spec.split()) == 1) or (is_folder and _is_saved(spec))

    def exists(self, spec: str) -> bool:
        return True

    def open(self, request: Request) -> Opened:
        spec = request.spec
        parts, notices = _parts(spec)
        opened = open_parts(
            parts,
            request.options,
            description=f"data set {spec}",
            kind=request.kind,
            schema=request.schema,
            trainable=request.trainable,
        )
        return replace(opened, licence=_licence(parts), notices=[*notices, *opened.notices])

    def inputs(self, request: Request) -> Iterator[Named]:
        """The rows of each part; labels are not needed."""
        for split, part in _parts(request.spec)[0].items():
            rows = rows_of(part, request.kind or Kind.TEXT, request.column, request.schema)
            for number, (_, item) in enumerate(rows or ()):
                name = f"{split}[{number}]"
                reason = str(item).removeprefix(f"#{number}: ") if isinstance(item, DataError) else ""
                yield name, DataError(f"{name}: {reason}") if reason else item

    def count(self, request: Request) -> int:
        return sum(map(len, _parts(request.spec)[0].values()))


def _is_saved(spec: str) -> bool:
    return any(is_file(expanded(spec) / name) for name in ("dataset_dict.json", "state.json"))


def _parts(spec: str) -> tuple[dict[str, Any], list[Notice]]:
    """The data set by split, and what there is to say of the others. Raises: DataError if it cannot be had, or has no part to train on."""
    with _quiet():
        found = _load(spec)
    parts, unused = by_split(spec, found) if isinstance(found, Mapping) else ({"train": found}, [])
    if not unused:
        return parts, []
    said, why = f"{spec}: of its parts, {', '.join(unused)} are not used", f"a part of {spec} beside those that are used"
    return parts, [Notice.of(said, list(map(NoticeEntry, unused)), what="set", why=why, done="left out")]


def _load(spec: str) -> Any:
    import datasets  # its import takes a second

    try:
        name, _, configuration = spec.removeprefix(PREFIX).partition(":")
        if not name:
            raise DataError(f"{spec}: name a data set, hf:NAME or hf:NAME:CONFIGURATION")
        if _is_saved(spec.removeprefix(PREFIX)):
            return datasets.load_from_disk(str(expanded(spec.removeprefix(PREFIX))))
        with contextlib.nullcontext() if exists(Path(name)) else _patient(name):
            return datasets.load_dataset(name, configuration or None)
    except DataError:
        raise
    except Exception as error:  # the library's own, those of pyarrow, fsspec, the Hub's client
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(f"{spec}: {reason}; is the name right, and is it in the cache or the network there?") from error


def _licence(parts: Mapping[str, Any]) -> str:
    """What the data set states itself, as an SPDX identifier where it is one word."""
    stated = str(getattr(getattr(parts["train"], "info", None), "license", "") or "").strip().lower()
    return stated if stated and " " not in stated else "unknown"


@contextlib.contextmanager
def _patient(name: str) -> Iterator[None]:
    """Where the Hub does not respond within seconds, let the library look into its cache alone: its own retries take minutes."""
    import datasets

    before = datasets.config.HF_HUB_OFFLINE
    try:
        hub.reach(f"datasets/{name}", "README.md")
    except hub.Unavailable:
        datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's progress bars and notes: what matters is said by zoo."""
    import datasets

    level = logging.getLogger("datasets").level
    shown = not datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    logging.getLogger("datasets").setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.getLogger("datasets").setLevel(level)
        if not shown:
            datasets.enable_progress_bars()


SOURCE = HuggingFace()
