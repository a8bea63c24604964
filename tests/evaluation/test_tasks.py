"""Metrics by name and task, intervals, and reports of multilabel and regression."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import sklearn.metrics
from drawn import draw, draw_labels, draw_values
from scipy.special import expit

from zoo.errors import ConfigError, DataError, UnknownName
from zoo.evaluation import metrics
from zoo.evaluation.class_tables import GRID
from zoo.evaluation.intervals import bootstrap
from zoo.evaluation.outputs import MultilabelOutputs, ValueOutputs, from_logits
from zoo.evaluation.report import Report, evaluate
from zoo.types import Labels, Task

DRAWN = {Task.CLASSIFICATION: draw, Task.MULTILABEL: draw_labels, Task.REGRESSION: draw_values}
LABELS = Labels(("cat", "dog", "fox"))
NAMES = [(task, name) for task in Task for name in metrics.names(task)]
OTHERS = [pair for pair in NAMES if pair[0] is not Task.CLASSIFICATION]


def report_on(task: Task, samples: int = 60, **options) -> Report:
    return evaluate(*DRAWN[task](samples, 3), LABELS, task=task, **options)


@pytest.mark.parametrize(("task", "name"), NAMES)
def test_a_name_and_a_task_are_one_metric(task, name):
    metric = metrics.get(name, task)
    assert (metric.name, metric.task) == (name, task)
    assert metrics.resolve(name, task=task) is metrics.resolve(metric, task=task) is metrics.of(task)[name] is metric


@pytest.mark.parametrize("task", list(Task))
def test_the_default_is_a_metric_of_the_task(task):
    assert metrics.default(task) in metrics.names(task)


def test_a_shared_name_means_what_it_means_for_the_task():
    assert metrics.get("macro_f1") is metrics.get("macro_f1", Task.CLASSIFICATION)
    assert metrics.resolve(metrics.get("macro_f1"), task=Task.MULTILABEL) is metrics.get("macro_f1", Task.MULTILABEL)


def test_a_metric_of_other_tasks_is_refused_with_those_of_the_task():
    with pytest.raises(
        ConfigError, match=r"'rmse' is for regression, and the task is multilabel; choose one of mean_average_.*FOLDER"
    ):
        metrics.get("rmse", Task.MULTILABEL)
    with pytest.raises(ConfigError, match=r"'log_loss' is for classification and multilabel.*choose one of rmse, mae"):
        metrics.resolve(metrics.get("log_loss"), task=Task.REGRESSION)
    with pytest.raises(ConfigError, match=r"'ece' is for classification, and the task is regression"):
        report_on(Task.REGRESSION, extra_metrics=[metrics.get("ece")])
    with pytest.raises(UnknownName, match=r"no metric 'rsme'; did you mean 'rmse'"):
        metrics.get("rsme", Task.REGRESSION)


@pytest.mark.parametrize("name", ["rmse", "subset_accuracy"])
def test_a_function_may_not_take_a_name_of_any_task(name):
    def function(targets, predictions):
        return 1.0

    function.__name__ = name
    with pytest.raises(ConfigError, match="rename"):
        metrics.resolve(function, higher_is_better=True)


@pytest.mark.parametrize(
    ("task", "function", "needs"),
    [
        (Task.MULTILABEL, sklearn.metrics.coverage_error, "probabilities"),
        (Task.MULTILABEL, sklearn.metrics.zero_one_loss, "predictions"),
        (Task.REGRESSION, sklearn.metrics.max_error, "predictions"),
    ],
)
def test_functions_of_scikit_learn_fit(task, function, needs):
    targets, logits = DRAWN[task](50, 1 if task is Task.REGRESSION else 3)
    metric = metrics.resolve(function, task=task, higher_is_better=False, needs=needs)
    said = {"probabilities": expit(logits), "predictions": logits >= 0}[needs] if task is Task.MULTILABEL else logits
    assert metric.function(from_logits(task, targets, logits)) == pytest.approx(function(targets, said))


def test_a_function_gets_one_value_flat_and_several_as_columns():
    shapes = []
    metric = metrics.resolve(lambda targets, said: shapes.append((targets.shape, said.shape)) or 0.0, higher_is_better=True)
    for values in (1, 2):
        metric.function(ValueOutputs.from_logits(*draw_values(5, values)))
    assert shapes == [((5,), (5,)), ((5, 2), (5, 2))]


def test_a_regression_has_no_probabilities():
    metric = metrics.resolve(lambda targets, said: 0.0, higher_is_better=True, needs="probabilities")
    with pytest.raises(ConfigError, match="a regression has none"):
        metric.function(ValueOutputs.from_logits([1.0], [1.0]))


@pytest.mark.parametrize(("task", "name"), OTHERS)
def test_intervals_hold_the_estimate_and_equal_those_of_a_plain_loop(task, name):
    outputs, metric = from_logits(task, *DRAWN[task](80, 3, strength=1.0)), metrics.get(name, task)
    one = bootstrap([metric], outputs)[name]
    assert metric.low <= one.low < metric.function(outputs) < one.high <= metric.high
    assert (one.resamples, one.dropped) == (1000, 0)
    generator = np.random.default_rng(99)
    values = [metric.function(outputs.take(generator.integers(0, 80, 80))) for _ in range(200)]
    width = one.high - one.low
    assert np.percentile(values, (2.5, 97.5)) == pytest.approx([one.low, one.high], abs=0.25 * width)


@pytest.mark.parametrize(("task", "name"), OTHERS)
@pytest.mark.parametrize("columns", [1, 3])
def test_ours_as_an_evaluate_module_agrees(task, name, columns):
    outputs, metric = from_logits(task, *DRAWN[task](40, columns)), metrics.get(name, task)
    module = metrics.as_evaluate(name, task=task)
    flat = task is Task.REGRESSION and columns == 1
    targets, said = (part[:, 0] if flat else part for part in (outputs.targets, outputs.predictions))
    if metric.needs == "probabilities":
        answer = module.compute(prediction_scores=outputs.probabilities, references=targets)
    else:
        answer = module.compute(predictions=said, references=targets)
    assert answer == {name: pytest.approx(metric.function(outputs), abs=1e-9)}


@pytest.mark.parametrize(("task", "name"), [(Task.MULTILABEL, "macro_f1"), (Task.MULTILABEL, "auroc"), (Task.REGRESSION, "mae")])
def test_ours_goes_there_and_back(task, name):
    outputs = from_logits(task, *DRAWN[task](40, 1 if task is Task.REGRESSION else 3))
    metric = metrics.resolve(metrics.as_evaluate(name, task=task), task=task)
    assert metric.function(outputs) == pytest.approx(metrics.get(name, task).function(outputs))


def test_ours_says_what_is_undefined():
    answer = metrics.as_evaluate("r2", task=Task.REGRESSION).compute(predictions=[1.0, 2.0], references=[3.0, 3.0])
    assert answer == {"r2": None, "r2_undefined": "all targets here are equal"}


@pytest.mark.parametrize("task", list(Task))
def test_a_report_has_every_metric_of_its_task_and_survives_json(task):
    report = report_on(task)
    assert list(report.values) == metrics.names(task)
    assert (report.task, report.n) == (task, 60)
    again = Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert again.to_dict() == report.to_dict()
    assert (again.task, again.values, again.baseline) == (report.task, report.values, report.baseline)
    assert (again.per_class, again.per_label, again.per_value) == (report.per_class, report.per_label, report.per_value)
    assert again.confusion.shape == report.confusion.shape == ((3, 3) if task is Task.CLASSIFICATION else (0, 0))
    assert again.most_confused() == report.most_confused()


def test_a_report_of_an_older_run_is_read():
    values = report_on(Task.CLASSIFICATION).to_dict()
    older = {key: value for key, value in values.items() if key not in ("task", "per_label", "per_value", "baseline")}
    again = Report.from_dict({**older, "majority": values["baseline"]["value"]})
    assert again.to_dict() == values


def test_the_table_of_labels_equals_scikit_learns():
    targets, logits = draw_labels(200, 3, strength=1)
    thresholds = [0.5, 0.6, 0.3]
    report = evaluate(targets, logits, LABELS, task=Task.MULTILABEL, thresholds=thresholds, intervals=False)
    said = expit(logits) >= thresholds
    rows = [(row.precision, row.recall, row.f1, row.support) for row in report.per_label]
    np.testing.assert_allclose(rows, np.stack(sklearn.metrics.precision_recall_fscore_support(targets, said), axis=1))
    assert [(row.name, row.threshold) for row in report.per_label] == list(zip(LABELS.names, thresholds, strict=True))
    assert [row.predicted for row in report.per_label] == said.sum(axis=0).tolist()
    assert report.values["macro_f1"].value == pytest.approx(np.mean([row.f1 for row in report.per_label]))
    assert report.per_class == report.per_value == report.calibration == report.most_confused() == []


def test_a_share_of_nothing_is_none():
    report = evaluate([[1, 0, 0], [1, 0, 1]], [[1.0, -1, 1], [-1, -1, -1]], LABELS, task=Task.MULTILABEL)
    rates = [(row.precision, row.recall, row.f1) for row in report.per_label]
    assert rates == [(1.0, 0.5, pytest.approx(2 / 3)), (None, None, None), (0.0, 0.0, 0.0)]


def test_the_table_of_values():
    targets, said = draw_values(300, 3)
    report = evaluate(targets, said, LABELS, task=Task.REGRESSION, intervals=False)
    for column, row in enumerate(report.per_value):
        true, answer = targets[:, column], said[:, column]
        assert row.r2 == pytest.approx(sklearn.metrics.r2_score(true, answer))
        assert row.mae == pytest.approx(sklearn.metrics.mean_absolute_error(true, answer))
        assert row.rmse**2 == pytest.approx(sklearn.metrics.mean_squared_error(true, answer))
        assert row.bias == pytest.approx(answer.mean() - true.mean())
        assert (row.mean, row.deviation) == pytest.approx((true.mean(), true.std()))
        assert row.residuals == pytest.approx([np.quantile(answer - true, share) for share in (0, 0.05, 0.5, 0.95, 1)])
        edges = np.linspace(row.low, row.high, GRID + 1)
        np.testing.assert_array_equal(row.grid, np.histogram2d(true, answer, bins=(edges, edges))[0])


def test_values_that_are_all_the_same():
    row = evaluate([2.0, 2.0], [2.0, 2.0], Labels(("age",)), task=Task.REGRESSION).per_value[0]
    assert (row.deviation, row.rmse, row.r2, row.low, row.high) == (0, 0, None, 2, 2)
    assert sum(map(sum, row.grid)) == row.grid[0][0] == 2


def test_what_can_be_had_without_looking():
    targets, _ = draw_labels(60, 3)
    labels = evaluate(targets, np.zeros((60, 3)), LABELS, task=Task.MULTILABEL, intervals=False)
    assert labels.baseline.metric == "mean_average_precision"
    assert labels.values["mean_average_precision"].value == pytest.approx(labels.baseline.value) == targets.mean()
    truth, _ = draw_values(60, 3)
    values = evaluate(truth, np.tile(truth.mean(axis=0), (60, 1)), LABELS, task=Task.REGRESSION, intervals=False)
    assert values.values["rmse"].value == pytest.approx(values.baseline.value)
    for report in (labels, values):
        assert report.baseline.beaten is False
        assert any("does not beat" in warning for warning in report.warnings)
    for report in map(report_on, Task):
        assert report.baseline.beaten
        assert not any("does not beat" in warning for warning in report.warnings)


def test_nothing_is_said_against_a_model_of_which_nothing_is_known():
    report = evaluate([[1, 0, 0], [0, 1, 0]], np.zeros((2, 3)), LABELS, task=Task.MULTILABEL)
    assert report.baseline.beaten is None
    assert report.warnings == ("1 of 3 labels hold for no sample here: 'fox'. Nothing is known about them.",)


def test_labels_that_cannot_be_told_are_named():
    report = evaluate([[1, 1, 0], [1, 0, 1]], [[1.0, -1, -1], [1, -2, 1]], LABELS, task=Task.MULTILABEL)
    assert "1 of 3 labels hold for every sample here: 'cat'." in report.warnings
    assert any("'dog'. Their probabilities do not reach their thresholds" in warning for warning in report.warnings)
    right = evaluate([[1, 1, 0], [1, 0, 1]], [[1.0, 1, -1], [1, -2, 1]], LABELS, task=Task.MULTILABEL)
    assert any(warning.startswith("All 2 samples are right in every label") for warning in right.warnings)


def test_values_that_do_not_vary_are_named():
    report = evaluate([[1.0, 5], [2, 5]], [[3.0, 1], [3, 2]], Labels(("age", "size")), task=Task.REGRESSION)
    assert any(warning.startswith("Every true value is the same for 'size'") for warning in report.warnings)
    assert any(warning.startswith("Every predicted value is the same for 'age'") for warning in report.warnings)


@pytest.mark.parametrize(("task", "noun"), [(Task.MULTILABEL, "label"), (Task.REGRESSION, "value")])
def test_columns_that_do_not_fit_the_names_are_refused(task, noun):
    targets, logits = DRAWN[task](10, 2)
    with pytest.raises(DataError, match=f"2 columns; expected 3, one for each {noun}"):
        evaluate(targets, logits, LABELS, task=task)


def test_a_users_metric_is_reported_and_thresholds_reach_it():
    def said(targets, predictions):
        return predictions.mean()

    extra = [metrics.resolve(said, higher_is_better=True)]
    report = report_on(Task.MULTILABEL, extra_metrics=extra, thresholds=0.0)
    assert report.values["said"].value == 1.0
    assert report_on(Task.REGRESSION, extra_metrics=extra).values["said"].resamples == 100


def test_all_metrics_of_two_thousand_samples_take_seconds():
    """About one on an idle processor; a loop over resamples in Python would take minutes."""
    outputs = MultilabelOutputs.from_logits(*draw_labels(2000, 10)), ValueOutputs.from_logits(*draw_values(2000, 2))
    for task, one in zip((Task.MULTILABEL, Task.REGRESSION), outputs, strict=True):
        began = time.process_time()
        bootstrap(metrics.of(task).values(), one)
        assert time.process_time() - began < 20, task
