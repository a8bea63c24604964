"""Solved heads against scikit-learn's, on real and on awkward features."""

import numpy as np
import pytest
from scipy.special import expit, softmax
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.utils.class_weight import compute_class_weight

from zoo.errors import ConfigError, DataError, UnknownName
from zoo.training.probe import design, sweep

TIGHT = 1e-4


@pytest.fixture(scope="module")
def digits():
    data = load_digits()
    return data.data.astype(np.float32), data.target


@pytest.fixture(scope="module")
def wide(digits):
    """200 rows of 512 features: random projections of the digits, rectified."""
    rng = np.random.default_rng(0)
    features = digits[0] @ rng.normal(size=(64, 512)) + rng.normal(size=512)
    return np.maximum(features, 0).astype(np.float32)[:200], digits[1][:200]


def one(features, targets, num_classes=10, *, scaling="standardised", strength=1e-2, **options):
    return next(iter(sweep.sweep(features, targets, num_classes, scalings=[scaling], strengths=[strength], **options)))


def scaled(features, scaling):
    """The scaled features, in float64."""
    features = features.astype(np.float64)
    if scaling == "standardised":
        deviation = features.std(0)
        least = 0.3 * np.median(deviation[deviation > 0])
        return (features - features.mean(0)) / np.maximum(deviation, least)
    if scaling == "centred":
        centred = features - features.mean(0)
        return centred / np.sqrt((centred**2).mean())
    return features / np.sqrt((features**2).mean(1, keepdims=True))


def reference(features, targets, strength, **options):
    model = LogisticRegression(C=1 / (strength * len(features)), tol=1e-8, max_iter=20000, **options)
    return model.fit(features, targets)


class TestClassification:
    @pytest.mark.parametrize("scaling", ["centred", "standardised"])
    @pytest.mark.parametrize("strength", [10.0, 1e-2, 1e-4])
    @pytest.mark.parametrize("shape", ["digits", "wide"])
    def test_equals_scikit_learn(self, request, shape, scaling, strength):
        features, targets = request.getfixturevalue(shape)
        found = one(features, targets, scaling=scaling, strength=strength, tolerance=TIGHT)
        z = scaled(features, scaling)
        expected = reference(z, targets, strength)
        assert found.converged
        probabilities = softmax(sweep.logits(found, features), axis=1)
        np.testing.assert_allclose(probabilities, expected.predict_proba(z), atol=3e-4)
        own = -np.log(expected.predict_proba(z)[np.arange(len(z)), targets]).mean() + strength / 2 * (expected.coef_**2).sum()
        assert found.objective == pytest.approx(own, rel=1e-4)

    def test_the_default_tolerance_bounds_the_excess(self, digits):
        features, targets = digits
        for found in sweep.sweep(features, targets, 10, scalings=["standardised"], strengths=[1e-1, 1e-3, 1e-5]):
            exact = one(features, targets, strength=found.strength, tolerance=TIGHT)
            assert 0 <= found.objective - exact.objective + 1e-7 <= 2e-5
            assert found.converged

    def test_normalised_rows_take_the_mean_norm(self, digits):
        features, targets = digits
        found = one(features, targets, scaling="normalised", tolerance=TIGHT)
        expected = reference(scaled(features, "normalised"), targets, 1e-2)
        root_mean_square = np.linalg.norm(features, axis=1).mean() / np.sqrt(features.shape[1])
        np.testing.assert_allclose(found.weight * root_mean_square, expected.coef_, atol=1e-3)
        np.testing.assert_allclose(found.bias - found.bias.mean(), expected.intercept_ - expected.intercept_.mean(), atol=1e-3)

    def test_balanced_class_weights_equal_scikit_learns(self, digits):
        features, targets = digits
        kept = (targets > 2) | (np.arange(len(targets)) % 4 == 0)
        features, targets = features[kept], targets[kept]
        weights = sweep.balanced(targets, 10)
        np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(10), y=targets))
        found = one(features, targets, class_weights=3 * weights, tolerance=TIGHT)  # only their ratios count
        z = scaled(features, "standardised")
        expected = reference(z, targets, 1e-2, class_weight="balanced")
        np.testing.assert_allclose(softmax(sweep.logits(found, features), axis=1), expected.predict_proba(z), atol=3e-4)

    def test_two_classes(self, digits):
        features, targets = digits[0][digits[1] < 2], digits[1][digits[1] < 2]
        found = one(features, targets, 2, tolerance=TIGHT)
        z = scaled(features, "standardised")
        # A softmax over two rows w and -w pays twice the penalty of a logistic regression on 2 w, halved: 2 |w|^2 = |2 w|^2 / 2.
        expected = reference(z, targets, 1e-2 / 2)
        np.testing.assert_allclose(softmax(sweep.logits(found, features), axis=1), expected.predict_proba(z), atol=3e-4)

    def test_a_class_without_rows_is_never_predicted(self, digits):
        found = one(*digits, 11)
        assert np.isfinite(found.bias).all()
        assert softmax(sweep.logits(found, digits[0]), axis=1)[:, 10].max() < 1e-2

    def test_the_path_is_in_order_and_the_same_twice(self, digits):
        first, second = (list(sweep.sweep(digits[0][:300], digits[1][:300], 10)) for _ in range(2))
        assert [(item.scaling, item.strength) for item in first] == [(s, a) for s in sweep.SCALINGS for a in sweep.STRENGTHS]
        assert all(
            np.array_equal(a.weight, b.weight) and np.array_equal(a.bias, b.bias) for a, b in zip(first, second, strict=True)
        )
        for scaling in sweep.SCALINGS:
            values = [item.objective for item in first if item.scaling == scaling]
            assert values == sorted(values, reverse=True)


