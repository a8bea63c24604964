"""Measuring what was published, on any data."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from zoo import config, inference, memory, runs
from zoo.backbones.pictures import PicturePreprocess
from zoo.config import DataConfig
from zoo.data import SampleSet, from_datasets, open_for_evaluation, open_splits, read_splits
from zoo.data.decoding.values import FULL
from zoo.errors import ConfigError, UnknownName
from zoo.evaluation import metrics
from zoo.evaluation.report import Report
from zoo.evaluation.report import evaluate as report_on
from zoo.publishing.finish import outputs
from zoo.training.session import CUSTOM_DATA, labelled

log = logging.getLogger("zoo")


@memory.kept()
def evaluate(
    folder: Path,
    data: Any = None,
    *,
    metric: Any = None,
    weights: str | None = None,
    batch_size: int = 32,
    options: Mapping[str, Any] | None = None,
) -> Report:
    """The report of a saved model on labelled samples; see `zoo.api.evaluate`. Raises: CheckpointError, DataError, ConfigError."""
    given = _checked(options or {}, data)
    asked = metric if isinstance(metric, list | tuple) else [] if metric is None else [metric]
    predictor = inference.load(folder, weights=weights)
    wanted = [metrics.resolve(one, task=predictor.task) for one in asked]
    samples = _samples(folder, data, predictor, given)
    _warn_of_trained(folder, samples)
    logits, targets = outputs(predictor.model, samples, torch.device("cpu"), batch_size)
    own = [one for one in wanted if one.name not in metrics.names(predictor.task)]
    report = report_on(targets, logits, predictor.labels, task=predictor.task, thresholds=predictor.thresholds, extra_metrics=own)
    names = [one.name for one in wanted] or list(report.values)
    return replace(report, values={name: report.values[name] for name in names})


def _checked(options: Mapping[str, Any], data: Any) -> dict[str, Any]:
    other = [name for name in options if name not in config.READING]
    if other:
        raise UnknownName("option", other[0], config.READING, "of evaluate")
    if options and not isinstance(data, (str, os.PathLike)):
        raise ConfigError(f"{', '.join(options)}: of data that are read from a place; name it with --data")
    return config.check(options)


def _samples(folder: Path, data: Any, predictor: inference.Predictor, given: Mapping[str, Any]) -> SampleSet:
    """The labelled samples that `data` names, tables read as the run's was; without it, those that the run around `folder` set aside."""
    run = runs.open_run(folder.parent).resolved().config if (folder.parent / "config.yaml").is_file() else None
    if isinstance(data, (str, os.PathLike)):
        options = replace(run.data if run else DataConfig(), **given, bit_depth=_bit_depth(predictor))
        samples, _ = open_for_evaluation(
            os.fspath(data), predictor.labels, kind=predictor.kind, task=predictor.task, options=options
        )
        return samples
    if data is not None:
        options = DataConfig(data="data sets given in Python", leaks="ignore", bit_depth=_bit_depth(predictor))
        return from_datasets(data, data, label_names=predictor.labels.names, options=options).val
    if run is None:
        raise ConfigError(f"{folder} is not in a run, so there is no data set aside for it; give --data FOLDER")
    if run.data.data == CUSTOM_DATA:
        raise ConfigError(f"{folder} was trained on data sets given in Python; give the data to evaluate on")
    splits = labelled(open_splits(run), run)
    return splits.val if splits.test is None else splits.test


def _bit_depth(predictor: inference.Predictor) -> int | None:
    """The model's own, whatever the data to evaluate on would suggest."""
    preprocess = predictor.preprocess
    return preprocess.bit_depth or FULL if isinstance(preprocess, PicturePreprocess) else None


def _warn_of_trained(folder: Path, samples: SampleSet) -> None:
    record = folder.parent / "splits.json"
    if record.is_file() and (known := read_splits(record).trained_on(samples)):
        log.warning("%d of these %d %s were trained on: the numbers are optimistic", known, len(samples), samples.kind.nouns)
