"""The whole way: train, load again, measure, describe."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from typing import Any

from zoo import runs
from zoo.config import Resolved
from zoo.data.sources.in_memory.rows import parts_of
from zoo.data.splits import from_datasets
from zoo.errors import ConfigError
from zoo.evaluation import metrics
from zoo.publishing.finish import damage, finish
from zoo.runs import Run
from zoo.training import checkpoint, launch, session
from zoo.training.session import CUSTOM_DATA, Extras, Session

log = logging.getLogger("zoo")


def extras(
    resolved: Resolved, data: Any, metric: Any, label_names: Sequence[str] | None, keys: Sequence[str] | None = None
) -> tuple[Resolved, Extras]:
    """Python objects beside the options, and the options with a word in their place. Raises: ConfigError, DataError."""
    splits = None
    if data is not None:
        resolved = resolved.settle("python", data=CUSTOM_DATA)
        config = resolved.config
        train, val, test = parts_of(data)
        splits = from_datasets(train, val, test, label_names, keys, config.data, config.machine.seed)
    elif label_names is not None or keys is not None:
        name = "keys" if label_names is None else "label_names"
        raise ConfigError(f"{name} are for data sets given in Python; folders and tables have names of their own")
    found = None
    if metric is not None and not isinstance(metric, str):
        found = metric if isinstance(metric, metrics.Metric) else metrics.resolve(metric)
        resolved = resolved.settle("python", metric=found.name)
    return resolved, Extras(splits, found)


def finetune(resolved: Resolved, given: Extras) -> Run:
    """Train a new run and finish it. Raises: ZooError; Stopped."""
    with launch.one_run(), ExitStack() as held:
        return _finished(session.start(resolved, given, held))


def resume(run: Run, data: Any, metric: Any, label_names: Sequence[str] | None, keys: Sequence[str] | None) -> Run:
    """Go on with a run and finish it; a finished one whose best model and result are whole is returned as it is.

    Raises: ZooError; Stopped.
    """
    if run.status == "finished":
        problem = damage(run)
        if problem is None:
            return run
        log.warning("%s; it is made again", problem)
    if not checkpoint.steps(run.checkpoints):
        session.say(f"{run.path}: there is no checkpoint, so the run trains anew from the start")
    with launch.one_run(), runs.alone(run) if launch.is_first() else nullcontext() as lock:
        _, given = extras(run.resolved(), data, metric, label_names, keys)
        return _finished(session.resume(run, given, lock))


def _finished(trained: Session) -> Run:
    if not trained.is_main:
        return trained.run
    with runs.resumable(trained.run):
        return finish(trained)
