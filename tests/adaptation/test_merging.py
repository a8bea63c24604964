"""Merged weights are plain, and answer as the adapter did."""

from collections.abc import Callable

import pytest
import torch
from adapting import pictures, train
from closeness import assert_close

from zoo.adaptation import freezing, transfer
from zoo.adaptation.model import AdaptedModel
from zoo.adaptation.strategies.full import Full
from zoo.adaptation.strategies.lora import LoRA
from zoo.backbones.backbone import Backbone
from zoo.errors import RunFailed
from zoo.scale import Scale
from zoo.types import Task

Build = Callable[..., AdaptedModel]


@pytest.mark.parametrize("family", ["convnext", "mobilenetv3", "resnet", "swin", "vit"])
def test_merged_answers_as_unmerged(tiny: Callable[..., Backbone], adapted: Build, family: str) -> None:
    """Linear and convolutional updates, 1x1 and 3x3; and the model itself is not touched."""
    model = adapted(family, "lora:4", lora_dropout=0.1)
    train(model, steps=4)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:  # a training of four steps is too little to see
            torch.nn.init.normal_(parameter.data, std=0.05)
        if name.endswith(".gamma"):  # ConvNeXt starts the scale of its branches at 1e-6
            parameter.data.fill_(1.0)
    before = freezing.digests(model)
    images = pictures(model)
    merged, unmerged = transfer.merge(model), model.eval()(images)
    assert freezing.digests(model) == before
    assert_close(merged(images), unmerged)
    assert (unmerged - _without_updates(model)(images)).abs().max() > 1e-3
    plain = tiny(family).net.state_dict()
    assert merged.backbone.net.state_dict().keys() == plain.keys()
    assert (merged.plan.strategy, merged.merged_from) == (Full(), LoRA(4))
    assert not any(module.training for module in merged.modules())


def _without_updates(model: AdaptedModel) -> AdaptedModel:
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.zero_()
    return model


def test_a_weight_is_the_formula(adapted: Build) -> None:
    """W + alpha / R B A."""
    model = adapted("vit", "lora:4", lora_alpha=6.0)
    layer = model.backbone.net.blocks[1].mlp.fc1
    torch.nn.init.normal_(layer.lora_B["default"].weight)
    base, a, b = (
        one.weight.detach().double().numpy() for one in (layer.base_layer, layer.lora_A["default"], layer.lora_B["default"])
    )
    merged = transfer.merge(model).backbone.net.blocks[1].mlp.fc1.weight.detach().numpy()
    assert abs(merged - (base + 6 / 4 * b @ a)).max() < 1e-5


def test_merging_twice_is_merging_once(adapted: Build) -> None:
    model = adapted("vit", "lora:4")
    train(model)
    once = transfer.merge(model)
    twice = transfer.merge(once)
    assert freezing.digests(once) == freezing.digests(twice)
    assert twice.merged_from == LoRA(4)


def test_merged_weights_can_be_adapted_again(adapted: Build) -> None:
    merged = transfer.merge(adapted("vit", "lora:4"))
    assert AdaptedModel.build(merged.backbone, 3, strategy="lora:2").plan.strategy == LoRA(2)


def test_values_that_are_not_finite_are_refused(adapted: Build) -> None:
    model = adapted("vit", "lora:4")
    model.backbone.net.blocks[0].attn.proj.lora_B["default"].weight.data.fill_(float("nan"))
    with pytest.raises(RunFailed, match=r"the adapter of blocks\.0\.attn\.proj cannot be folded"):
        transfer.merge(model)


def test_the_task_and_the_unit_of_the_outputs_are_kept(tiny: Callable[..., Backbone]) -> None:
    model = AdaptedModel.build(tiny("vit"), 2, strategy="lora:4", task="regression").eval()
    torch.nn.init.normal_(model.head.weight)
    model.scale = Scale((10.0, -1.0), (4.0, 0.5))
    merged = transfer.merge(model)
    assert merged.task is Task.REGRESSION
    assert merged.scale == model.scale
    torch.testing.assert_close(merged(pictures(model)), model(pictures(model)), rtol=0, atol=1e-4)
