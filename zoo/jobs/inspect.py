"""The report on some data: read, measured, compared, and judged by a backbone where one is named."""

from __future__ import annotations

import base64
import contextlib
import io
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo import cache, memory, registry
from zoo.config import Resolved
from zoo.data.notices import lines
from zoo.data.sets import Integers
from zoo.data.splits import Splits, checks, duplicates
from zoo.errors import DataError, OutputError
from zoo.folders import exists, is_folder
from zoo.inspection import page
from zoo.inspection.findings import Found, Group, Histogram, LabelErrors, Sample, Suspect, most_common, sorted_groups
from zoo.inspection.measures import Measures, likely_errors, measure
from zoo.inspection.samples import FOLDS, Raw, assign, check_task, features, from_splits, open_raw, out_of_fold
from zoo.types import Kind, Task

EXAMPLES = 6
"""Samples of each class that the page shows."""
CLASSES = 60
"""Classes of which it shows some."""
SIDE = 112
"""Pixels of the longer side of an image on the page."""
_LETTERS = 400
"""Characters of a text on the page."""


@dataclass(frozen=True)
class DataReport(Found):
    """What is in some data, and what is wrong with it."""

    def html(self) -> str:
        """As one page that needs no other file, no script and no network."""
        return page.write(self)

    def save(self, path: Path) -> Path:
        """Write the page, in the place of an older one. Raises: OutputError, also if `path` is a file of another kind."""
        check_place(path)
        try:
            path.write_text(self.html(), encoding="utf-8", errors="replace")
        except OSError as error:
            raise OutputError(f"{path} cannot be written: {error.strerror}") from error
        return path


def check_place(path: Path) -> None:
    """Raises: OutputError where a page cannot be written, or something else would be overwritten."""
    try:
        if exists(path) and not path.read_bytes().startswith(page.START.encode()):
            raise OutputError(f"{path} exists and is not a data report; it is not overwritten: name another file")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    if not is_folder(path.parent):
        raise OutputError(f"{path} cannot be written: there is no folder {path.parent}")


def inspect(resolved: Resolved, splits: Splits | None, *, judged: bool, out: Path | None = None) -> DataReport:
    """Describe the data that the options name.

    Args:
        splits: data sets given in Python, in their place.
        judged: whether the backbone of the options judges the labels.
        out: where the page goes.

    Raises: DataError, ConfigError, WeightsError: there is nothing to describe, or nothing to judge it by; OutputError.
    """
    if out is not None:
        check_place(out)
    config = resolved.config
    raw = from_splits(splits) if splits is not None else open_raw(config)
    if judged:
        check_task(raw)
    measures = measure(raw, cache.place(config.machine.cache))
    exact = duplicates.same(raw.digests)
    report = _describe(raw, measures, exact)
    if judged:
        report = replace(report, label_errors=judge(raw, resolved, [*exact, *measures.near]))
    report = _illustrate(report, raw)
    if out is not None:
        report.save(out)
    return report


def _describe(raw: Raw, measures: Measures, exact: list[Integers]) -> DataReport:
    facts, digests = raw.facts, raw.digests
    near = [group for group in measures.near if len(set(digests[group].tolist())) > 1 or not digests[group[0]]]
    return DataReport(
        source=facts.source,
        kind=facts.kind,
        task=facts.task,
        sha256=facts.sha256,
        counts=facts.counts,
        sizes=facts.sizes,
        histograms=tuple(Histogram.of(name, values) for name, values in measures.sizes.items() if len(values)),
        common={name: most_common(counts) for name, counts in measures.common.items()},
        unreadable=(*facts.unreadable, *measures.unreadable),
        ignored=facts.ignored,
        exact=_groups(raw, exact),
        near=_groups(raw, near),
        similar_labels=tuple(checks.similar_names(raw.labels)) if facts.task is Task.CLASSIFICATION else (),
        notices=tuple(map(str, facts.notices)),
        noticed=tuple(lines(facts.notices)),
    )


def _groups(raw: Raw, groups: Iterable[Integers]) -> tuple[Group, ...]:
    return sorted_groups([Group(tuple(sample(raw, int(index)) for index in group)) for group in groups])


def sample(raw: Raw, index: int) -> Sample:
    """Which sample it is."""
    split, samples, own = raw.locate(index)
    return Sample(split, samples.name(own), raw.label(index))