class TestOtherLosses:
    def test_multilabel_equals_a_regression_a_label(self, digits):
        features, classes = digits
        targets = np.stack([classes % 2 == 1, classes > 4, classes == 8], axis=1).astype(np.float32)
        found = one(features, targets, 3, loss="logistic", tolerance=TIGHT)
        z = scaled(features, "standardised")
        probabilities = expit(sweep.logits(found, features))
        for label in range(3):
            expected = reference(z, targets[:, label], 1e-2).predict_proba(z)[:, 1]
            np.testing.assert_allclose(probabilities[:, label], expected, atol=3e-4)

    def test_a_label_that_is_never_set_stays_finite(self, digits):
        targets = np.stack([digits[1] > 4, digits[1] > 9], axis=1).astype(np.float32)
        found = one(digits[0], targets, 2, loss="logistic")
        assert expit(sweep.logits(found, digits[0]))[:, 1].max() < 1e-2

    @pytest.mark.parametrize("scaling", ["centred", "standardised"])
    @pytest.mark.parametrize("shape", ["digits", "wide"])
    @pytest.mark.parametrize("strength", [1.0, 1e-3])
    def test_regression_equals_ridge_in_a_few_steps(self, request, shape, scaling, strength):
        features, classes = request.getfixturevalue(shape)
        targets = np.stack([1e4 + 300.0 * classes, np.cos(classes) / 50], axis=1).astype(np.float32)
        found = one(features, targets, 2, loss="squared", scaling=scaling, strength=strength, tolerance=1e-5)
        z = scaled(features, scaling)
        expected = Ridge(alpha=strength * len(z)).fit(z, targets.astype(np.float64)).predict(z)
        spread = targets.std(0)
        np.testing.assert_allclose(sweep.logits(found, features) / spread, expected / spread, atol=3e-4)
        assert found.converged
        assert found.iterations <= 3


class TestAwkwardFeatures:
    def test_a_constant_column_has_no_weight_and_changes_nothing(self, digits):
        features = np.insert(digits[0], 5, 1234.5, axis=1)
        found, plain = one(features, digits[1]), one(*digits)
        np.testing.assert_array_equal(found.weight[:, 5], 0)
        np.testing.assert_allclose(found.objective, plain.objective, atol=2e-6)

    def test_duplicated_columns_share_a_weight(self, digits):
        features = np.concatenate([digits[0], digits[0]], axis=1)
        found = one(features, digits[1], tolerance=TIGHT)
        np.testing.assert_allclose(found.weight[:, :64], found.weight[:, 64:], atol=1e-4)
        single = one(*digits, strength=1e-2 / 2, tolerance=TIGHT)
        np.testing.assert_allclose(sweep.logits(found, features), sweep.logits(single, digits[0]), atol=5e-3)

    @pytest.mark.parametrize("scaling", sweep.SCALINGS)
    def test_a_huge_column_leaves_all_finite(self, digits, scaling):
        features = digits[0].copy()
        features[:, 20] *= 1e6
        for found in sweep.sweep(features, digits[1], 10, scalings=[scaling], strengths=[1.0, 1e-3, 1e-6]):
            assert np.isfinite(sweep.logits(found, features)).all()

    def test_a_column_that_hardly_varies_is_not_blown_up(self, wide):
        """Off in all samples but one, which is a thousandth of the others: on, in another sample, it decides nothing."""
        features = np.concatenate([wide[0], np.zeros((200, 1), np.float32)], 1)
        features[7, -1] = 1e-3 * wide[0].std()
        found, (without,) = one(features, wide[1]), list(sweep.sweep(*wide, 10, scalings=["standardised"], strengths=[1e-2]))
        features[:, -1] = wide[0].max()
        before, after = sweep.logits(without, wide[0]), sweep.logits(found, features)
        assert np.abs(after - before).max() < 30

    def test_a_huge_column_is_harmless_once_standardised(self, digits):
        features = digits[0].copy()
        features[:, 20] *= 1e6
        found, plain = one(features, digits[1]), one(*digits)
        assert found.objective == pytest.approx(plain.objective, abs=2e-6)

    def test_separable_at_a_tiny_strength(self):
        rng = np.random.default_rng(0)
        targets = np.arange(120) % 3
        features = (10 * np.eye(3)[targets] + rng.normal(size=(120, 3))).astype(np.float32)
        for found in sweep.sweep(features, targets, 3, strengths=[1e-9, 1e-12]):
            assert np.isfinite(found.weight).all()
            assert (sweep.logits(found, features).argmax(1) == targets).all()

    def test_equal_rows_have_the_classes_shares(self):
        targets = np.array([0, 0, 0, 1])
        for scaling in sweep.SCALINGS:
            found = one(np.ones((4, 3), np.float32), targets, 2, scaling=scaling, tolerance=1e-5)
            np.testing.assert_allclose(softmax(sweep.logits(found, np.ones((1, 3), np.float32))), [[0.75, 0.25]], atol=1e-4)

    def test_a_row_of_zeros_under_normalised(self, digits):
        features = digits[0].copy()
        features[3] = 0
        assert np.isfinite(one(features, digits[1], scaling="normalised").weight).all()


