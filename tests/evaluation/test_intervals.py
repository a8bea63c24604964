"""Bootstrap intervals: against theory, against a plain loop, and where resamples have no value."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from drawn import draw

from zoo.evaluation.intervals import bootstrap
from zoo.evaluation.metrics.classification import SHIPPED
from zoo.evaluation.metrics.metric import Metric
from zoo.evaluation.outputs import Outputs, Undefined


def interval(name: str, outputs: Outputs, seed: int = 0):
    return bootstrap([SHIPPED[name]], outputs, seed)[name]


def test_accuracy_has_the_width_that_theory_says():
    right = np.arange(400) < 280
    outputs = Outputs.from_predictions(np.zeros(400, dtype=int), (~right).astype(int), 2)
    one = interval("accuracy", outputs)
    half = 1.96 * np.sqrt(0.7 * 0.3 / 400)
    assert one.low == pytest.approx(0.7 - half, abs=0.006)
    assert one.high == pytest.approx(0.7 + half, abs=0.006)
    assert (one.resamples, one.dropped, one.why) == (1000, 0, None)


def test_intervals_cover_the_truth_as_often_as_they_say():
    generator = np.random.default_rng(0)
    hits = 0
    for repetition in range(150):
        said = (generator.uniform(size=100) > 0.8).astype(int)
        one = interval("accuracy", Outputs.from_predictions(np.zeros(100, dtype=int), said, 2), seed=repetition)
        hits += one.low <= 0.8 <= one.high
    assert 0.88 <= hits / 150 <= 0.99


@pytest.mark.parametrize("name", ["macro_f1", "auroc", "log_loss"])
def test_equals_a_plain_loop_over_resampled_rows(name):
    """Another seed and another way: percentiles agree to the noise of 1,000 resamples."""
    outputs = Outputs.from_logits(*draw(300, 4))
    generator = np.random.default_rng(99)
    values = [SHIPPED[name].function(outputs.take(generator.integers(0, 300, 300))) for _ in range(400)]
    one = interval(name, outputs)
    width = one.high - one.low
    assert one.low == pytest.approx(np.percentile(values, 2.5), abs=0.2 * width)
    assert one.high == pytest.approx(np.percentile(values, 97.5), abs=0.2 * width)


@pytest.mark.parametrize("name", list(SHIPPED))
def test_holds_the_estimate_and_stays_in_range(name):
    targets, logits = draw(150, 8, strength=3)
    outputs = Outputs.from_logits(targets, logits)
    metric, one = SHIPPED[name], interval(name, outputs)
    assert metric.low <= one.low <= metric.function(outputs) <= one.high <= metric.high


def test_the_calibration_error_of_a_calibrated_model_lies_in_its_interval():
    """Resampling adds noise to every bin, so the plain percentiles would lie above the estimate."""
    generator = np.random.default_rng(0)
    sure = generator.uniform(0.5, 1, 150)
    targets = (generator.uniform(size=150) > sure).astype(int)
    outputs = Outputs.from_probabilities(targets, np.stack([sure, 1 - sure], axis=1))
    one, value = interval("ece", outputs), SHIPPED["ece"].function(outputs)
    plain = bootstrap([dataclasses.replace(SHIPPED["ece"], biased=False)], outputs)["ece"]
    assert (plain.low + plain.high) / 2 > value + 0.02
    assert (one.low + one.high) / 2 == pytest.approx(value, abs=0.01)


def test_same_seed_same_interval_whatever_is_measured_beside_it():
    outputs = Outputs.from_logits(*draw(100, 3))
    metrics = [SHIPPED["auroc"], SHIPPED["accuracy"]]
    assert bootstrap(metrics, outputs, 5)["accuracy"] == interval("accuracy", outputs, 5)
    assert interval("log_loss", outputs, 5) != interval("log_loss", outputs, 6)


def test_one_picture_has_no_interval():
    one = interval("accuracy", Outputs.from_logits([0], [[1.0, 0.0]]))
    assert (one.low, one.high) == (None, None)
    assert "one sample" in one.why


def test_resamples_of_one_class_are_left_out_and_counted():
    targets = np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    outputs = Outputs.from_logits(targets, np.random.default_rng(0).normal(size=(10, 2)))
    one = interval("auroc", outputs)
    assert one.dropped / one.resamples == pytest.approx(0.9**10, abs=0.05)  # the one sample of class 1 is not drawn
    assert one.low is not None


def test_a_class_that_a_resample_misses_does_not_count_in_its_mean():
    """Nine classes of two samples, all right: F1 is 1 on every resample, though most miss some class."""
    targets = np.repeat(np.arange(9), 2)
    one = interval("macro_f1", Outputs.from_logits(targets, np.eye(9)[targets]))
    assert (one.low, one.high, one.dropped) == (1.0, 1.0, 0)


def distinct(outputs: Outputs) -> float:
    if len(np.unique(outputs.targets)) < outputs.num_classes:
        raise Undefined("a class is missing")
    return 1.0


def test_no_interval_where_most_resamples_have_no_value():
    metric = Metric("distinct", "", True, distinct)
    one = bootstrap([metric], Outputs.from_predictions(np.arange(8), np.arange(8), 8))["distinct"]
    assert (one.low, one.high) == (None, None)
    assert one.why == f"undefined on {one.dropped} of 1000 resamples"


def test_a_metric_without_the_fast_form_gives_the_same_interval():
    outputs = Outputs.from_logits(*draw(60, 3))
    plain = dataclasses.replace(SHIPPED["log_loss"], resampled=None)
    slow, fast = bootstrap([plain], outputs)["log_loss"], interval("log_loss", outputs)
    assert (slow.low, slow.high) == pytest.approx((fast.low, fast.high))


def test_the_number_of_resamples_is_the_metrics_and_is_stated():
    metric = dataclasses.replace(SHIPPED["accuracy"], resamples=lambda outputs: 100)
    found = bootstrap([metric, SHIPPED["log_loss"]], Outputs.from_logits(*draw(50, 2)))
    assert (found["accuracy"].resamples, found["log_loss"].resamples) == (100, 1000)


def test_all_metrics_of_two_thousand_pictures_take_about_a_second():
    outputs = Outputs.from_logits(*draw(2000, 10))
    began = time.process_time()
    bootstrap(SHIPPED.values(), outputs)
    assert time.process_time() - began < 3
