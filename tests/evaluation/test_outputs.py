"""What is checked before anything is measured."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from zoo.errors import DataError, NonFinite
from zoo.evaluation.outputs import Outputs


def test_probabilities_are_the_softmax():
    logits = np.random.default_rng(0).normal(size=(20, 4)) * 30
    outputs = Outputs.from_logits(np.zeros(20, dtype=int), logits)
    np.testing.assert_allclose(outputs.probabilities, softmax(logits, axis=1), atol=1e-12)


def test_huge_logits_do_not_overflow():
    outputs = Outputs.from_logits([0, 1], [[1e30, -1e30], [1e30, -1e30]])
    assert outputs.predictions.tolist() == [0, 0]
    assert np.isfinite(outputs.log_probabilities).all()


def test_a_tie_goes_to_the_first_class():
    assert Outputs.from_logits([0, 1], [[1.0, 1.0], [0.0, 0.0]]).predictions.tolist() == [0, 0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused_by_name(bad):
    logits = np.zeros((5, 3))
    logits[3, 1] = bad
    with pytest.raises(NonFinite, match=r"1 of 5 samples \(first: number 3\)"):
        Outputs.from_logits(np.zeros(5, dtype=int), logits)


@pytest.mark.parametrize(
    ("targets", "logits", "words"),
    [
        ([], np.zeros((0, 3)), "no samples"),
        ([0, 1], np.zeros((3, 3)), r"shape \[2\]; expected \[3\]"),
        ([[0], [1]], np.zeros((2, 3)), "shape"),
        ([0, 1], np.zeros(2), "expected \\[samples, classes\\]"),
        ([0.0, 1.0], np.zeros((2, 3)), "whole numbers"),
        ([0, 3], np.zeros((2, 3)), r"0\.\.3; expected 0\.\.2"),
        ([0, -1], np.zeros((2, 3)), r"-1\.\.0"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(targets, logits, words):
    with pytest.raises(DataError, match=words):
        Outputs.from_logits(targets, logits)


@pytest.mark.parametrize("row", [[0.5, 0.6], [-0.1, 1.1], [np.nan, 1.0]])
def test_probabilities_that_are_none_are_refused(row):
    with pytest.raises(DataError, match="sum to 1"):
        Outputs.from_probabilities([0], [row])


def test_predictions_alone_give_no_probabilities():
    outputs = Outputs.from_predictions([0, 1], [1, 1], 2)
    with pytest.raises(DataError, match="needs probabilities"):
        _ = outputs.probabilities


def test_take_repeats_rows():
    outputs = Outputs.from_logits([0, 1, 2], np.eye(3)).take(np.array([2, 2, 0]))
    assert outputs.targets.tolist() == [2, 2, 0]
    assert outputs.probabilities.argmax(axis=1).tolist() == [2, 2, 0]
