"""Multilabel outputs, their metrics against scikit-learn and by hand, and thresholds against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from drawn import draw_labels
from scipy.special import expit

from zoo.errors import ConfigError, DataError, NonFinite
from zoo.evaluation.calibration import best_thresholds
from zoo.evaluation.metrics.multilabel import SHIPPED
from zoo.evaluation.outputs import MultilabelOutputs, Undefined, from_logits
from zoo.types import Task


def measure(name: str, outputs: MultilabelOutputs) -> float:
    return SHIPPED[name].function(outputs)


def reference(name: str, outputs: MultilabelOutputs) -> float:
    """scikit-learn's value; of F1 and log-loss, of each label by itself."""
    targets, said, probabilities = outputs.targets, outputs.predictions, outputs.probabilities
    match name:
        case "mean_average_precision":
            return sklearn.metrics.average_precision_score(targets, probabilities, average="macro")
        case "macro_f1":
            return sklearn.metrics.f1_score(targets, said, average="macro")
        case "micro_f1":
            return sklearn.metrics.f1_score(targets.ravel(), said.ravel())
        case "auroc":
            return sklearn.metrics.roc_auc_score(targets, probabilities, average="macro")
        case "subset_accuracy":
            return sklearn.metrics.accuracy_score(targets, said)
        case "hamming_loss":
            return sklearn.metrics.hamming_loss(targets, said)
        case "log_loss":
            return np.mean([sklearn.metrics.log_loss(targets[:, one], probabilities[:, one]) for one in range(targets.shape[1])])
    raise AssertionError(name)


@pytest.mark.parametrize("name", list(SHIPPED))
@pytest.mark.parametrize(("samples", "labels"), [(40, 2), (300, 6)])
def test_equals_scikit_learn(name, samples, labels):
    outputs = MultilabelOutputs.from_logits(*draw_labels(samples, labels, strength=1))
    assert measure(name, outputs) == pytest.approx(reference(name, outputs), abs=1e-12)


@pytest.mark.parametrize("name", ["mean_average_precision", "macro_f1", "micro_f1", "auroc"])
def test_one_label_is_one_binary_question(name):
    """scikit-learn takes one column for two classes; the label that holds is the only one that counts here."""
    targets, logits = draw_labels(60, 1, strength=1)
    outputs, flat = MultilabelOutputs.from_logits(targets, logits), targets[:, 0]
    expected = {
        "mean_average_precision": sklearn.metrics.average_precision_score(flat, logits[:, 0]),
        "auroc": sklearn.metrics.roc_auc_score(flat, logits[:, 0]),
    }.get(name, sklearn.metrics.f1_score(flat, logits[:, 0] >= 0))
    assert measure(name, outputs) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", list(SHIPPED))
def test_direction_and_range_are_true(name):
    weak, strong = (MultilabelOutputs.from_logits(*draw_labels(300, 5, strength=strength)) for strength in (0.5, 4.0))
    metric = SHIPPED[name]
    assert (measure(name, strong) > measure(name, weak)) == metric.higher_is_better
    assert metric.task is Task.MULTILABEL
    assert all(metric.low <= measure(name, outputs) <= metric.high for outputs in (weak, strong))


@pytest.mark.parametrize("name", list(SHIPPED))
def test_the_form_for_many_resamples_agrees_with_the_metric(name):
    targets, logits = draw_labels(200, 5, seed=3)
    outputs = MultilabelOutputs.from_probabilities(targets, np.round(expit(logits), 1))  # many ties
    generator = np.random.default_rng(1)
    rows = [np.arange(200), *(np.append([0, 1], generator.integers(0, 200, 198)) for _ in range(5))]
    weights = np.stack([np.bincount(row, minlength=200) for row in rows], axis=1).astype(np.float64)
    expected = [measure(name, outputs.take(row)) for row in rows]
    np.testing.assert_allclose(SHIPPED[name].resampled(outputs, weights), expected, atol=1e-12)


