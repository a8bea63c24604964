"""Measuring what was published, on any data."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo import config, inference, memory, runs
from zoo.backbones.images import ImagePreprocess
from zoo.config import DataConfig
from zoo.data import SampleSet, open_for_evaluation, open_splits, read_splits
from zoo.data.decoding.pixel_values import FULL
from zoo.engines.precision import full_float32, resolve_device
from zoo.errors import ConfigError, UnknownName
from zoo.evaluation import metrics
from zoo.evaluation.report import Report
from zoo.evaluation.report import evaluate as report_on
from zoo.jobs.preparing import CUSTOM_DATA, labelled
from zoo.jobs.shipping import outputs
from zoo.options import EVALUATE
from zoo.runs import Run
from zoo.types import Schema

log = logging.getLogger("zoo")


@memory.kept()
def evaluate(
    folder: Path,
    data: Any = None,
    *,
    metric: Any = None,
    weights: str | None = None,
    batch_size: int = 32,
    device: str = "auto",
    keys: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> Report:
    """The report of a saved model on labelled samples; see `zoo.api.evaluate`. Raises: CheckpointError, DataError, ConfigError."""
    given = _checked(options or {}, data)
    asked = metric if isinstance(metric, list | tuple) else [] if metric is None else [metric]
    predictor = inference.load(folder, weights=weights, device=device)
    wanted = [metrics.resolve(one, task=predictor.task) for one in asked]
    if keys is not None and (data is None or isinstance(data, (str, os.PathLike))):
        raise ConfigError("keys are of data given in Python; --text and --label name columns of a table")
    samples = _samples(folder, data, keys, predictor, given)
    _warn_of_trained(folder, samples)
    with full_float32():
        logits, targets = outputs(predictor.model, samples, resolve_device(device), batch_size)
    own = [one for one in wanted if one.name not in metrics.names(predictor.task)]
    report = report_on(
        targets,
        predictor.model.predicted(logits),
        predictor.labels,
        task=predictor.task,
        thresholds=predictor.thresholds,
        extra_metrics=own,
    )
    names = [one.name for one in wanted] or list(report.values)
    return replace(report, values={name: report.values[name] for name in names})


def _checked(options: Mapping[str, Any], data: Any) -> dict[str, Any]:
    known = config.marked(EVALUATE)
    other = [name for name in options if name not in known]
    if other:
        raise UnknownName("option", other[0], known, "of evaluate")
    if options and not isinstance(data, (str, os.PathLike)):
        raise ConfigError(f"{', '.join(options)}: of data that are read from a place; name it with --data")
    return config.check(options)


def _samples(
    folder: Path, data: Any, keys: Sequence[str] | None, predictor: inference.Predictor, given: Mapping[str, Any]
) -> SampleSet:
    """The labelled samples that `data` names or is, their columns as they were in training; without it, those that the run set aside whose
    `best/` this is."""
    run = runs.run_of(folder)
    if data is not None:
        read_as_then = _reading(run, predictor.schema) if isinstance(data, (str, os.PathLike)) else DataConfig()
        samples, _ = open_for_evaluation(
            data,
            predictor.labels,
            kind=predictor.kind,
            task=predictor.task,
            keys=keys,
            options=replace(read_as_then, **given, bit_depth=_bit_depth(predictor)),
            schema=predictor.schema,
        )
        return samples
    if run is None:
        raise ConfigError(f"{folder} is not in a run, so there is no data set aside for it; give --data FOLDER")
    config = run.resolved().config
    if config.data.data == CUSTOM_DATA:
        raise ConfigError(f"{folder} was trained on data sets given in Python; give the data to evaluate on")
    splits = labelled(open_splits(config), config)
    if splits.test is None and _fitted_to_validation(run):
        raise ConfigError(
            f"{folder}: its head was fitted to all {splits.facts.kind.nouns} of the run, and none are left to measure it on; "
            "give --data FOLDER"
        )
    return splits.val if splits.test is None else splits.test


def _fitted_to_validation(run: Run) -> bool:
    try:
        return run.resolved().config.selection.refit == "train+val"
    except ConfigError:  # damaged: `_reading` says so
        return False


def _bit_depth(predictor: inference.Predictor) -> int | None:
    """The model's own, whatever the data to evaluate on would suggest."""
    preprocess = predictor.preprocess
    return preprocess.bit_depth or FULL if isinstance(preprocess, ImagePreprocess) else None


def _reading(run: Run | None, schema: Schema | None) -> DataConfig:
    """How data are read where nobody says: as the run did, but for columns that the model knows itself."""
    if run is None:
        return DataConfig()
    try:
        options = run.resolved().config.data
    except ConfigError as error:
        log.warning("%s; what it says of the data is not used", error)
        return DataConfig()
    columns = ("text", "image", "audio", "label", "label_delimiter", "split")
    return replace(options, **dict.fromkeys(columns)) if schema else options  # type: ignore[arg-type]


def _warn_of_trained(folder: Path, samples: SampleSet) -> None:
    run = runs.run_of(folder)
    if run is None:
        return
    fitted = ("train", "val") if _fitted_to_validation(run) else ("train",)
    if known := read_splits(run.path / "splits.json").among(fitted, samples):
        log.warning("%d of these %d %s were trained on: the numbers are optimistic", known, len(samples), samples.kind.nouns)
