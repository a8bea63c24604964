"""95 % intervals by bootstrap: the percentiles 2.5 and 97.5 of a metric over resamples of the samples, drawn with replacement.

Images are taken as independent. The resamples are a function of the seed and of the number of samples alone, and the same for
every metric. Where a metric is undefined on a resample, that resample is left out and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from zoo.errors import ConfigError
from zoo.evaluation.array_checks import Floats
from zoo.evaluation.metrics.metric import RESAMPLES, Metric
from zoo.evaluation.outputs import AnyOutputs, Undefined

LEVEL = (2.5, 97.5)
"""Percentiles of a 95 % interval."""
_CHUNK = 1_000_000
"""Weights held in memory at a time: 8 MB."""


@dataclass(frozen=True)
class Interval:
    """Where a metric lies in 95 % of the resamples."""

    low: float | None
    high: float | None
    resamples: int
    """How many were drawn."""
    dropped: int
    """How many of them had no value."""
    why: str | None = None
    """Why there is no interval, where there is none."""


def bootstrap(metrics: Iterable[Metric], outputs: AnyOutputs, seed: int = 0) -> dict[str, Interval]:
    """The interval of each metric, by name.

    There is none for fewer than two samples, and where half of the resamples or more have no value. The values of a `biased`
    metric are moved by their mean's distance from the estimate (Efron and Tibshirani 1993, section 10.3): else the interval of a
    calibration error, which any resampling makes larger, would lie above the error itself.
    """
    wanted = {metric.name: metric for metric in metrics}
    if len(outputs) < 2:
        return {name: Interval(None, None, 0, 0, "one sample has no spread") for name in wanted}
    counts = {name: metric.resamples(outputs) for name, metric in wanted.items()}
    values: dict[str, list[Floats]] = {name: [] for name in wanted}
    drawn = 0
    for weights in _weights(len(outputs), seed):
        for name, metric in wanted.items():
            left = counts[name] - drawn
            if left > 0:
                values[name].append(_values(metric, outputs, weights[:, :left]))
        drawn += weights.shape[1]
        if drawn >= max(counts.values(), default=0):
            break
    return {name: _interval(metric, outputs, np.concatenate(values[name])) for name, metric in wanted.items()}


def _weights(length: int, seed: int) -> Iterator[Floats]:
    """`[N, R] float64`, chunk after chunk up to 1,000 resamples: how often each sample occurs in each."""
    generator = np.random.default_rng(seed)
    width = max(1, min(RESAMPLES, _CHUNK // length))
    for start in range(0, RESAMPLES, width):
        columns = min(width, RESAMPLES - start)
        rows = generator.integers(0, length, size=(columns, length)) + length * np.arange(columns)[:, None]
        counts = np.bincount(rows.ravel(), minlength=columns * length).reshape(columns, length)
        yield np.ascontiguousarray(counts.T, dtype=np.float64)


def _values(metric: Metric, outputs: AnyOutputs, weights: Floats) -> Floats:
    """`[R] float64`, NaN where the metric is undefined."""
    if metric.resampled is not None:
        return metric.resampled(outputs, weights)
    rows = np.arange(len(outputs))
    found = np.full(weights.shape[1], np.nan)
    for column in range(weights.shape[1]):
        try:
            found[column] = metric.function(outputs.take(np.repeat(rows, weights[:, column].astype(np.int64))))
        except (Undefined, ConfigError):  # the latter: a user's metric that cannot do without a class that is absent by chance
            continue
    return found


def _interval(metric: Metric, outputs: AnyOutputs, values: Floats) -> Interval:
    known = values[np.isfinite(values)]
    dropped = len(values) - len(known)
    if 2 * dropped >= len(values):
        return Interval(None, None, len(values), dropped, f"undefined on {dropped} of {len(values)} resamples")
    if metric.biased:
        known = np.clip(known + (metric.function(outputs) - known.mean()), metric.low, metric.high)
    low, high = np.percentile(known, LEVEL)
    return Interval(float(low), float(high), len(values), dropped)
