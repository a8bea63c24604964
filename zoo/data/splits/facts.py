"""What is known of the data: for people, for the card, and for telling later whether they are still the same.

Also which samples a network does not see whole, as it takes so much of a text or an audio clip and no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from zoo.backbones.audio import AudioPreprocess
from zoo.backbones.backbone import Preprocess
from zoo.backbones.texts import TextPreprocess
from zoo.data import targets
from zoo.data.notices import Notice, NoticeEntry
from zoo.data.sets import AudioFiles, Opened, SampleSet
from zoo.types import Kind, Labels, Schema, Task

_IMBALANCED = 10
"""Ratio between the largest and the smallest class from which accuracy alone misleads."""
_SHOWN = 20
"""Class names in a line."""


@dataclass(frozen=True)
class DataFacts:
    """Counts, digests, and everything about the data that a person should know."""

    source: str
    """Where the samples are, or what they are."""
    licence: str
    """SPDX identifier of the samples' licence, or `unknown`."""
    sizes: dict[str, int]
    """Samples by split."""
    counts: dict[str, dict[str, int]]
    """Samples by split and class (or label, or value), every class listed in every split."""
    sha256: str
    """Digest of the data and of how they are split: see `digest`."""
    digests: dict[str, str]
    """The same of each split alone."""
    unreadable: tuple[str, ...] = ()
    """`name: reason` of each sample that was left out."""
    ignored: int = 0
    """Files that are not samples of a class by their names and places, and links to folders."""
    leaks: int = 0
    """Samples that are in an earlier split too, byte by byte; what was done about them is among the notices."""
    notices: tuple[str, ...] = ()
    """One line each, for people; a `zoo.data.notices.Notice` knows all that it is about."""
    task: Task = Task.CLASSIFICATION
    kind: Kind = Kind.IMAGE
    bit_depth: int | None = None
    """Bits that 16-bit values use in all images; None: there are no such images."""
    schema: Schema = field(default_factory=Schema)
    """Columns that were read."""
    set_aside: tuple[str, ...] = ()
    """The sets that zoo cut itself: `val`, `test`."""

    @property
    def imbalance(self) -> float | None:
        """Samples of the largest class of `train` for each of the smallest; None without a `train`, and without classes."""
        if self.task is not Task.CLASSIFICATION:
            return None
        counts = [count for count in self.counts.get("train", {}).values() if count]
        return max(counts) / min(counts) if counts else None

    def lines(self, file: str | None = None) -> list[str]:
        """The facts for people: the sizes first, then the notices, which name the file, where there is one, that has all that they are
        about."""
        sizes = self.sizes
        names = list(next(iter(self.counts.values())))
        shown = ", ".join(names[:_SHOWN]) + (f", ... ({len(names)} in all)" if len(names) > _SHOWN else "")
        split = ", ".join(f"{name} {size:,}" for name, size in sizes.items())
        told = [one.pointing(file) if file and isinstance(one, Notice) else one for one in self.notices]
        several = "" if len(names) == 1 else "s"
        what = {
            Task.CLASSIFICATION: "classes in this order",
            Task.MULTILABEL: f"label{several}",
            Task.REGRESSION: f"value{several}",
        }
        return [f"data: {self.source}; {split} {self.kind.nouns}; {len(names)} {what[self.task]}: {shown}", *told]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for JSON and the card."""
        return {
            **asdict(replace(self, notices=())),
            "unreadable": list(self.unreadable),
            "notices": list(map(str, self.notices)),
            "schema": self.schema.to_dict(),
            "set_aside": list(self.set_aside),
            "imbalance": self.imbalance,
        }


def digest(samples: SampleSet, labels: Labels, task: Task) -> str:
    """sha256 over the sorted lines `<sha256 of the sample> <class>`: independent of file names and of their order.

    Samples without digests (of a user's own data set) count by their place and class.
    """
    known = bool(samples.digests.astype(bool).all())
    lines = [
        f"{samples.digest(index) if known else index} {targets.text(samples.targets, index, labels, task)}\n"
        for index in range(len(samples))
    ]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()


def gather(
    source: Opened, parts: Mapping[str, SampleSet], labels: Labels, *, leaks: int = 0, notices: tuple[str, ...] = ()
) -> DataFacts:
    """The facts of these splits of a source."""
    counts = {split: targets.counts(samples.targets, labels, source.task) for split, samples in parts.items()}
    digests = {split: digest(samples, labels, source.task) for split, samples in parts.items()}
    whole = hashlib.sha256("".join(f"{split} {value}\n" for split, value in sorted(digests.items())).encode()).hexdigest()
    absent = [
        f"{split} has no {source.kind.nouns} of: {', '.join(missing[:_SHOWN])}{', ...' if len(missing) > _SHOWN else ''}"
        for split, by_class in counts.items()
        if (missing := [name for name, count in by_class.items() if not count])
    ]
    own = (*source.notices, *notices, *absent)
    facts = DataFacts(
        source=source.description,
        licence=source.licence,
        sizes={split: len(samples) for split, samples in parts.items()},
        counts=counts,
        sha256=whole,
        digests=digests,
        unreadable=tuple(source.unreadable),
        ignored=source.ignored,
        leaks=leaks,
        notices=own,
        task=source.task,
        kind=source.kind,
        bit_depth=source.bit_depth,
        schema=source.schema,
        set_aside=tuple(name for name in parts if name != "train" and not len(source.parts.get(name, ()))),
    )
    if facts.imbalance is None or facts.imbalance < _IMBALANCED:
        return facts
    train = counts["train"]
    ends = [end(train, key=lambda name: train[name]) for end in (max, min)]
    said = " but ".join(f"{train[name]:,} {facts.kind.nouns} of {name}" for name in ends)
    return replace(facts, notices=(*own, f"train has {said}; look at balanced_accuracy too"))


LOOKED_AT = 1000
"""Texts that are counted, each of which is tokenized for it (0.8 ms for 200 words); of more, these are spread evenly, and their share is
within 3 points of that of all (95 %)."""

Places = list[tuple[str, int]]
"""Sets, and samples' numbers in them."""


def cut_off(parts: Mapping[str, SampleSet], preprocess: Preprocess) -> list[Notice]:
    """What is said of the samples of which something is left out, and which they are; nothing if none is, or it is not known."""
    if isinstance(preprocess, TextPreprocess):
        looked_at = _spread(parts)
        cut = [(name, index) for name, index in looked_at if preprocess.truncated(parts[name].item(index))]
        return _notices(parts, cut, f"have more than {preprocess.max_length} tokens", preprocess.truncation, len(looked_at))
    if isinstance(preprocess, AudioPreprocess) and preprocess.truncation != "window":
        files = {name: samples for name, samples in parts.items() if isinstance(samples, AudioFiles)}
        limit = 1000 * preprocess.max_seconds
        cut = [(name, index) for name, one in files.items() for index in np.flatnonzero(one.milliseconds > limit).tolist()]
        most = f"last longer than {preprocess.max_seconds:g} seconds"
        return _notices(parts, cut, most, preprocess.truncation, sum(map(len, files.values())))
    return []


def _spread(parts: Mapping[str, SampleSet]) -> Places:
    """All samples, or as many as are looked at."""
    total = sum(map(len, parts.values()))
    chosen = np.unique(np.linspace(0, total - 1, min(LOOKED_AT, total)).astype(int))
    found: Places = []
    for name, samples in parts.items():
        found += [(name, index) for index in chosen[(chosen >= 0) & (chosen < len(samples))].tolist()]
        chosen = chosen - len(samples)
    return found


def _notices(parts: Mapping[str, SampleSet], cut: Places, most: str, truncation: str, looked_at: int) -> list[Notice]:
    """One on those that are longer than the network takes, if there are any. looked_at: among how many they were found."""
    if not cut:
        return []
    total, nouns = sum(map(len, parts.values())), next(iter(parts.values())).kind.nouns
    some = f"{looked_at:,} {nouns}" if looked_at == total else f"{looked_at:,} {nouns} that were looked at ({total:,} in all)"
    said = f"{len(cut):,} of {some} {most} and are cut (truncation {truncation}; window would keep all): "
    entries = [NoticeEntry(parts[name].name(index), split=name) for name, index in cut]
    return [Notice.naming(said, entries, what="sample", why=most, done="cut")]