def test_a_label_that_a_resample_misses_does_not_count_in_its_mean():
    """Label 1 holds for the last sample alone, which is not drawn in the first column; nothing holds in the third."""
    outputs = MultilabelOutputs.from_logits([[1, 0], [0, 0], [1, 1]], [[2.0, -1], [-2, -2], [-1, -3]])
    weights = np.array([[2.0, 1, 0], [1, 1, 3], [0, 1, 0]])
    np.testing.assert_allclose(SHIPPED["macro_f1"].resampled(outputs, weights), [1, (2 / 3 + 0) / 2, np.nan])
    np.testing.assert_allclose(SHIPPED["mean_average_precision"].resampled(outputs, weights), [1, (1 + 1 / 3) / 2, np.nan])
    np.testing.assert_allclose(SHIPPED["auroc"].resampled(outputs, weights), [1, (1 + 0) / 2, np.nan])
    np.testing.assert_allclose(SHIPPED["micro_f1"].resampled(outputs, weights), [1, 1 / 2, np.nan])


@pytest.mark.parametrize("name", ["mean_average_precision", "macro_f1", "auroc"])
def test_a_label_without_positives_leaves_means_undefined(name):
    with pytest.raises(Undefined, match=r"1 of 3 labels hold for no sample here \(first: label number 2\)"):
        measure(name, MultilabelOutputs.from_logits([[1, 0, 0], [0, 1, 0]], np.eye(3)[:2]))


def test_a_label_that_always_holds_leaves_auroc_undefined_alone():
    outputs = MultilabelOutputs.from_logits([[1, 0], [1, 1]], [[1.0, -1], [2, 1]])
    with pytest.raises(Undefined, match=r"1 of 2 labels hold for every sample here \(first: label number 0\)"):
        measure("auroc", outputs)
    assert measure("mean_average_precision", outputs) == measure("macro_f1", outputs) == 1.0


def test_micro_f1_of_nothing_is_undefined():
    with pytest.raises(Undefined, match="none is predicted"):
        measure("micro_f1", MultilabelOutputs.from_logits([[0, 0]], [[-1.0, -1]]))
    assert measure("micro_f1", MultilabelOutputs.from_logits([[0, 0]], [[1.0, -1]])) == 0


def test_log_loss_of_a_certain_mistake_is_finite():
    outputs = MultilabelOutputs.from_logits([[1, 0]], [[-1e6, -1e6]])
    assert measure("log_loss", outputs) == pytest.approx(5e5)
    assert measure("log_loss", MultilabelOutputs.from_probabilities([[1]], [[0.0]])) == pytest.approx(-np.log(2.220446e-16))


def test_scores_that_all_round_to_one_are_still_told_apart():
    """Logits of 40 and 50 have the same probability, 1.0, and not the same rank."""
    outputs = MultilabelOutputs.from_logits([[1], [0], [0]], [[50.0], [40.0], [45.0]])
    assert measure("mean_average_precision", outputs) == measure("auroc", outputs) == 1.0


def test_probabilities_are_the_sigmoid():
    logits = np.random.default_rng(0).normal(size=(20, 4)) * 300
    outputs = MultilabelOutputs.from_logits(np.zeros((20, 4)), logits)
    np.testing.assert_allclose(outputs.probabilities, expit(logits), rtol=1e-12)
    assert MultilabelOutputs.from_logits([[0.0]], [[0.0]]).predictions.tolist() == [[1]]  # 0.5 reaches 0.5


def test_thresholds_decide_predictions_and_nothing_else():
    targets, logits = draw_labels(50, 3)
    plain, moved = (from_logits(Task.MULTILABEL, targets, logits, thresholds) for thresholds in (None, [0.5, 0.9, 0.0]))
    np.testing.assert_array_equal(moved.predictions[:, 0], plain.predictions[:, 0])
    np.testing.assert_array_equal(moved.predictions[:, 1], expit(logits[:, 1]) >= 0.9)
    assert moved.predictions[:, 2].all()
    assert measure("mean_average_precision", moved) == measure("mean_average_precision", plain)
    assert moved.take(np.array([0, 0])).thresholds.tolist() == [0.5, 0.9, 0.0]


@pytest.mark.parametrize("thresholds", [[0.5, 0.5], 1.1, -0.1, np.nan, [[0.5]]])
def test_thresholds_that_do_not_fit_are_refused(thresholds):
    with pytest.raises(ConfigError, match="thresholds (have shape|are)"):
        MultilabelOutputs.from_logits([[0, 1, 1]], [[0.0, 1, 2]], thresholds)


@pytest.mark.parametrize("task", [Task.CLASSIFICATION, Task.REGRESSION])
def test_thresholds_of_another_task_are_refused(task):
    with pytest.raises(ConfigError, match=f"thresholds are for multilabel, and the task is {task.value}"):
        from_logits(task, [0], [[0.0]], thresholds=0.5)


