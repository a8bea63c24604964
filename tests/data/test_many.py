"""Twice as many classes, or columns, are twice as much work. What is counted is calls and comparisons, not seconds."""

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pytest
from PIL import Image

from zoo.config import build
from zoo.data import open_splits
from zoo.data.sources.class_folders.listing import Listing, check_layout, list_folder
from zoo.data.sources.class_folders.reading import read_listing
from zoo.data.sources.in_memory.given_rows import open_rows
from zoo.data.sources.tables.gathering import Columns, read_table
from zoo.data.sources.tables.row_sources import read_rows
from zoo.data.splits import open_for_evaluation
from zoo.types import Labels

MANY = 200


class Counted(str):
    """A name that counts how often it is compared with another."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        Counted.compared += 1
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __str__(self) -> str:
        return self


def comparisons(work: Callable[[], Any]) -> int:
    Counted.compared = 0
    work()
    return Counted.compared


def calls(work: Callable[[], Any]) -> int:
    """How many functions are called, Python's own and those in C."""
    found = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal found
        found += event in ("call", "c_call")

    work()  # what is imported and remembered at first
    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return found


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A folder of many classes of three images, and one of twice as many."""
    made = []
    for count in (MANY, 2 * MANY):
        root = tmp_path_factory.mktemp("many")
        for number in range(count):
            (root / f"class {number}").mkdir()
            for image in range(3):
                Image.new("RGB", (8, 8), (image, number // 256, number % 256)).save(root / f"class {number}" / f"{image}.png")
        made.append(root)
    return made


def counted(listing: Listing) -> Listing:
    parts = {part: {Counted(name): files for name, files in found.items()} for part, found in listing.parts.items()}
    return replace(listing, parts=parts)


def test_listing_a_folder_of_many_classes(folders):
    few, many = (calls(lambda root=root: list_folder(root)) for root in folders)
    assert few > MANY
    assert many < 2.1 * few


def test_checking_and_reading_many_classes(folders):
    listing = counted(list_folder(folders[0]))
    two = replace(listing, parts={"train": listing.parts["all"], "val": listing.parts["all"]})
    assert comparisons(lambda: check_layout(two)) < 20 * MANY
    assert comparisons(lambda: read_listing(listing, 0.0)) < 20 * MANY


def test_splitting_and_renumbering_many_classes(folders):
    few, many = (calls(lambda root=root: open_splits(build({"data": str(root), "cache": "off"}))) for root in folders)
    assert many < 2.1 * few
    splits = open_splits(build({"data": str(folders[0]), "cache": "off"}))
    labels = Labels(tuple(map(Counted, (*splits.labels.names, "one more"))))
    assert comparisons(lambda: splits.relabelled(labels)) < 20 * MANY
    assert comparisons(lambda: open_for_evaluation(str(folders[0]), labels)) < 20 * MANY


def wide(path: Path, form: str, count: int) -> Any:
    values = {"text": [f"a text of number {row}" for row in range(60)], "label": ["cat", "dog"] * 30}
    frame = pd.DataFrame(values | {f"field {number}": [number + row for row in range(60)] for number in range(count)})
    if form == "csv":
        frame.to_csv(path, index=False)
    elif form == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif form == "parquet":
        frame.to_parquet(path)
    elif form == "arrow":
        pl.DataFrame(frame.to_dict("list")).write_ipc(path)
    return frame


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "arrow"])
def test_a_table_of_many_columns(tmp_path, form):
    paths = [tmp_path / f"{count}.{form}" for count in (MANY, 2 * MANY)]
    for path in paths:
        wide(path, form, int(path.stem))
    few, many = (calls(lambda path=path: read_table(path, Columns())) for path in paths)
    assert few > MANY
    assert many < 2.1 * few
    names = [Counted(f"field {number}") for number in range(MANY)]
    assert comparisons(lambda: next(read_rows(paths[0], names))) < 10 * MANY


def test_a_frame_of_many_columns(tmp_path):
    frame = wide(tmp_path, "frame", MANY)
    frame.columns = pd.Index(list(map(Counted, frame.columns)), dtype=object)
    assert comparisons(lambda: open_rows("train", frame)) < 20 * MANY
    few, many = (
        calls(lambda count=count: open_rows("train", wide(tmp_path, "frame", count)).sample()) for count in (MANY, 2 * MANY)
    )
    assert many < 2.1 * few
