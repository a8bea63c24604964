"""The reliability diagram."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.evaluation import calibration
from zoo.evaluation.outputs import Outputs


def test_bins_by_hand():
    outputs = Outputs.from_probabilities([0, 0, 0, 1], [[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.6, 0.4]])
    filled = {index: one for index, one in enumerate(calibration.bins(outputs)) if one.count}
    assert set(filled) == {8, 13}  # 0.6 * 15 = 9 belongs to the bin that ends there; 0.9 * 15 = 13.5
    assert (filled[8].count, filled[8].accuracy) == (2, 0.5)
    assert filled[8].confidence == pytest.approx(0.6)
    assert (filled[13].count, filled[13].accuracy) == (2, 1.0)
    assert calibration.expected_error(calibration.bins(outputs)) == pytest.approx(0.5 * 0.1 + 0.5 * 0.1)


def test_bins_cover_everything_once():
    confidence = np.concatenate([[0.0, 1.0, 1e-300], np.linspace(0, 1, 1000), np.arange(16) / 15])
    number = calibration.assign(confidence)
    assert number.min() == 0
    assert number.max() == 14
    assert (np.diff(number[np.argsort(confidence, kind="stable")]) >= 0).all()


def test_empty_bins_have_no_numbers():
    empty = [one for one in calibration.bins(Outputs.from_probabilities([0], [[1.0, 0.0]])) if not one.count]
    assert len(empty) == 14
    assert all(one.accuracy is None and one.confidence is None for one in empty)


def test_a_calibrated_model_has_little_error():
    generator = np.random.default_rng(0)
    sure = generator.uniform(0.5, 1, 20_000)
    targets = (generator.uniform(size=20_000) > sure).astype(int)
    outputs = Outputs.from_probabilities(targets, np.stack([sure, 1 - sure], axis=1))
    assert calibration.expected_error(calibration.bins(outputs)) < 0.015