@pytest.mark.parametrize(
    ("targets", "logits", "words"),
    [
        ([[0, 1]], np.zeros((2, 2)), r"shape \[1, 2\]; expected \[2, 2\]"),
        ([0, 1], np.zeros((2, 2)), r"shape \[2\]; expected \[2, 2\]"),
        ([[0, 1], [0, 2]], np.zeros((2, 2)), r"not all 0 or 1 \(first: sample number 1\)"),
        ([[0, 1], [np.nan, 1]], np.zeros((2, 2)), r"not all 0 or 1 \(first: sample number 1\)"),
        ([[0, 1]], np.zeros(2), r"expected \[samples, labels\]"),
        (np.zeros((0, 2)), np.zeros((0, 2)), "no samples"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(targets, logits, words):
    with pytest.raises(DataError, match=words):
        MultilabelOutputs.from_logits(targets, logits)


def test_outputs_that_are_no_numbers_are_refused():
    with pytest.raises(NonFinite, match=r"1 of 2 samples \(first: number 1\)"):
        MultilabelOutputs.from_logits([[0], [1]], [[0.0], [np.inf]])
    for probability in (1.01, -0.01, np.nan):
        with pytest.raises(DataError, match=r"in 0\.\.1"):
            MultilabelOutputs.from_probabilities([[0]], [[probability]])


def test_predictions_alone_give_no_probabilities():
    outputs = MultilabelOutputs.from_predictions([[0, 1], [1, 1]], [[0, 1], [0, 1]])
    assert measure("hamming_loss", outputs.take(np.array([1, 1]))) == 0.5
    with pytest.raises(DataError, match="needs probabilities"):
        measure("log_loss", outputs)


@pytest.mark.parametrize("seed", range(8))
def test_no_threshold_has_a_higher_f1(seed):
    """Brute force: every threshold at, between and beyond the probabilities; many ties."""
    targets, logits = draw_labels(40, 4, seed=seed, strength=0.7)
    probabilities = np.round(expit(logits), 1 + seed % 3)
    outputs = MultilabelOutputs.from_probabilities(targets, probabilities)
    seen = np.unique(np.concatenate([outputs.probabilities.ravel(), np.linspace(0, 1, 2001)]))
    for label, threshold in enumerate(best_thresholds(outputs)):
        own, shares = targets[:, label], outputs.probabilities[:, label]
        said = shares >= seen[:, None]
        both = np.maximum(own.sum() + said.sum(1), 1)
        chosen = sklearn.metrics.f1_score(own, shares >= threshold)
        assert chosen == pytest.approx((2 * (said & (own == 1)).sum(1) / both).max(), abs=1e-12)
        middles = [(low + high) / 2 for low, high in zip([0.0, *np.unique(shares)], np.unique(shares), strict=False)]
        best = [
            one
            for one in [*middles, 0.5]
            if sklearn.metrics.f1_score(own, shares >= one, zero_division=0) == pytest.approx(chosen)
        ]
        assert abs(threshold - 0.5) == pytest.approx(min(abs(one - 0.5) for one in best), abs=1e-12)


def test_thresholds_by_hand():
    targets = [[1, 1, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]]
    shares = [[0.9, 0.30, 0.9, 0.9], [0.2, 0.20, 0.1, 0.8], [0.8, 0.10, 0.1, 0.7], [0.1, 0.05, 0.2, 0.6]]
    outputs = MultilabelOutputs.from_probabilities(targets, shares)
    # 0.5 is as good as any; between 0.1 and 0.2; no sample has the label; between 0.8 and 0.9
    np.testing.assert_allclose(best_thresholds(outputs), [0.5, 0.15, 0.5, 0.85])
    better = MultilabelOutputs.from_probabilities(targets, shares, best_thresholds(outputs))
    assert better.predictions[:, [0, 1, 3]].tolist() == np.asarray(targets)[:, [0, 1, 3]].tolist()


def test_adjacent_probabilities_are_told_apart():
    """There is no number between them, and the lower one must not be counted in."""
    low = 0.3
    high = np.nextafter(low, 1)
    outputs = MultilabelOutputs.from_probabilities([[0], [1]], [[low], [high]])
    shares = outputs.probabilities[:, 0]
    assert shares[0] < shares[1]
    assert (shares >= best_thresholds(outputs)[0]).tolist() == [False, True]
