"""What is known of the data: for people, for the card, and for telling later whether they are still the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zoo.data.sets import PictureSet, Source
from zoo.types import Labels

_IMBALANCED = 10
"""Ratio between the largest and the smallest class from which accuracy alone misleads."""
_SHOWN = 20
"""Class names in a line."""


@dataclass(frozen=True)
class DataFacts:
    """Counts, digests, and everything about the data that a person should know."""

    source: str
    """Where the pictures are, or what they are."""
    licence: str
    """SPDX identifier of the pictures' licence, or `unknown`."""
    counts: dict[str, dict[str, int]]
    """Pictures by split and class, every class listed in every split."""
    sha256: str
    """Digest of the data and of how they are split: see `digest`."""
    digests: dict[str, str]
    """The same of each split alone."""
    unreadable: tuple[str, ...] = ()
    """`name: reason` of each picture that was left out."""
    ignored: int = 0
    """Files that are not pictures of a class by their names and places, and links to folders."""
    leaks: int = 0
    """Pictures that are in an earlier split too, byte by byte; what was done about them is among the notices."""
    notices: tuple[str, ...] = ()
    """One line each, for people."""

    @property
    def imbalance(self) -> float | None:
        """Pictures of the largest class of `train` for each of the smallest; None without a `train`."""
        counts = [count for count in self.counts.get("train", {}).values() if count]
        return max(counts) / min(counts) if counts else None

    def lines(self) -> list[str]:
        """The facts for people: the sizes first, then the notices."""
        sizes = {split: sum(by_class.values()) for split, by_class in self.counts.items()}
        names = list(next(iter(self.counts.values())))
        shown = ", ".join(names[:_SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "")
        split = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
        return [f"data: {self.source}; {split} pictures; {len(names)} classes in this order: {shown}", *self.notices]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON and the card."""
        return {**asdict(self), "unreadable": list(self.unreadable), "notices": list(self.notices), "imbalance": self.imbalance}


def digest(pictures: PictureSet, labels: Labels) -> str:
    """sha256 over the sorted lines `<sha256 of the picture> <class>`: independent of file names and of their order.

    Pictures without digests (of a user's own data set) count by their place and class.
    """
    known = bool(pictures.digests.astype(bool).all())
    lines = [
        f"{pictures.digest(index) if known else index} {labels.names[pictures.target(index)]}\n" for index in range(len(pictures))
    ]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def gather(
    source: Source, parts: Mapping[str, PictureSet], labels: Labels, *, leaks: int = 0, notices: tuple[str, ...] = ()
) -> DataFacts:
    """The facts of these splits of a source."""
    counts = {
        split: dict(zip(labels.names, np.bincount(pictures.targets, minlength=len(labels)).tolist(), strict=True))
        for split, pictures in parts.items()
    }
    digests = {split: digest(pictures, labels) for split, pictures in parts.items()}
    whole = hashlib.sha256("".join(f"{split} {value}\n" for split, value in sorted(digests.items())).encode()).hexdigest()
    absent = [
        f"{split} has no pictures of: {', '.join(missing[:_SHOWN])}{', ...' if len(missing) > _SHOWN else ''}"
        for split, by_class in counts.items()
        if (missing := [name for name, count in by_class.items() if not count])
    ]
    own = (*source.notices, *notices, *absent)
    facts = DataFacts(
        source.description, source.licence, counts, whole, digests, tuple(source.unreadable), source.ignored, leaks, own
    )
    if facts.imbalance is None or facts.imbalance < _IMBALANCED:
        return facts
    train = counts["train"]
    ends = [end(train, key=lambda name: train[name]) for end in (max, min)]
    said = " but ".join(f"{train[name]:,} pictures of {name}" for name in ends)
    return DataFacts(**{**vars(facts), "notices": (*own, f"train has {said}; look at balanced_accuracy too")})
