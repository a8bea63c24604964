"""What is wrong with the data, said before any weights are loaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from zoo.data import targets
from zoo.data.notices import Notice, NoticeEntry, first
from zoo.data.sets import Opened, SampleSet
from zoo.errors import DataError, nearest
from zoo.scale import Scale
from zoo.types import Labels, Task

SPLITS = ("train", "val", "test")
"""In the order in which a sample that is in two of them is kept: the first keeps it."""
_SHOWN = 3


def check_known(place: str, names: list[str], known: list[str], owner: str) -> None:
    """Raises: DataError naming the classes of `place` that `owner` (train, or the model) does not have."""
    there = frozenset(known)
    unknown = [name for name in names if name not in there]
    if unknown:
        similar = nearest(unknown[0], known, 1)
        hint = f"; did you mean {similar[0]!r}?" if similar else ""
        raise DataError(f"{place}: {owner} has no class {', '.join(map(repr, unknown[:_SHOWN]))}{hint}")


def check_readable(source: Opened, trained: SampleSet) -> None:
    """Raises: DataError naming a class of which no sample could be read."""
    if source.task is not Task.CLASSIFICATION:
        return
    missing = set(range(len(source.classes))) - set(trained.targets.tolist())
    if missing:
        names = ", ".join(source.classes[index] for index in sorted(missing)[:_SHOWN])
        reasons = f": {'; '.join(source.unreadable[:5])}" if source.unreadable else " in train"
        raise DataError(f"{source.description}: no {source.kind.nouns} of the class {names} can be read{reasons}")


def check_values(samples: SampleSet, labels: Labels) -> None:
    """Check that the values to learn stay apart in float32, once they are centred and scaled: one that is far from all others takes the
    whole range. Raises: DataError naming its sample."""
    learnt = Scale.of(samples.targets).standardised(samples.targets)
    for index, name in enumerate(labels.names):
        values = samples.targets[:, index]
        if 2 * len(np.unique(learnt[:, index])) < len(np.unique(values)):
            far = int(np.abs(values - np.median(values)).argmax())
            raise DataError(
                f"{samples.name(far)}: {name} is {values[far]:g}, so far from the others that float32 cannot tell most of these apart; "
                "leave the sample out, or give the values on another scale (their logarithms)"
            )


def similar_names(labels: Labels) -> list[str]:
    """A notice for each pair of class names that differ in case or white space alone."""
    by_folded: dict[str, list[str]] = {}
    for name in labels.names:
        by_folded.setdefault("".join(name.casefold().split()), []).append(name)
    return [
        f"classes {' and '.join(map(repr, names))} differ in case or spaces alone; merge them if they are one class"
        for names in by_folded.values()
        if len(names) > 1
    ]


def conflicting(samples: SampleSet, labels: Labels, task: Task) -> list[str]:
    """A notice if one sample, byte by byte, stands there with two targets."""
    seen: dict[bytes, int] = {}
    pairs: list[tuple[int, int]] = []
    for index, digest in enumerate(samples.digests.tolist()):
        first = seen.setdefault(digest, index) if digest else index
        if samples.target(first) != samples.target(index):
            pairs.append((first, index))
    if not pairs:
        return []

    def label(index: int) -> str:
        return f" ({targets.text(samples.targets, index, labels, task)})"

    entries = [
        NoticeEntry(samples.name(one), f"{label(one)} = {samples.name(other)}{label(other)}", "train") for one, other in pairs
    ]
    before = f"{len(pairs):,} {samples.kind.nouns} of train stand there with another label too: "
    why = "the same stands there with another label too"
    return [Notice.naming(before, entries, what="sample", why=why, done="kept", shown=1)]


def resolve_leaks(parts: Mapping[str, SampleSet], policy: str) -> tuple[dict[str, SampleSet], int, list[str]]:
    """Treat samples that are, byte by byte or by another of their group, in two splits; the test then measures memory, not knowledge.

    Args:
        policy: `error`; `warn`: drop them from the later of train, val, test, and leave out a split of which nothing remains; `ignore`:
            keep them.

    Returns: the splits, how many samples were in an earlier split too, and notices.
    Raises: DataError, with `error` naming the first pairs.
    """
    kept = dict(parts)
    total = 0
    notices: list[str] = []
    earlier: dict[bytes | int, tuple[str, int]] = {}
    for split in (name for name in SPLITS if name in parts):
        samples = parts[split]
        keys = [
            (one, None if group is None else int(group))
            for one, group in zip(samples.digests.tolist(), _groups(samples), strict=True)
        ]
        twins = [(index, twin) for index, key in enumerate(keys) if (twin := _twin(earlier, key))]
        for index, key in enumerate(keys):
            for one in key:
                if one not in (b"", None):
                    earlier.setdefault(one, (split, index))
        kept[split] = samples
        if not twins:
            continue
        total += len(twins)
        entries = [NoticeEntry(samples.name(index), f" = {at}: {parts[at].name(other)}", split) for index, (at, other) in twins]
        by_group = "" if samples.groups is None else ", or others of their group are"
        said = f"{len(twins):,} {samples.kind.nouns} of {split} are in an earlier split too{by_group}"
        if policy == "error":
            shown = first([f"{one.name}{one.detail}" for one in entries], _SHOWN)
            raise DataError(f"{said} ({shown}); remove them, or use --leaks warn to drop them from {split}")
        before, after, done = f"{said} (", "): kept, as --leaks ignore says", "kept"
        if policy == "warn":
            kept[split] = samples.subset(np.setdiff1d(np.arange(len(samples)), [index for index, _ in twins]))
            if not len(kept[split]):
                del kept[split]
                before, after = f"all {before}", f"): {split} is left out"
            else:
                after = f"): dropped from {split}"
            done = "left out"
        why = "is in an earlier split too"
        notices.append(Notice.naming(before, entries, after, what="sample", why=why, done=done, shown=_SHOWN))
    return kept, total, notices


def _groups(samples: SampleSet) -> Iterable[int | None]:
    return [None] * len(samples) if samples.groups is None else samples.groups.tolist()


def _twin(earlier: Mapping[bytes | int, tuple[str, int]], key: Iterable[bytes | int | None]) -> tuple[str, int] | None:
    """Where the first sample is that has one of these."""
    return next((earlier[one] for one in key if one is not None and one in earlier), None)
