"""What is in some data and what is wrong with it, as values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.data.notices import Line
from zoo.types import Kind, Task

_BINS = 24
_SKEWED = 20
"""Ratio of the largest to the median from which a histogram's bins grow by a factor instead of a step."""
_SHOWN = 3
"""Groups, or members of a group, in a line."""
_COMMON = 10
"""Values of a count that are kept."""


@dataclass(frozen=True)
class Sample:
    """Which sample something is about."""

    split: str
    """`train`, `val`, `test`, or `all` where the data have no splits."""
    name: str
    """A file's path inside the folder of the data; `table.csv, row 17`."""
    label: str

    @property
    def place(self) -> str:
        """Its name, and its split where that does not say it."""
        told = self.split == "all" or self.name.startswith(f"{self.split}/")
        return self.name if told else f"{self.split}: {self.name}"

    def __str__(self) -> str:
        return f"{self.place} ({self.label})"


@dataclass(frozen=True)
class Group:
    """Samples that are the same, or nearly."""

    samples: tuple[Sample, ...]

    @property
    def contradicts(self) -> bool:
        """Whether its members have different labels."""
        return len({sample.label for sample in self.samples}) > 1

    @property
    def leaks(self) -> bool:
        """Whether its members are in different splits."""
        return len({sample.split for sample in self.samples}) > 1

    def __str__(self) -> str:
        rest = len(self.samples) - _SHOWN
        return " = ".join(map(str, self.samples[:_SHOWN])) + (f" and {rest:,} more" if rest > 0 else "")


@dataclass(frozen=True)
class Histogram:
    """How large the samples are."""

    measured: str
    """`width in pixels`, `words`, `seconds`."""
    edges: tuple[float, ...]
    """Of the bins, one more than there are."""
    counts: tuple[int, ...]
    smallest: float
    median: float
    largest: float

    @classmethod
    def of(cls, measured: str, values: NDArray[Any]) -> Histogram:
        """The histogram of at least one value. Where a few are far larger than most, the bins grow by a factor."""
        low, median, high = float(values.min()), float(np.median(values)), float(values.max())
        if low > 0 and high > _SKEWED * median:
            edges = np.geomspace(low, high, _BINS + 1)
            edges[0], edges[-1] = low, high  # but for rounding
        elif values.dtype.kind == "i" and high - low < _BINS:
            edges = np.arange(low, high + 2) - 0.5
        else:
            edges = np.linspace(low, max(high, np.nextafter(low, np.inf)), _BINS + 1)
        counts, _ = np.histogram(values, edges)
        return cls(measured, tuple(edges.tolist()), tuple(counts.tolist()), low, median, high)


@dataclass(frozen=True)
class Suspect:
    """A sample whose label is likely wrong."""

    sample: Sample
    likely: str
    """The class that the sample confidently belongs to."""
    self_confidence: float
    """Probability of its label by a model that has not seen it, 0 to 1: the lower, the likelier an error."""
    probability: float
    """Of the likely class."""


@dataclass(frozen=True)
class LabelErrors:
    """Labels that are likely wrong, by confident learning on predictions out of fold."""

    backbone: str
    weights: str
    """Where they came from."""
    folds: int
    predicted: int
    """Samples that a prediction was made for; those of classes with fewer samples than folds are left out."""
    left_out: tuple[str, ...]
    """These classes."""
    accuracy: float
    """Share of the predictions that give the label as it is: what the ranking is worth."""
    suspects: tuple[Suspect, ...]
    """The likeliest errors first."""
    confusions: tuple[tuple[str, str, int], ...]
    """(label, likely class, how many), the most frequent first."""