def low_rank(rng, count, width):
    return np.maximum(rng.normal(size=(count, 3)) @ rng.normal(size=(3, width)), 0)


def alike(rng, count, width):
    """One row many times, but for the rounding of float32."""
    return rng.normal(size=(1, width)) + 1e-7 * rng.normal(size=(count, width))


def far_apart(rng, count, width):
    """Columns whose sizes differ by 30 decades."""
    return rng.normal(size=(count, width)) * np.exp(rng.uniform(-40, 40, width))


AWKWARD = {
    "low rank": low_rank,
    "alike": alike,
    "far apart": far_apart,
    "constant": lambda rng, count, width: np.ones((count, width)) * rng.normal(size=width),
    "zero": lambda rng, count, width: np.zeros((count, width)),
    "duplicated columns": lambda rng, count, width: np.repeat(rng.normal(size=(count, width // 4)), 4, axis=1),
    "duplicated rows": lambda rng, count, width: np.repeat(rng.normal(size=(4, width)), count // 4, axis=0),
    "huge": lambda rng, count, width: 1e17 * rng.normal(size=(count, width)),
    "small": lambda rng, count, width: 1e-28 * rng.normal(size=(count, width)),
    "denormal": lambda rng, count, width: 1e-42 * rng.normal(size=(count, width)),
    "offset": lambda rng, count, width: 1e3 + rng.normal(size=(count, width)),
}


class TestAwkwardMatrices:
    """No matrix of finite numbers is too awkward to solve, whatever its rank; and what is found is the optimum."""

    @pytest.mark.parametrize("width", [200, 384])
    @pytest.mark.parametrize("name", AWKWARD)
    def test_it_is_solved(self, name, width):
        features = AWKWARD[name](np.random.default_rng(0), 300, width).astype(np.float32)
        classes = np.arange(300) % 2
        for found in sweep.sweep(features, classes, 2):
            assert found.converged
            assert np.isfinite(sweep.logits(found, features)).all()
            assert found.objective <= np.log(2) + 1e-6  # that of a head of zeros

    @pytest.mark.parametrize("name", [name for name in AWKWARD if name not in ("alike", "far apart", "denormal")])
    @pytest.mark.parametrize("scaling", ["centred", "standardised"])
    def test_it_is_the_optimum_of_scikit_learn(self, name, scaling):
        """Left out: matrices whose float32 rows are not those that scikit-learn would scale."""
        features = AWKWARD[name](np.random.default_rng(0), 60, 80).astype(np.float32)
        classes, wide = np.arange(60) % 3, features.astype(np.float64)
        spread = wide.std(0)
        varies = spread > 0
        spread[varies] = np.maximum(spread[varies], 0.3 * np.median(spread[varies])) if varies.any() else 0
        spread = spread if scaling == "standardised" else np.full(80, np.sqrt(wide.var(0).mean()))
        z = (wide - wide.mean(0)) / np.where(spread > 0, spread, np.inf)
        found = one(features, classes, 3, scaling=scaling, strength=1e-2, tolerance=TIGHT)
        expected = reference(z, classes, 1e-2)
        own = log_loss(classes, expected.predict_proba(z)) + 1e-2 / 2 * (expected.coef_**2).sum()
        assert found.objective == pytest.approx(own, abs=2e-5)
        np.testing.assert_allclose(softmax(sweep.logits(found, features), axis=1), expected.predict_proba(z), atol=1e-3)
        values = np.stack([np.arange(60.0), 5 - classes], axis=1)
        ridge = one(features, values, 2, loss="squared", scaling=scaling, strength=1e-2, tolerance=1e-5)
        fitted = Ridge(alpha=1e-2 * 60, solver="svd").fit(z, values).predict(z)
        np.testing.assert_allclose(sweep.logits(ridge, features), fitted, atol=3e-3 * values.std(0).max())

    def test_one_sample_a_class(self):
        features = np.random.default_rng(0).normal(size=(12, 40)).astype(np.float32)
        for found in sweep.sweep(features, np.arange(12), 12):
            assert found.converged
        assert (sweep.logits(found, features).argmax(1) == np.arange(12)).all()


class TestBlocks:
    @pytest.mark.parametrize("scaling", sweep.SCALINGS)
    def test_memory_maps_in_small_blocks_give_what_one_array_gives(self, digits, scaling, monkeypatch, tmp_path):
        features, targets = digits
        whole = one(features, targets, scaling=scaling, tolerance=TIGHT)
        np.save(tmp_path / "a.npy", features[:700])
        np.save(tmp_path / "b.npy", features[700:])
        maps = [np.load(tmp_path / name, mmap_mode="r") for name in ("a.npy", "b.npy")]
        monkeypatch.setattr(design, "BLOCK_ELEMENTS", 10000)
        monkeypatch.setattr(sweep, "BLOCK_ELEMENTS", 10000)
        blocks = one(maps, targets, scaling=scaling, tolerance=TIGHT)
        expected = softmax(sweep.logits(whole, features), axis=1)
        np.testing.assert_allclose(softmax(sweep.logits(blocks, maps), axis=1), expected, atol=3e-4)

    def test_the_order_of_rows_does_not_matter(self, digits):
        features, targets = digits
        forwards = one(features, targets, tolerance=TIGHT)
        backwards = one([features[1000:], features[:1000]], np.concatenate([targets[1000:], targets[:1000]]), tolerance=TIGHT)
        before, after = (softmax(sweep.logits(one, features), axis=1) for one in (forwards, backwards))
        np.testing.assert_allclose(after, before, atol=3e-4)
        np.testing.assert_array_equal(
            sweep.logits(forwards, [features[:9], features[9:]]).argmax(1), sweep.logits(forwards, features).argmax(1)
        )

    def test_half_precision_is_widened(self, digits):
        half = digits[0].astype(np.float16)  # whole numbers up to 16 are exact in it
        np.testing.assert_array_equal(one(half, digits[1]).weight, one(*digits).weight)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"features": np.zeros((0, 4), np.float32), "targets": np.zeros(0, int)}, DataError, "no rows of features"),
        ({"targets": np.arange(5) % 3}, DataError, "6 rows of features and 5 targets"),
        ({"targets": np.ones(6, int)}, DataError, "all 6 rows are of class 1"),
        ({"targets": np.array([0, 1, 2, 3, 0, 1])}, DataError, r"target of row 3 is 3; it is a class of 0\.\.2"),
        ({"targets": np.arange(6) % 3 / 1.0}, DataError, r"target of row 0 is 0.0; it is a class of 0\.\.2, an integer"),
        ({"class_weights": np.zeros(3)}, ConfigError, "not all 0"),
        ({"targets": np.full((6, 3), 0.5), "loss": "logistic"}, DataError, "0 or 1 for each label"),
        ({"targets": np.full((6, 3), np.nan), "loss": "squared"}, DataError, "target of row 0 .* finite"),
        ({"targets": np.zeros((6, 2)), "loss": "squared"}, DataError, r"takes \(6, 3\)"),
        ({"features": np.zeros(6, np.float32)}, DataError, "pooled features"),
        ({"features": [np.zeros((3, 4)), np.zeros((3, 5))]}, DataError, "blocks 0 and 1"),
        ({"strengths": [0.0]}, ConfigError, "strength 0.0"),
        ({"scalings": ["centered"]}, UnknownName, "did you mean 'centred'"),
        ({"loss": "hinge"}, UnknownName, "no loss 'hinge'"),
        ({"class_weights": np.ones(2)}, ConfigError, "give 3 finite numbers"),
        ({"class_weights": np.ones(3), "loss": "squared", "targets": np.zeros((6, 3))}, ConfigError, "leave them out"),
    ],
)
def test_errors(change, error, message):
    good = {"features": np.eye(6, 4, dtype=np.float32), "targets": np.arange(6) % 3, "num_classes": 3}
    with pytest.raises(error, match=message) as caught:
        list(sweep.sweep(**{**good, **change}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_the_first_row_that_is_not_finite_is_named(digits, value):
    features = digits[0].copy()
    features[[70, 1500], 3] = value
    with pytest.raises(DataError, match="row 70 "):
        one([features[:60], features[60:]], digits[1])
