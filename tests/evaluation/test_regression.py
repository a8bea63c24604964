"""Regression outputs and their metrics, against scikit-learn and scipy and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from drawn import draw_values

from zoo.errors import DataError, NonFinite
from zoo.evaluation.metrics.regression import SHIPPED
from zoo.evaluation.outputs import Undefined, ValueOutputs, from_logits
from zoo.types import Task


def measure(name: str, outputs: ValueOutputs) -> float:
    return SHIPPED[name].function(outputs)


def reference(name: str, outputs: ValueOutputs) -> float:
    """scikit-learn's or scipy's value."""
    targets, said = outputs.targets, outputs.predictions
    match name:
        case "rmse":
            return sklearn.metrics.root_mean_squared_error(targets, said)
        case "mae":
            return sklearn.metrics.mean_absolute_error(targets, said)
        case "r2":
            return np.mean([sklearn.metrics.r2_score(true, answer) for true, answer in zip(targets.T, said.T, strict=True)])
        case "pearson" | "spearman":
            correlation = {"pearson": scipy.stats.pearsonr, "spearman": scipy.stats.spearmanr}[name]
            return np.mean([correlation(t, s).statistic for t, s in zip(targets.T, said.T, strict=True)])
    raise AssertionError(name)


@pytest.mark.parametrize("name", list(SHIPPED))
@pytest.mark.parametrize(("samples", "values"), [(40, 1), (300, 3)])
def test_equals_the_reference(name, samples, values):
    outputs = ValueOutputs.from_logits(*draw_values(samples, values))
    tied = ValueOutputs.from_logits(np.round(outputs.targets), np.round(outputs.predictions))
    for one in (outputs, tied):
        assert measure(name, one) == pytest.approx(reference(name, one), abs=1e-12)


@pytest.mark.parametrize("name", list(SHIPPED))
def test_direction_and_range_are_true(name):
    weak, strong = (ValueOutputs.from_logits(*draw_values(300, 2, strength=strength)) for strength in (0.5, 4.0))
    metric = SHIPPED[name]
    assert (measure(name, strong) > measure(name, weak)) == metric.higher_is_better
    assert metric.task is Task.REGRESSION
    assert all(metric.low <= measure(name, outputs) <= metric.high for outputs in (weak, strong))


@pytest.mark.parametrize("name", list(SHIPPED))
@pytest.mark.parametrize("digits", [0, 12])
def test_the_form_for_many_resamples_agrees_with_the_metric(name, digits):
    targets, said = (np.round(part, digits) + 1000 for part in draw_values(200, 2, seed=3))  # many ties, or none
    outputs = ValueOutputs.from_logits(targets, said)
    generator = np.random.default_rng(1)
    rows = [np.arange(200), *(generator.integers(0, 200, 200) for _ in range(5))]
    weights = np.stack([np.bincount(row, minlength=200) for row in rows], axis=1).astype(np.float64)
    expected = [measure(name, outputs.take(row)) for row in rows]
    np.testing.assert_allclose(SHIPPED[name].resampled(outputs, weights), expected, atol=1e-10)


@pytest.mark.parametrize("name", ["r2", "pearson", "spearman"])
def test_resamples_of_equal_targets_have_no_value(name):
    outputs = ValueOutputs.from_logits([0.1, 0.3, 0.1], [0.1, 0.2, 0.4])
    found = SHIPPED[name].resampled(outputs, np.array([[1.0, 2, 1], [1, 0, 0], [1, 1, 2]]))
    assert np.isnan(found).tolist() == [False, True, True]
    assert found[0] == pytest.approx(measure(name, outputs))


def test_by_hand():
    outputs = ValueOutputs.from_logits([0, 0, 4], [0, 3, 4])
    assert measure("mae", outputs) == 1
    assert measure("rmse", outputs) == pytest.approx(np.sqrt(3))
    assert measure("r2", outputs) == pytest.approx(1 - 9 / (32 / 3))
    assert measure("spearman", outputs) == pytest.approx(np.sqrt(3) / 2)  # ranks 1.5 1.5 3 and 1 2 3


def test_several_values_count_the_same_whatever_their_units():
    outputs = ValueOutputs.from_logits([[0, 0], [1, 1000]], [[0, 0], [0, 1000]])
    assert measure("r2", outputs) == pytest.approx((1 - 1 / 0.5 + 1) / 2)
    assert measure("rmse", outputs) == pytest.approx(np.sqrt(0.5) / 2)


@pytest.mark.parametrize("name", ["r2", "pearson", "spearman"])
def test_equal_targets_leave_them_undefined(name):
    with pytest.raises(Undefined, match="^all targets here are equal$"):
        measure(name, ValueOutputs.from_logits([0.1] * 3, [0.0, 1, 2]))
    with pytest.raises(Undefined, match="all targets here are equal for 1 of 2 values"):
        measure(name, ValueOutputs.from_logits([[0.1, 1], [0.1, 2]], [[0, 1], [1, 2]]))
    with pytest.raises(Undefined):
        measure(name, ValueOutputs.from_logits([1.0], [1.0]))


def test_equal_predictions_have_no_correlation_and_an_r2():
    outputs = ValueOutputs.from_logits([1.0, 2, 3], [2.0, 2, 2])
    for name in ("pearson", "spearman"):
        with pytest.raises(Undefined, match="all predictions here are equal"):
            measure(name, outputs)
    assert measure("r2", outputs) == 0


def test_one_value_a_sample_may_be_flat():
    targets, said = draw_values(20, 1)
    flat, column = from_logits(Task.REGRESSION, targets[:, 0], said), ValueOutputs.from_logits(targets, said)
    assert measure("mae", flat) == measure("mae", column)
    assert flat.take(np.array([3, 3])).targets.tolist() == [targets[3].tolist()] * 2


@pytest.mark.parametrize(
    ("targets", "said", "words"),
    [
        ([1.0, 2], [[1.0]], r"shape \[2, 1\]; expected \[1, 1\]"),
        ([[1.0, 2]], [[1.0]], r"shape \[1, 2\]; expected \[1, 1\]"),
        ([1.0, np.nan], [1.0, 2], r"not finite for 1 of 2 samples \(first: number 1\)"),
        ([], [], "no samples"),
        ([[[1.0]]], [[[1.0]]], r"expected \[samples, values\]"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(targets, said, words):
    with pytest.raises(DataError, match=words):
        ValueOutputs.from_logits(targets, said)


def test_outputs_that_are_no_numbers_are_refused():
    with pytest.raises(NonFinite, match=r"1 of 2 samples \(first: number 1\)"):
        ValueOutputs.from_logits([0.0, 1], [0.0, np.nan])
