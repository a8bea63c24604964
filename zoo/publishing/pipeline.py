"""The whole way: train, load again, measure, describe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.config import Resolved
from zoo.data.splits import from_datasets
from zoo.errors import ConfigError
from zoo.evaluation import metrics
from zoo.publishing.finish import finish
from zoo.runs import Run
from zoo.training import session
from zoo.training.session import CUSTOM_DATA, Extras


def extras(
    resolved: Resolved, data_sets: Sequence[Any] | None, metric: Any, label_names: Sequence[str] | None
) -> tuple[Resolved, Extras]:
    """Python objects beside the options, and the options with a word in their place. Raises: ConfigError, DataError."""
    splits = None
    if data_sets is not None:
        if not 2 <= len(data_sets) <= 3:
            raise ConfigError(f"data has {len(data_sets)} parts; expected (train, val) or (train, val, test)")
        train, val, *rest = data_sets
        splits = from_datasets(train, val, rest[0] if rest else None, label_names)
        resolved = resolved.settle("python", data=CUSTOM_DATA)
    elif label_names is not None:
        raise ConfigError("label_names name the classes of data sets; a folder's classes are named by its folders")
    found = None
    if metric is not None and not isinstance(metric, str):
        found = metrics.resolve(metric)
        resolved = resolved.settle("python", metric=found.name)
    return resolved, Extras(splits, found)


def finetune(resolved: Resolved, given: Extras) -> Run:
    """Train a new run and finish it. Raises: ZooError."""
    trained = session.start(resolved, given)
    return finish(trained) if trained.is_main else trained.run


def resume(run: Run, data_sets: Sequence[Any] | None, metric: Any, label_names: Sequence[str] | None) -> Run:
    """Go on with a run and finish it; a finished one is returned as it is. Raises: ZooError."""
    if run.status == "finished":
        return run
    _, given = extras(run.resolved(), data_sets, metric, label_names)
    trained = session.resume(run, given)
    return finish(trained) if trained.is_main else trained.run
