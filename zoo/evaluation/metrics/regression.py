"""The metrics of regression that come with zoo. With several values a sample, each is the mean over them, all counting the same."""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from zoo.evaluation.array_checks import Floats
from zoo.evaluation.metrics.metric import Metric, mean, sums, whole
from zoo.evaluation.outputs import Undefined, ValueOutputs
from zoo.types import Task


def _not_constant(values: Floats, what: str) -> None:
    """Raises: Undefined if a column of `[N, K]` has one value alone."""
    constant = np.flatnonzero(np.ptp(values, axis=0) == 0)
    if len(constant):
        which = f" for {len(constant)} of {values.shape[1]} values" if values.shape[1] > 1 else ""
        raise Undefined(f"all {what} here are equal{which}")


def _varies(values: Floats, weights: Floats) -> NDArray[np.bool_]:
    """`[K, R]`: True where a column of `[N, K]` has more than one value in a resample."""
    drawn = weights > 0
    return np.stack([
        np.where(drawn, column[:, None], -np.inf).max(axis=0) > np.where(drawn, column[:, None], np.inf).min(axis=0)
        for column in values.T
    ])  # fmt: skip


def _mae(outputs: ValueOutputs) -> float:
    return float(np.abs(outputs.errors).mean())


def _mae_resampled(outputs: ValueOutputs, weights: Floats) -> Floats:
    return mean(np.abs(outputs.errors).mean(axis=1), weights)


def _rmse(outputs: ValueOutputs) -> float:
    return float(np.sqrt((outputs.errors**2).mean(axis=0)).mean())


def _rmse_resampled(outputs: ValueOutputs, weights: Floats) -> Floats:
    return np.asarray(np.sqrt(mean(outputs.errors.T**2, weights)).mean(axis=0), dtype=np.float64)


def _r2(outputs: ValueOutputs) -> float:
    _not_constant(outputs.targets, "targets")
    return whole(_r2_resampled, outputs)


def _r2_resampled(outputs: ValueOutputs, weights: Floats) -> Floats:
    centred = outputs.targets.T - outputs.targets.mean(axis=0)[:, None]
    spread = mean(centred**2, weights) - mean(centred, weights) ** 2
    varies = _varies(outputs.targets, weights)
    values = 1 - mean(outputs.errors.T**2, weights) / np.where(varies, spread, 1)
    return _mean_where(values, varies)


def _mean_where(values: Floats, defined: NDArray[np.bool_]) -> Floats:
    """`[R]`: the mean of `[K, R]`, NaN where one of the K is not defined."""
    return np.asarray(np.where(defined.all(axis=0), values.mean(axis=0), np.nan), dtype=np.float64)


def _pearson(outputs: ValueOutputs) -> float:
    _not_constant(outputs.targets, "targets")
    _not_constant(outputs.predictions, "predictions")
    pairs = zip(outputs.targets.T, outputs.predictions.T, strict=True)
    return float(np.mean([np.corrcoef(true, said)[0, 1] for true, said in pairs]))


def _pearson_resampled(outputs: ValueOutputs, weights: Floats) -> Floats:
    true, said = (values.T - values.mean(axis=0)[:, None] for values in (outputs.targets, outputs.predictions))
    means = mean(true, weights), mean(said, weights)
    product = mean(true * said, weights) - means[0] * means[1]
    spread = (mean(true**2, weights) - means[0] ** 2) * (mean(said**2, weights) - means[1] ** 2)
    return _correlation(outputs, weights, product, spread)


def _correlation(outputs: ValueOutputs, weights: Floats, product: Floats, spread: Floats) -> Floats:
    """`[R]`, of `[K, R]` covariances and products of variances."""
    defined = _varies(outputs.targets, weights) & _varies(outputs.predictions, weights)
    values = np.clip(product / np.sqrt(np.where(defined, spread, 1)), -1, 1)
    return _mean_where(values, defined)


def _spearman(outputs: ValueOutputs) -> float:
    once = np.ones((len(outputs), 1))
    true, said = (
        np.stack([_ranks(column, once)[:, 0] for column in values.T], axis=1) for values in (outputs.targets, outputs.predictions)
    )
    return _pearson(ValueOutputs(true, said))


def _spearman_resampled(outputs: ValueOutputs, weights: Floats) -> Floats:
    product, spread = [], []
    for true, said in zip(outputs.targets.T, outputs.predictions.T, strict=True):
        ranks = _ranks(true, weights), _ranks(said, weights)
        product.append((weights * ranks[0] * ranks[1]).sum(axis=0))
        spread.append((weights * ranks[0] ** 2).sum(axis=0) * (weights * ranks[1] ** 2).sum(axis=0))
    return _correlation(outputs, weights, np.stack(product), np.stack(spread))


def _ranks(values: Floats, weights: Floats) -> Floats:
    """`[N, R]`: the rank of `[N]` values in each resample, equals sharing their mean rank, less the mean of all ranks."""
    distinct, group = np.unique(values, return_inverse=True)
    equal = sums(weights, group, len(distinct))
    below = np.cumsum(equal, axis=0) - equal
    return np.asarray((below + equal / 2 - weights.sum(axis=0) / 2)[group], dtype=np.float64)


_metric = partial(Metric, task=Task.REGRESSION)
SHIPPED: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _metric(
            "rmse", "RMSE: square root of the mean squared error, in the unit of the target; 0 is best",
            False, _rmse, high=float("inf"), resampled=_rmse_resampled,
        ),
        _metric(
            "mae", "MAE: mean absolute error, in the unit of the target; 0 is best",
            False, _mae, high=float("inf"), resampled=_mae_resampled,
        ),
        _metric(
            "r2", "R2: share of the variance that is explained; 0 is always predicting the mean, 1 is best",
            True, _r2, low=float("-inf"), resampled=_r2_resampled,
        ),
        _metric(
            "pearson", "Pearson's correlation of targets and predictions; 1 is best",
            True, _pearson, low=-1.0, resampled=_pearson_resampled,
        ),
        _metric(
            "spearman", "Spearman's correlation: Pearson's of the ranks; 1 is best",
            True, _spearman, low=-1.0, resampled=_spearman_resampled,
        ),
    )
}  # fmt: skip
"""The metrics of regression by name, in the order of reports."""
