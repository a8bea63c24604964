"""Frozen is inert, trained is trained: on every family and under every strategy, by the bytes."""

import math
from collections.abc import Callable

import pytest
import torch
from adapting import STRATEGIES, pictures, train
from closeness import assert_close
from tiny import BY_FAMILY
from torch import nn

from zoo.adaptation import freezing
from zoo.adaptation.model import AdaptedModel
from zoo.errors import AuditFailed

Build = Callable[..., AdaptedModel]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("family", BY_FAMILY)
def test_only_the_plan_moves(adapted: Build, family: str, strategy: str) -> None:
    """Of all parameters and buffers, exactly those of the plan have other bytes after three steps; and all had a gradient."""
    model = adapted(family, strategy)
    before, frozen = freezing.digests(model), freezing.frozen_digests(model)
    audit = freezing.GradientAudit(model)
    losses = train(model, each=audit.observe)
    audit.conclude()
    moved = {name for name, digest in freezing.digests(model).items() if digest != before[name]}
    assert moved == set(model.trained_state())
    assert set(frozen) == set(before) - moved
    freezing.check_frozen(model, frozen)
    assert losses[0] == pytest.approx(math.log(model.num_outputs), abs=1e-5)  # the head starts at zero


@pytest.mark.parametrize(
    "strategy", [one for one in STRATEGIES if one not in ("full", "lp-ft", "partial:1", "partial:2", "partial:50%")]
)
@pytest.mark.parametrize("family", BY_FAMILY)
def test_train_mode_changes_nothing_about_an_inert_backbone(adapted: Build, family: str, strategy: str) -> None:
    """Dropout, drop-path and batch statistics are off: forwards repeat, and an image alone is as among others."""
    model = adapted(family, strategy).train()
    images = pictures(model)
    first, again = model.backbone(images), model.backbone(images)
    assert torch.equal(first, again)
    assert_close(model.backbone(images[:1]), first[:1])


@pytest.mark.parametrize("family", ["resnet", "vit"])
def test_full_is_not_inert(adapted: Build, family: str) -> None:
    """The counter-example of the test above: what is live does differ."""
    model = adapted(family, "full").train()
    images = pictures(model)
    assert not torch.equal(model.backbone(images), model.backbone(images))


def test_eval_and_train_again_keep_batch_norm_still(adapted: Build) -> None:
    model = adapted("resnet", "partial:1")
    for _ in range(2):
        model.eval().train()
        norms = [module for module in model.backbone.net.modules() if isinstance(module, nn.BatchNorm2d)]
        assert norms
        assert not any(module.training for module in norms)
    assert model.training
    assert model.head.training
    assert model.backbone.net.layer4[0].conv1.training
    assert not model.backbone.net.layer3[0].conv1.training
    model.eval()
    assert not any(module.training for module in model.modules())


@pytest.mark.parametrize("buffer", ["running_mean", "k_bias"])
def test_a_changed_buffer_is_noticed(adapted: Build, buffer: str) -> None:
    """Persistent or not: `k_bias` is not in the state_dict."""
    model = adapted("resnet", "linear-probe")
    model.backbone.net.register_buffer("k_bias", torch.zeros(3), persistent=False)
    before = freezing.frozen_digests(model)
    name, tensor = next(pair for pair in model.named_buffers() if pair[0].endswith(buffer))
    tensor.add_(1e-6)
    with pytest.raises(AuditFailed, match=name):
        freezing.check_frozen(model, before)


def test_digests_know_dtype_and_sign_of_zero() -> None:
    def digest(tensor: torch.Tensor) -> str:
        module = nn.Module()
        module.register_buffer("one", tensor)
        return freezing.digests(module)["one"]

    zeros = torch.zeros(4)
    variants = [zeros, -zeros, zeros.bfloat16(), zeros.half(), zeros.bool(), torch.zeros(2, 2), torch.tensor(0.0), zeros.long()]
    assert len({digest(one) for one in variants}) == len(variants)
    assert digest(torch.arange(6.0).reshape(2, 3).T) == digest(torch.arange(6.0).reshape(2, 3).T.contiguous())


def test_audit_names_a_tensor_without_gradient(adapted: Build) -> None:
    """A network that reads a detached weight trains on in silence; the audit does not let it."""
    model = adapted("resnet", "full")
    convolution = model.backbone.net.layer2[0].conv1
    convolution.forward = lambda x: nn.functional.conv2d(x, convolution.weight.detach(), None, convolution.stride, 1)
    audit = freezing.GradientAudit(model)
    train(model, steps=2, each=audit.observe)
    audit.conclude()  # too early to judge
    train(model, steps=1, each=audit.observe)
    with pytest.raises(AuditFailed, match=r"1 of .*backbone\.net\.layer2\.0\.conv1\.weight"):
        audit.conclude()


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_audit_wants_finite_gradients_other_than_zero(adapted: Build, value: float) -> None:
    model = adapted("resnet", "linear-probe")
    audit = freezing.GradientAudit(model)
    for step in range(3):
        for parameter in model.head.parameters():
            parameter.grad = torch.full_like(parameter, value)
        assert audit.observe(model) == (step == 2)
    with pytest.raises(AuditFailed, match=r"head\.weight, head\.bias"):
        audit.conclude()


def test_audit_names_a_stray_gradient(adapted: Build) -> None:
    model = adapted("resnet", "linear-probe")
    model.backbone.net.conv1.weight.requires_grad_(True)
    with pytest.raises(AuditFailed, match=r"backbone\.net\.conv1\.weight"):
        train(model, steps=1, each=freezing.GradientAudit(model).observe)
