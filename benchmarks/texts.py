"""The texts that every command reads: short English texts by subject, always the same ones, as one table with a column of splits.

They are Debian's package `fortunes`: files of epigrams, each a subject. The collection says of itself that its origins are unknown
and its licence is as of the package fortune-mod (BSD); nothing of it is in this repository, and nothing is downloaded.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from benchmarks.pictures import stratified
from zoo.errors import DataError

FORTUNES = Path("/usr/share/games/fortunes")
SUBJECTS = (
    "art", "computers", "definitions", "food", "knghtbrd", "law", "linux", "literature", "men-women", "perl", "politics", "science",
    "songs-poems", "startrek", "work", "zippy",
)  # fmt: skip
"""Files that are of one subject, with 190 texts or more each. (`cookie`, `fortunes`, `miscellaneous` and their like are of any.)"""
SIZES = (3_000, 1_000, 1_000)
"""Texts to train on, to choose on and to measure on."""


def write(folder: Path, sizes: tuple[int, int, int], seed: int = 0) -> None:
    """Write `texts.csv` (text, label, split), each subject in its share. Raises: DataError if the texts are not installed."""
    texts, labels = read()
    order = stratified(np.unique(labels, return_inverse=True)[1], seed)
    train, val, test = sizes
    if len(order) < train + val + test:
        raise DataError(f"there are {len(order):,} texts, fewer than the {train + val + test:,} asked for")
    splits = {"val": order[:val], "test": order[val : val + test], "train": order[val + test :][:train]}
    folder.mkdir(parents=True)
    with (folder / "texts.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label", "split"))
        for split in ("train", "val", "test"):
            writer.writerows((texts[row], labels[row], split) for row in splits[split])


def read() -> tuple[list[str], list[str]]:
    """Every text and its subject; a text that stands twice is taken once."""
    found: dict[str, str] = {}
    for subject in SUBJECTS:
        path = FORTUNES / subject
        try:
            content = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}; install Debian's fortunes") from error
        for part in content.split("\n%\n"):
            text = " ".join(part.strip("%\n").split())
            if text:
                found.setdefault(text, subject)
    return list(found), list(found.values())
