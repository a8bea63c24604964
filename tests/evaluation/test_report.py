"""The report: tables and warnings against scikit-learn and by hand, and its way to JSON and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
import sklearn.metrics
from drawn import draw

from zoo.errors import ConfigError, DataError, NonFinite
from zoo.evaluation import metrics
from zoo.evaluation.report import Report, evaluate
from zoo.types import Labels

LABELS = Labels(("cat", "dog", "fox"))


def hits(targets, predictions):
    return int((targets == predictions).sum())


hits.higher_is_better = True


def test_tables_equal_scikit_learns():
    targets, logits = draw(300, 3, strength=1)
    report = evaluate(targets, logits, LABELS, intervals=False)
    said = logits.argmax(axis=1)
    np.testing.assert_array_equal(report.confusion, sklearn.metrics.confusion_matrix(targets, said))
    columns = sklearn.metrics.precision_recall_fscore_support(targets, said)
    rows = [(row.precision, row.recall, row.f1, row.support) for row in report.per_class]
    np.testing.assert_allclose(rows, np.stack(columns, axis=1))
    assert [row.name for row in report.per_class] == list(LABELS.names)
    assert sum(one.count for one in report.calibration) == report.n == 300


def test_rows_and_columns_of_the_confusion_matrix():
    report = evaluate([0, 0, 1], [[0.0, 1, 0], [0.0, 1, 0], [0.0, 1, 0]], LABELS, intervals=False)
    assert report.confusion.tolist() == [[0, 2, 0], [0, 1, 0], [0, 0, 0]]


def test_most_confused_pairs_first():
    targets = np.array([0, 0, 0, 0, 1, 1, 2, 2, 2])
    said = np.array([1, 1, 2, 0, 0, 1, 0, 0, 2])
    report = evaluate(targets, np.eye(3)[said], LABELS, intervals=False)
    pairs = [(one.true, one.predicted, one.count, one.share) for one in report.most_confused(3)]
    assert pairs == [("cat", "dog", 2, 0.5), ("fox", "cat", 2, pytest.approx(2 / 3)), ("cat", "fox", 1, 0.25)]
    assert len(report.most_confused(100)) == 4


def test_a_share_of_nothing_is_none():
    report = evaluate([0, 0], [[1.0, 0, 0], [0, 1.0, 0]], LABELS, intervals=False)
    cat, dog, fox = report.per_class
    assert (cat.precision, cat.recall, cat.support) == (1.0, 0.5, 2)
    assert (dog.precision, dog.recall, dog.f1) == (0.0, None, None)
    assert (fox.precision, fox.recall, fox.f1, fox.support) == (None, None, None, 0)


def test_undefined_is_said_and_is_neither_zero_nor_nan():
    report = evaluate([0, 1], np.eye(3)[:2], LABELS)
    for name in ("macro_f1", "auroc", "balanced_accuracy", "top5_accuracy"):
        assert report.values[name].value is None
        assert report.values[name].why
        assert str(report.values[name]).startswith("undefined: ")
    assert report.values["accuracy"].value == 1.0
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert "NaN" not in text


def test_a_model_that_does_not_beat_the_majority_is_warned_about():
    targets = np.array([0] * 9 + [1])
    constant = np.tile([1.0, 0.0, 0.0], (10, 1))
    report = evaluate(targets, constant, LABELS)
    assert report.baseline.value == 0.9
    assert any("0.9000 does not beat always predicting 'cat'" in warning for warning in report.warnings)
    better = evaluate(np.array([0, 0, 1, 1, 2]), np.eye(3)[[0, 0, 1, 0, 2]], LABELS)
    assert not any("does not beat" in warning for warning in better.warnings)


def test_classes_without_pictures_are_named():
    report = evaluate([0, 1, 1], np.eye(3)[[0, 1, 0]], LABELS)
    assert any(warning.startswith("1 of 3 classes have no samples here: 'fox'") for warning in report.warnings)


def test_intervals_without_width_are_explained():
    report = evaluate([0, 1, 2] * 20, np.eye(3)[[0, 1, 2] * 20], LABELS)
    assert (report.values["accuracy"].low, report.values["accuracy"].high) == (1.0, 1.0)
    assert any("rule of three, up to 5.0%" in warning for warning in report.warnings)


def test_survives_json():
    targets, logits = draw(50, 3)
    report = evaluate(targets, logits, LABELS, extra_metrics=[metrics.resolve(hits)])
    again = Report.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert again.to_dict() == report.to_dict()
    assert again.values == report.values
    np.testing.assert_array_equal(again.confusion, report.confusion)


@pytest.mark.parametrize("values", [{}, {"n": 1}, {"values": 3}])
def test_what_is_no_report_is_refused(values):
    with pytest.raises(DataError, match="not a report"):
        Report.from_dict(values)


def test_a_users_metric_is_reported_after_ours():
    targets, logits = draw(50, 3)
    report = evaluate(targets, logits, LABELS, extra_metrics=[metrics.resolve(hits), metrics.resolve("accuracy")])
    assert list(report.values) == [*metrics.names(), "hits"]
    assert report.values["hits"].value == (logits.argmax(axis=1) == targets).sum()
    assert report.values["hits"].resamples == 100


def test_two_metrics_of_one_name_are_refused():
    def other(targets, predictions):
        return 0.0

    other.__name__, other.higher_is_better = "hits", True
    with pytest.raises(ConfigError, match="two metrics 'hits'"):
        evaluate(*draw(50, 3), LABELS, extra_metrics=[metrics.resolve(hits), metrics.resolve(other)])


def test_intervals_are_left_out_on_request():
    report = evaluate(*draw(50, 3), LABELS, intervals=False)
    assert all(value.low is None and value.resamples == 0 for value in report.values.values())


def test_same_seed_same_report():
    targets, logits = draw(50, 3)
    assert evaluate(targets, logits, LABELS, seed=1).to_dict() == evaluate(targets, logits, LABELS, seed=1).to_dict()


def test_bad_outputs_are_refused():
    with pytest.raises(DataError, match="4 columns; expected 3"):
        evaluate([0], np.zeros((1, 4)), LABELS)
    with pytest.raises(NonFinite):
        evaluate([0], [[np.nan, 0, 0]], LABELS)
