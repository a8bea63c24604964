"""The products with scaled features: in any blocks, from the raw rows or a turned copy, equal to plain matrix algebra in float64."""

import numpy as np
import pytest
import torch

from zoo.errors import DataError
from zoo.training.probe.design import Design, Facts, FeatureRows, eigenvectors
from zoo.training.probe.path import Objective
from zoo.training.probe.sweep import SCALINGS

CPU = torch.device("cpu")


@pytest.fixture(params=[(40, 7), (900, 7), (12, 30)], ids=["turned", "raw", "fewer rows than columns"])
def features(request):
    count, width = request.param
    rng = np.random.default_rng(3)
    return (rng.gamma(2.0, size=(count, width)) * rng.gamma(1.0, size=width) + 5).astype(np.float32)


@pytest.fixture
def weights(features):
    weights = torch.rand(len(features), generator=torch.Generator().manual_seed(0))
    return weights / weights.sum()


def design(arrays, scaling, weights):
    rows = FeatureRows(arrays, 3, CPU)
    return Design(rows, Facts.of(rows), scaling, weights)


def plain(features, scaling, weights):
    """The scaled features, centred by their weighted mean, and their weighted second moments, in float64."""
    z = features.astype(np.float64)
    if scaling == "normalised":
        z /= np.sqrt((z**2).mean(1, keepdims=True))
    else:
        least = 0.3 * np.median(z.std(0))
        z /= np.maximum(z.std(0), least) if scaling == "standardised" else np.sqrt(((z - z.mean(0)) ** 2).mean())
    shares = weights.double().numpy()
    z -= shares @ z
    return z, (z * shares[:, None]).T @ z


@pytest.mark.parametrize("scaling", SCALINGS)
def test_the_basis_is_orthonormal_and_diagonalises_the_moments(features, scaling, weights):
    made = design([features], scaling, weights)
    basis = (made.fold / made.columns[:, None]).double().numpy()
    np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-5)
    _, moments = plain(features, scaling, weights)
    curvature = made.curvature.double().numpy()
    assert curvature[-1] == 1
    assert len(curvature) == min(features.shape) + 1
    scale = curvature[:-1].max()
    np.testing.assert_allclose(basis.T @ moments @ basis / scale, np.diag(curvature[:-1]) / scale, atol=1e-5)
    assert curvature[:-1].sum() == pytest.approx(np.trace(moments), rel=1e-4)  # nothing lies outside the basis


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("elements", [1, 64, 1 << 20])
def test_value_and_gradient_equal_plain_algebra(features, scaling, weights, elements, monkeypatch):
    monkeypatch.setattr("zoo.training.probe.design.BLOCK_ELEMENTS", elements)
    split = len(features) // 3
    made = design([features[:split], features[split:]], scaling, weights)
    assert (made.turned is None) == (len(features) == 900)
    targets = torch.arange(len(features)) % 3
    objective = Objective(made, "softmax", targets, weights[None])
    objective.set_strength(0.3)
    layer = torch.randn(3, len(made.curvature), generator=torch.Generator().manual_seed(1))
    (found,) = objective(layer[None], [0])

    z, _ = plain(features, scaling, weights)
    turned = torch.from_numpy(z @ (made.fold / made.columns[:, None]).double().numpy())
    exact = layer.double().requires_grad_()
    losses = torch.nn.functional.cross_entropy(turned @ exact[:, :-1].T + exact[:, -1], targets, reduction="none")
    value = (losses * weights).sum() + 0.15 * exact[:, :-1].square().sum()
    value.backward()
    assert found.value == pytest.approx(value.item(), rel=1e-4)
    torch.testing.assert_close(found.gradient.double(), exact.grad, rtol=1e-3, atol=2e-4)


def test_facts(features):
    facts = Facts.of(FeatureRows([features[:5], features[5:]], 3, CPU))
    np.testing.assert_allclose(facts.mean, features.mean(0, dtype=np.float64), rtol=1e-6)
    np.testing.assert_allclose(facts.variance, features.var(0, dtype=np.float64), rtol=1e-4)
    np.testing.assert_allclose(facts.norms, np.linalg.norm(features, axis=1), rtol=1e-6)


def test_moments_that_float32_does_not_decompose():
    """Rows alike but for rounding, standardised: LAPACK gives up in float32 on one processor or another; never in float64."""
    rng = np.random.default_rng(0)
    for width in (120, 384):
        rows = (rng.normal(size=(1, width)) + 1e-7 * rng.normal(size=(300, width))).astype(np.float32)
        made = design([rows], "standardised", torch.full((300,), 1 / 300))
        assert made.fold.isfinite().all()
        assert (made.curvature >= 0).all()
    with pytest.raises(DataError, match="--head-fit stepped"):
        eigenvectors(torch.full((3, 3), torch.nan, dtype=torch.float64))
