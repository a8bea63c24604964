"""Solutions without one fold of the rows, against a sweep of the other rows, and scikit-learn's."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import LogisticRegression, Ridge

from zoo.training.probe import sweep

FOLDS = [slice(0, 200), slice(200, 400), slice(400, 600)]


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return data.data.astype(np.float32)[:650], data.target[:650]


def hold_out(features, targets, count, strengths, *, scaling="centred", **options):
    held = [features[fold] for fold in FOLDS]
    (found,) = (
        list(one)
        for one in sweep.hold_out(features, targets, count, FOLDS, held, scalings=[scaling], strengths=strengths, **options)
    )
    return found


@pytest.mark.parametrize("cut", [650, 120])  # so many columns: fewer than rows, and a copy of the rows in their basis; more
def test_each_fold_is_predicted_by_the_solution_of_all_other_rows(digits, cut):
    features = np.maximum(digits[0] @ np.random.default_rng(0).normal(size=(64, 64 if cut == 650 else 900)), 0).astype(np.float32)
    (found,) = hold_out(features, digits[1], 10, [1e-2], tolerance=1e-4)
    scale = np.sqrt(((features - features.mean(0)) ** 2).mean())
    z = ((features - features.mean(0)) / scale).astype(np.float64)
    for fold in FOLDS:
        kept = np.ones(len(z), bool)
        kept[fold] = False
        expected = LogisticRegression(C=1 / (1e-2 * kept.sum()), tol=1e-8, max_iter=20_000).fit(z[kept], digits[1][kept])
        np.testing.assert_allclose(softmax(found.logits[fold], axis=1), expected.predict_proba(z[fold]), atol=1e-3)


@pytest.mark.parametrize("scaling", sweep.SCALINGS)
def test_the_refit_is_the_solution_of_all_rows(digits, scaling):
    (found,) = hold_out(*digits, 10, [1e-2], scaling=scaling)
    (expected,) = sweep.sweep(*digits, 10, scalings=[scaling], strengths=[1e-2])
    again = found.refit()
    assert (again.scaling, again.strength, again.converged) == (scaling, 1e-2, True)
    assert again.objective == pytest.approx(expected.objective, rel=1e-4)
    shares = [softmax(sweep.logits(one, digits[0]), axis=1) for one in (again, expected)]
    np.testing.assert_allclose(*shares, atol=5e-3)


def test_what_was_solved_roughly_is_solved_exactly_on_demand(digits):
    (rough,) = hold_out(*digits, 10, [1e-4], tolerance=0.3)
    (expected,) = hold_out(*digits, 10, [1e-4], tolerance=1e-3)
    assert rough.iterations < expected.iterations
    assert rough.exact().objective == pytest.approx(expected.objective, rel=1e-3)
    assert rough.exact().objective < rough.objective - 1e-4


def test_an_empty_fold_leaves_nothing_out(digits):
    held = digits[0][:7] + 1
    (found,) = (list(one) for one in sweep.hold_out(*digits, 10, [slice(650, 650)], [held], scalings=["centred"], tolerance=1e-3))
    for one, expected in zip(found, sweep.sweep(*digits, 10, scalings=["centred"]), strict=True):
        np.testing.assert_allclose(one.logits, sweep.logits(expected, held), atol=1e-4)
        np.testing.assert_array_equal(one.refit().weight, expected.weight)


def test_ridge_of_values(digits):
    features, targets = load_diabetes(return_X_y=True)
    features, targets = features.astype(np.float32), np.stack([targets, -3 * targets + 5], 1)
    folds = [slice(0, 100), slice(100, 442)]
    for scaled in sweep.hold_out(
        features,
        targets,
        2,
        folds,
        [features[fold] for fold in folds],
        loss="squared",
        scalings=["centred"],
        strengths=[0.1],
        tolerance=1e-4,
    ):
        (found,) = scaled
    z = (features - features.mean(0)).astype(np.float64)
    z /= np.sqrt((z**2).mean())
    for fold in folds:
        kept = np.ones(len(z), bool)
        kept[fold] = False
        expected = Ridge(alpha=0.1 * kept.sum()).fit(z[kept], targets[kept]).predict(z[fold])
        np.testing.assert_allclose(found.logits[fold], expected, atol=3e-3 * targets.std())
