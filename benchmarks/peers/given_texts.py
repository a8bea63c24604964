"""What the text peers share: the table, read by its splits."""

from __future__ import annotations

import csv
from pathlib import Path


def table(folder: Path) -> tuple[dict[str, tuple[list[str], list[int]]], list[str]]:
    """(texts, class numbers) by split, and the class names."""
    with (folder / "texts.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["label"] for row in rows})
    parts: dict[str, tuple[list[str], list[int]]] = {"train": ([], []), "val": ([], []), "test": ([], [])}
    for row in rows:
        parts[row["split"]][0].append(row["text"])
        parts[row["split"]][1].append(names.index(row["label"]))
    return parts, names
