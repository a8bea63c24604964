"""Folders of class folders: images or audio files, with or without folders for the splits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from zoo.data.sets import Opened
from zoo.data.sources.class_folders.listing import FORM, check_layout, find_files, list_folder
from zoo.data.sources.class_folders.reading import read_listing
from zoo.data.sources.source import Named, Request, Source
from zoo.folders import expanded
from zoo.types import Kind


class Folder(Source):
    """Claims every folder that no other source does."""

    spelling = f"a folder ({FORM})"
    last = True

    def claims(self, spec: str, is_folder: bool) -> bool:
        return is_folder

    def open(self, request: Request) -> Opened:
        listing = list_folder(expanded(request.spec))
        if request.trainable:
            check_layout(listing)
        part = next((name for name in request.only if name in listing.parts), None)
        if part is not None:
            listing = listing.only(part)
        return read_listing(listing, request.options.max_unreadable, request.place, request.options.bit_depth)

    def inputs(self, request: Request) -> Iterator[Named]:
        """The files at any depth."""
        return ((str(path), str(path)) for path in self.files(request))

    def count(self, request: Request) -> int:
        return len(self.files(request))

    def files(self, request: Request) -> list[Path]:
        return [Path(path) for path in find_files([request.spec], request.kind or Kind.IMAGE)]


SOURCE = Folder()