@dataclass(frozen=True)
class Found:
    """What is in some data, and what is wrong with it."""

    source: str
    kind: Kind
    task: Task
    sha256: str
    """Digest of the samples, their labels and splits."""
    counts: dict[str, dict[str, int]]
    """Samples by split and class; a split may be `all`."""
    sizes: dict[str, int]
    """Samples by split."""
    histograms: tuple[Histogram, ...]
    common: dict[str, dict[str, int]]
    """The most common values of what is counted (`size`, `rate`, `channels`), and how many samples have each."""
    unreadable: tuple[str, ...]
    """`name: reason` of each sample that cannot be read."""
    ignored: int
    """Files that are not samples by their names or places."""
    exact: tuple[Group, ...]
    """Samples that are the same byte by byte (texts: character by character)."""
    near: tuple[Group, ...]
    """Samples that are nearly the same, and not all exactly."""
    similar_labels: tuple[str, ...]
    """Labels that differ by case or spaces alone; a line each."""
    notices: tuple[str, ...]
    """What else was noticed in reading; a line each."""
    noticed: tuple[Line, ...]
    """Each sample, file and row that these lines are about; they name the first."""
    label_errors: LabelErrors | None = None
    """None where no backbone was given."""
    previews: dict[Sample, str] = field(default_factory=dict)
    """For the page: the beginning of a text, or a JPEG image as a data address. Not among `to_dict`."""
    examples: dict[str, tuple[Sample, ...]] = field(default_factory=dict)
    """By class, a few samples of it."""

    @property
    def total(self) -> int:
        """Samples that can be read."""
        return sum(self.sizes.values())

    @property
    def imbalance(self) -> float | None:
        """Samples of the largest class for each of the smallest, of `train` where there is one; None for other tasks."""
        own = self.counts.get("train") or next(iter(self.counts.values()))
        filled = [count for count in own.values() if count]
        return max(filled) / min(filled) if self.task is Task.CLASSIFICATION and filled else None

    @property
    def has_splits(self) -> bool:
        """Whether the data say which samples are to train on."""
        return "all" not in self.sizes

    @property
    def target(self) -> str:
        """What one of the things that are counted is called."""
        return {Task.CLASSIFICATION: "class", Task.MULTILABEL: "label", Task.REGRESSION: "value"}[self.task]

    def findings(self) -> list[tuple[str, str]]:
        """What a person should look at, the gravest first: a heading, and a line that names the first."""
        nouns = self.kind.nouns
        found: list[tuple[str, str]] = []
        if self.label_errors and self.label_errors.suspects:
            first = self.label_errors.suspects[:_SHOWN]
            listed = "; ".join(f"{one.sample}: likely {one.likely}" for one in first)
            found.append((f"{len(self.label_errors.suspects):,} labels are likely wrong", listed))
        alike = [("the same", self.exact), ("nearly the same", self.near)]
        found += _about(
            nouns, "with different labels", [(how, [one for one in every if one.contradicts]) for how, every in alike]
        )
        found += _about(nouns, "in more than one split", [(how, [one for one in every if one.leaks]) for how, every in alike])
        harmless = [(how, [one for one in every if not (one.contradicts or one.leaks)]) for how, every in alike]
        found += _about(nouns, "with one label" + (", in one split" if self.has_splits else ""), harmless)
        if self.unreadable:
            found.append((f"{len(self.unreadable):,} {nouns} cannot be read", "; ".join(self.unreadable[:_SHOWN])))
        return found + [("labels differ in case or spaces alone", line) for line in self.similar_labels]

    def to_dict(self) -> dict[str, Any]:
        """As one JSON-safe object, without the previews."""
        values = asdict(replace(self, previews={}, examples={}))
        del values["previews"], values["examples"]
        for name in ("exact", "near"):
            for group, plain in zip(getattr(self, name), values[name], strict=True):
                plain.update(contradicts=group.contradicts, leaks=group.leaks)
        values["noticed"] = [line._asdict() for line in self.noticed]
        return {**values, "total": self.total, "imbalance": self.imbalance}


def _about(nouns: str, where: str, groups: Sequence[tuple[str, Sequence[Group]]]) -> list[tuple[str, str]]:
    """A heading and a line for each of (how alike, groups) that has any."""
    found = []
    for how, some in groups:
        if some:
            count = sum(len(one.samples) for one in some)
            place = f"in {len(some):,} groups" if len(some) > 1 else "in one group"
            found.append((f"{count:,} {nouns} are {how} {where}, {place}", "; ".join(map(str, some[:_SHOWN]))))
    return found


def most_common(counts: dict[str, int]) -> dict[str, int]:
    """The first of them; what is left, as `other`."""
    kept = dict(list(counts.items())[:_COMMON])
    rest = sum(counts.values()) - sum(kept.values())
    return kept | ({"other": rest} if rest else {})


def sorted_groups(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Those that contradict first, then those that leak, then the others; the larger before the smaller."""
    return tuple(sorted(groups, key=lambda one: (not one.contradicts, not one.leaks, -len(one.samples))))
