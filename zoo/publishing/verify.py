"""Measuring what was published, on any data."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from zoo import folders, inference, runs
from zoo.data import PictureSet, from_datasets, open_for_evaluation, open_splits, read_splits
from zoo.errors import ConfigError
from zoo.evaluation import metrics
from zoo.evaluation.report import Report
from zoo.evaluation.report import evaluate as report_on
from zoo.publishing.finish import outputs
from zoo.training.session import CUSTOM_DATA
from zoo.types import Labels

log = logging.getLogger("zoo")


def evaluate(folder: Path, data: Any = None, *, metric: Any = None, weights: str | None = None, batch_size: int = 32) -> Report:
    """The report of a saved model on labelled pictures; see `zoo.api.evaluate`. Raises: CheckpointError, DataError, ConfigError."""
    asked = metric if isinstance(metric, list | tuple) else [] if metric is None else [metric]
    wanted = [metrics.resolve(one) for one in asked]
    if (folder / folders.MANIFEST).is_file():
        folders.verify(folder)
    predictor = inference.load(folder, weights=weights)
    pictures = _pictures(folder, data, predictor.labels)
    _warn_of_trained(folder, pictures)
    logits, targets = outputs(predictor.model, pictures, torch.device("cpu"), batch_size, num_workers=0)
    own = [one for one in wanted if one.name not in metrics.names()]
    report = report_on(targets, logits, predictor.labels, extra_metrics=own)
    names = [one.name for one in wanted] or list(report.values)
    return replace(report, values={name: report.values[name] for name in names})


def _pictures(folder: Path, data: Any, labels: Labels) -> PictureSet:
    """The labelled pictures that `data` names; without it, those that the run around `folder` set aside."""
    if isinstance(data, (str, os.PathLike)):
        return open_for_evaluation(os.fspath(data), labels)[0]
    if data is not None:
        return from_datasets(data, data, label_names=labels.names).val
    if not (folder.parent / "config.yaml").is_file():
        raise ConfigError(f"{folder} is not in a run, so there is no data set aside for it; give --data FOLDER")
    config = runs.open_run(folder.parent).resolved().config
    if config.data.data == CUSTOM_DATA:
        raise ConfigError(f"{folder} was trained on data sets given in Python; give the data to evaluate on")
    splits = open_splits(config)
    return splits.val if splits.test is None else splits.test


def _warn_of_trained(folder: Path, pictures: PictureSet) -> None:
    record = folder.parent / "splits.json"
    if record.is_file() and (known := read_splits(record).trained_on(pictures)):
        log.warning("%d of these %d pictures were trained on: the numbers are optimistic", known, len(pictures))
