"""The losses' derivatives against autograd, and the minimiser on the path."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from zoo.training.probe.design import Design, Facts, FeatureRows
from zoo.training.probe.path import LOSSES, Objective, solve_path

DRAWN = torch.Generator().manual_seed(0)
OUTPUTS, WEIGHTS = (
    3 * torch.randn(4, 9, generator=DRAWN, dtype=torch.float64),
    torch.rand(9, generator=DRAWN, dtype=torch.float64),
)
BITS, REAL = torch.randint(2, (4, 9), generator=DRAWN).double(), torch.randn(4, 9, generator=DRAWN, dtype=torch.float64)
CLASSES = torch.randint(4, (9,), generator=DRAWN)
TARGETS = {"softmax": CLASSES, "logistic": BITS, "squared": REAL}


def by_torch(loss, outputs, weights):
    if loss == "softmax":
        return (F.cross_entropy(outputs.T, CLASSES, reduction="none") * weights).sum()
    losses = (
        F.binary_cross_entropy_with_logits(outputs, BITS, reduction="none") if loss == "logistic" else (outputs - REAL) ** 2 / 2
    )
    return (losses * weights).sum()


def flat_by_torch(loss, weights, flat):
    return by_torch(loss, flat.view(4, 9), weights)


@pytest.mark.parametrize("loss", TARGETS)
def test_derivatives(loss):
    several = torch.stack([OUTPUTS, OUTPUTS.roll(1, 1)])
    weights = torch.stack([WEIGHTS, WEIGHTS.roll(3)])
    found = zip(*LOSSES[loss](several.clone(), TARGETS[loss], weights), strict=True)
    for (value, derivatives, second), own, shares in zip(found, several, weights, strict=True):
        outputs = own.clone().requires_grad_()
        expected = by_torch(loss, outputs, shares)
        torch.testing.assert_close(value, expected.detach())
        torch.testing.assert_close(derivatives, torch.autograd.grad(expected, outputs)[0])
        hessian = torch.autograd.functional.hessian(partial(flat_by_torch, loss, shares), own.flatten())
        torch.testing.assert_close(second, hessian.diagonal().sum())


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("strength", [1.0, 1e-3, 1e-6])
def test_the_gradient_vanishes_at_a_solution_and_a_looser_one_costs_less(loss, strength):
    features = torch.randn(200, 15, generator=torch.Generator().manual_seed(2))
    rows, shares = FeatureRows([features.numpy()], 4, torch.device("cpu")), torch.full((200,), 1 / 200)
    classes = (features[:, :4] + torch.randn(200, 4, generator=torch.Generator().manual_seed(3))).argmax(1)
    targets = classes if loss == "softmax" else F.one_hot(classes, 4).T.float()
    objective = Objective(Design(rows, Facts.of(rows), "centred", shares), loss, targets, shares[None])
    exact, loose = (next(iter(solve_path(objective, 4, [strength], tolerance)))[0] for tolerance in (1e-5, 1e-2))
    assert exact.converged
    assert loose.converged
    assert loose.iterations < exact.iterations or loss == "squared"
    assert objective(exact.layer[None], [0])[0].gradient.abs().max() < 3e-5
    assert 0 <= loose.objective - exact.objective + 1e-7 < 1e-3


def test_each_strength_starts_from_the_one_before():
    features = torch.randn(300, 20, generator=torch.Generator().manual_seed(2))
    rows, shares = FeatureRows([features.numpy()], 3, torch.device("cpu")), torch.full((300,), 1 / 300)
    objective = Objective(Design(rows, Facts.of(rows), "centred", shares), "softmax", features[:, :3].argmax(1), shares[None])
    (first,), (again,), (back,) = solve_path(objective, 3, [1e-2, 1e-2, 1e-1], 1e-4)
    assert (again.iterations, again.objective) == (0, first.objective)
    assert back.objective > first.objective  # the penalty is that of the new strength


def test_where_classes_are_separable_a_line_through_two_solutions_is_a_better_start_than_the_last_one():
    features = torch.randn(60, 200, generator=torch.Generator().manual_seed(2))
    rows, shares = FeatureRows([features.numpy()], 3, torch.device("cpu")), torch.full((60,), 1 / 60)
    objective = Objective(Design(rows, Facts.of(rows), "centred", shares), "softmax", features[:, :3].argmax(1), shares[None])
    *_, (by_line,) = solve_path(objective, 3, [1e-3, 3e-4, 1e-4], 1e-4)
    *_, (by_last,) = solve_path(objective, 3, [3e-4, 1e-4], 1e-4)
    assert by_line.iterations < by_last.iterations
    assert by_line.objective == pytest.approx(by_last.objective, rel=1e-4)


def test_several_at_once_are_those_alone():
    """Each objective of its own weights, where some have ended before others."""
    features = torch.randn(120, 12, generator=torch.Generator().manual_seed(2))
    rows = FeatureRows([features.numpy()], 9, torch.device("cpu"))
    shares = torch.full((3, 120), 1 / 100)
    shares[0, :20] = shares[1, 20:40] = shares[2, 100:] = 0
    classes = (features[:, :3] + torch.randn(120, 3, generator=torch.Generator().manual_seed(3))).argmax(1)
    made = Design(rows, Facts.of(rows), "centred", torch.full((120,), 1 / 120))
    together = list(solve_path(Objective(made, "softmax", classes, shares), 3, [1e-1, 1e-3], 1e-4))
    for place, own in enumerate(shares):
        for (alone,), found in zip(
            solve_path(Objective(made, "softmax", classes, own[None]), 3, [1e-1, 1e-3], 1e-4), together, strict=True
        ):
            assert found[place].objective == pytest.approx(alone.objective, rel=1e-5)
            torch.testing.assert_close(found[place].layer, alone.layer, rtol=1e-2, atol=1e-2)
    assert len({one.iterations for one in together[1]}) > 1