@memory.kept()
def judge(raw: Raw, resolved: Resolved, groups: Iterable[Integers]) -> LabelErrors:
    """The labels that are likely wrong by a probe on the features of the options' backbone.

    groups: of samples that are (nearly) the same, which share a fold. Raises: DataError if there are too few to learn from.
    """
    labels = raw.targets
    names = [f"{split}/{samples.name(index)}" for split, samples in raw.parts.items() for index in range(len(samples))]
    numbers = assign(labels, names, groups, resolved.config.machine.seed)
    used = np.flatnonzero(numbers >= 0)
    classes = np.unique(labels[used])
    if len(classes) < 2:
        needed = f"two classes with {FOLDS} different {raw.facts.kind.nouns} each"
        there = "is one" if len(classes) else "is none"
        raise DataError(
            f"{raw.facts.source}: likely label errors are told by {needed}, and there {there}; leave out the backbone"
        )
    given = np.searchsorted(classes, labels[used])
    rows, weights = features(raw, resolved)
    probabilities = out_of_fold(rows[used], given, numbers[used])
    wrong, likely = likely_errors(given, probabilities)
    names = [raw.labels.names[one] for one in classes]
    suspects = tuple(
        Suspect(
            sample(raw, int(used[row])), names[other], float(probabilities[row, given[row]]), float(probabilities[row, other])
        )
        for row, other in zip(wrong.tolist(), likely.tolist(), strict=True)
    )
    pairs = Counter((one.sample.label, one.likely) for one in suspects)
    return LabelErrors(
        backbone=registry.resolve(resolved.config.model.backbone).name,
        weights=weights,
        folds=FOLDS,
        predicted=len(used),
        left_out=tuple(name for index, name in enumerate(raw.labels.names) if index not in classes),
        accuracy=float((probabilities.argmax(axis=1) == given).mean()),
        suspects=suspects,
        confusions=tuple((label, other, count) for (label, other), count in pairs.most_common()),
    )


def _illustrate(report: DataReport, raw: Raw) -> DataReport:
    """The report with examples of each class, and with previews of all that its page shows."""
    examples = _examples(raw)
    shown = {one for some in examples.values() for one in some}
    shown |= {
        one for group in (*report.exact[: page.GROUPS], *report.near[: page.GROUPS]) for one in group.samples[: page.MEMBERS]
    }
    shown |= {one.sample for one in report.label_errors.suspects[: page.SUSPECTS]} if report.label_errors else set()
    places = {
        (split, samples.name(index)): (samples, index) for split, samples in raw.parts.items() for index in range(len(samples))
    }
    previews = {}
    for one in shown:
        samples, index = places[one.split, one.name]
        with contextlib.suppress(Exception):  # it is listed among the unreadable
            previews[one] = preview(samples.item(index), raw.facts.kind)
    return replace(report, previews=previews, examples=examples)


def _examples(raw: Raw) -> dict[str, tuple[Sample, ...]]:
    """A few samples of each of the first classes, evenly spread over them; of values, of all."""
    if raw.facts.task is Task.REGRESSION:
        return {"": _spread(raw, np.arange(len(raw)), 3 * EXAMPLES)}
    holds = raw.targets
    if raw.facts.task is Task.CLASSIFICATION:
        holds = holds[:, None] == np.arange(min(len(raw.labels), CLASSES))
    return {
        name: _spread(raw, np.flatnonzero(holds[:, number]), EXAMPLES) for number, name in enumerate(raw.labels.names[:CLASSES])
    }


def _spread(raw: Raw, indices: Integers, count: int) -> tuple[Sample, ...]:
    places = np.unique(np.linspace(0, len(indices) - 1, min(count, len(indices))).astype(int))
    return tuple(sample(raw, int(index)) for index in indices[places])


def preview(item: Any, kind: Kind) -> str:
    """The beginning of a text, a small JPEG image as a data address, or an audio clip's length in words."""
    if kind is Kind.TEXT:
        text = item if isinstance(item, str) else " ⁄ ".join(item)
        return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}…"
    if kind is Kind.AUDIO:
        return f"{item.samples.shape[-1] / item.rate:.2f} s, {item.rate:,} Hz"
    if not isinstance(item, Image.Image):
        return ""
    small = item.copy()
    small.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=75)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
