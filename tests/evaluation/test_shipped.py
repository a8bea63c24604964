"""zoo's metrics against scikit-learn and against numbers worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import sklearn.metrics
from drawn import draw

from zoo.evaluation.metrics.classification import SHIPPED
from zoo.evaluation.outputs import Outputs, Undefined


def measure(name: str, outputs: Outputs) -> float:
    return SHIPPED[name].function(outputs)


def reference(name: str, outputs: Outputs) -> float:
    """scikit-learn's value, by another route than ours where ours calls scikit-learn too."""
    targets, said, probabilities = outputs.targets, outputs.predictions, outputs.probabilities
    classes = np.arange(outputs.num_classes)
    match name:
        case "accuracy" | "micro_f1":
            return sklearn.metrics.accuracy_score(targets, said)
        case "top5_accuracy":
            return sklearn.metrics.top_k_accuracy_score(targets, probabilities, k=5, labels=classes)
        case "balanced_accuracy":
            return sklearn.metrics.balanced_accuracy_score(targets, said)
        case "macro_f1":
            report = sklearn.metrics.classification_report(targets, said, output_dict=True, zero_division=0)
            return report["macro avg"]["f1-score"]
        case "auroc" if outputs.num_classes == 2:
            return sklearn.metrics.roc_auc_score(targets, probabilities[:, 1])
        case "auroc":
            return sklearn.metrics.roc_auc_score(targets, probabilities, multi_class="ovr", average="macro")
        case "log_loss":
            return sklearn.metrics.log_loss(targets, probabilities, labels=classes)
        case "ece":
            confidence, edges = probabilities.max(axis=1), np.linspace(0, 1, 16)
            rows = [(confidence > low) & (confidence <= high) for low, high in itertools.pairwise(edges)]
            gaps = [abs((said == targets)[row].mean() - confidence[row].mean()) * row.mean() for row in rows if row.any()]
            return sum(gaps)
    raise AssertionError(name)


@pytest.mark.parametrize("name", list(SHIPPED))
def test_equals_the_reference(name, outputs):
    if name == "top5_accuracy" and outputs.num_classes < 6:
        with pytest.raises(Undefined, match=r"always 1 .* 6 or more"):
            measure(name, outputs)
    else:
        assert measure(name, outputs) == pytest.approx(reference(name, outputs), abs=1e-12)


@pytest.mark.parametrize("name", list(SHIPPED))
def test_direction_is_true(name):
    """A better model has a better value, in the declared direction."""
    weak, strong = (Outputs.from_logits(*draw(300, 8, strength=strength)) for strength in (0.5, 4.0))
    if name == "ece":  # a strong model is not better calibrated by that: compare with the same model made overconfident
        targets, logits = draw(300, 8, strength=0.5)
        weak, strong = Outputs.from_logits(targets, logits * 20), Outputs.from_logits(targets, logits)
    better = measure(name, strong) - measure(name, weak)
    assert (better > 0) == SHIPPED[name].higher_is_better


@pytest.mark.parametrize("name", list(SHIPPED))
def test_value_lies_in_the_declared_range(name):
    outputs = Outputs.from_logits(*draw(300, 8))
    assert SHIPPED[name].low <= measure(name, outputs) <= SHIPPED[name].high


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1", "auroc"])
def test_a_class_that_does_not_occur_leaves_class_means_undefined(name):
    outputs = Outputs.from_logits([0, 0, 1, 1], np.random.default_rng(0).normal(size=(4, 3)))
    with pytest.raises(Undefined, match=r"1 of 3 classes .*class number 2"):
        measure(name, outputs)


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1", "auroc"])
def test_one_class_alone_leaves_them_undefined_too(name):
    outputs = Outputs.from_logits([1, 1, 1], [[0.0, 1.0], [0.0, 2.0], [1.0, 0.0]])
    with pytest.raises(Undefined):
        measure(name, outputs)


def test_a_class_that_is_never_predicted_counts_as_zero():
    """F1 of a class with samples and no predictions is 0 of some, not 0 of nothing."""
    outputs = Outputs.from_predictions([0, 0, 1, 1], [0, 0, 0, 0], 2)
    assert measure("macro_f1", outputs) == pytest.approx((2 * 2 / (4 + 2) + 0) / 2)
    assert measure("balanced_accuracy", outputs) == 0.5


def test_ties_in_auroc_count_one_half():
    constant = Outputs.from_logits([0, 1, 0, 1], np.zeros((4, 2)))
    assert measure("auroc", constant) == 0.5


def test_ties_in_top5_go_to_the_first_classes():
    """With six equal scores the first five classes are the top five, as the prediction is the first class."""
    outputs = Outputs.from_logits([4, 5], np.zeros((2, 6)))
    assert measure("top5_accuracy", outputs) == 0.5
    assert measure("top5_accuracy", outputs.take(np.array([0]))) == 1.0


def test_log_loss_by_hand():
    outputs = Outputs.from_probabilities([0, 1], [[0.5, 0.5], [0.75, 0.25]])
    assert measure("log_loss", outputs) == pytest.approx((np.log(2) + np.log(4)) / 2)


def test_log_loss_of_a_certain_mistake_is_finite():
    assert measure("log_loss", Outputs.from_logits([1], [[1e6, -1e6]])) == pytest.approx(2e6)


def test_one_picture_is_measured():
    outputs = Outputs.from_logits([0], [[2.0, 1.0]])
    assert measure("accuracy", outputs) == 1.0
    assert measure("log_loss", outputs) == pytest.approx(np.log1p(np.exp(-1)))


@pytest.mark.parametrize("name", list(SHIPPED))
def test_the_form_for_many_resamples_agrees_with_the_metric(name):
    """Weights that count rows give what the metric gives on those rows, one column each."""
    targets, logits = draw(200, 7, seed=3)
    probabilities = np.round(Outputs.from_logits(targets, logits).probabilities, 1) + 1e-9  # many ties
    outputs = Outputs.from_probabilities(targets, probabilities / probabilities.sum(axis=1, keepdims=True))
    metric = SHIPPED[name]
    generator = np.random.default_rng(1)
    rows = [np.arange(200), *(np.concatenate([np.arange(7), generator.integers(0, 200, 193)]) for _ in range(5))]
    weights = np.stack([np.bincount(row, minlength=200) for row in rows], axis=1).astype(np.float64)
    expected = [metric.function(outputs.take(row)) for row in rows]
    np.testing.assert_allclose(metric.resampled(outputs, weights), expected, atol=1e-12)
