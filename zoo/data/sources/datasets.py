"""A user's own torch data sets: their classes are found without reading pictures, where they say them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import Subset

from zoo.data.sets import DIGEST, DatasetSet, Integers
from zoo.errors import DataError
from zoo.types import Labels


def wrap(title: str, dataset: Any) -> DatasetSet:
    """A map-style data set that gives (picture, class number) as a picture set. Its pictures get no digests.

    Raises: DataError if it is not map-style, is empty, or a class is not a whole number from 0.
    """
    if not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise DataError(f"{title}: a {type(dataset).__name__} has no length or no index; give a map-style torch Dataset")
    if len(dataset) == 0:
        raise DataError(f"{title}: the data set is empty")
    targets = _stated_targets(dataset)
    if targets is None:
        targets = _read_targets(title, dataset)
    if targets.min() < 0:
        raise DataError(f"{title}[{int(targets.argmin())}]: class {targets.min()}; classes are numbered from 0")
    numbers = np.arange(len(dataset), dtype=np.int64)
    return DatasetSet(
        title=title, dataset=dataset, numbers=numbers, targets=targets, digests=np.zeros(len(dataset), dtype=DIGEST)
    )


def labels_of(train: Any, parts: Sequence[DatasetSet], names: Sequence[str] | None) -> Labels:
    """Class names in the order of the class numbers: those given, else `train.classes`, else the numbers themselves.

    Raises: DataError if a picture's class has no name.
    """
    while names is None and isinstance(train, Subset) and not hasattr(train, "classes"):
        train = train.dataset
    if names is None:
        names = getattr(train, "classes", None)
    largest = max(int(part.targets.max()) for part in parts)
    if names is None:
        return Labels(tuple(str(number) for number in range(largest + 1)))
    for part in parts:
        if part.targets.max() >= len(names):
            first = int(np.argmax(part.targets >= len(names)))
            raise DataError(f"{part.name(first)}: class {part.target(first)}, but there are {len(names)} class names")
    return Labels(tuple(str(name) for name in names))


def _stated_targets(dataset: Any) -> Integers | None:
    """`[N]` from `.targets` or `.labels`, through torch's Subset; None where there are none that can be trusted."""
    if isinstance(dataset, Subset):
        whole = _stated_targets(dataset.dataset)
        return None if whole is None else whole[np.asarray(dataset.indices, dtype=np.int64)]
    if getattr(dataset, "target_transform", None) is not None:
        return None  # what `dataset[i]` gives is not what the attribute says
    for name in ("targets", "labels"):
        values = np.asarray(getattr(dataset, name, ()))
        if values.ndim == 1 and len(values) == len(dataset) and np.issubdtype(values.dtype, np.integer):
            return values.astype(np.int64)
    return None


def _read_targets(title: str, dataset: Any) -> Integers:
    """`[N]` by reading every item once."""
    targets = np.empty(len(dataset), dtype=np.int64)
    for index in range(len(dataset)):
        try:
            _, target = dataset[index]
            targets[index] = int(target)
            exact = targets[index] == target
        except Exception as error:
            reason = str(error) or type(error).__name__
            raise DataError(f"{title}[{index}]: expected (picture, class number): {reason.splitlines()[0]}") from error
        if not exact:
            raise DataError(f"{title}[{index}]: class {target!r}; expected a whole number")
    return targets
