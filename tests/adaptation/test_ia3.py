"""(IA)3: a factor for each output of the adapted modules, by hand and through peft."""

from collections.abc import Callable

import pytest
import torch
from adapting import pictures, train
from closeness import assert_close
from torch import Tensor, nn

from zoo.adaptation.model import AdaptedModel
from zoo.adaptation.transfer import merge
from zoo.errors import ConfigError
from zoo.strategy import parse

Build = Callable[..., AdaptedModel]


def scaled(model: AdaptedModel) -> AdaptedModel:
    """The model with factors that are far from 1, and a head that is not zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "ia3_l" in name:
                parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        for parameter in model.head.parameters():
            parameter += torch.randn(parameter.shape, generator=generator)
    return model.eval()


def test_it_begins_as_the_backbone_and_its_factors_multiply_the_outputs(adapted: Build, tiny: Callable[..., nn.Module]) -> None:
    base, model = tiny("vit"), adapted("vit", "ia3")
    images = pictures(model)
    assert torch.equal(model.backbone(images), base(images))
    layer = model.backbone.net.blocks[0].mlp.fc1
    factors = torch.linspace(0.5, 2, layer.out_features)
    with torch.no_grad():
        layer.ia3_l["default"].copy_(factors[:, None])
    inputs = torch.randn(3, layer.in_features, generator=torch.Generator().manual_seed(1))
    expected: Tensor = factors * (inputs @ layer.base_layer.weight.T + layer.base_layer.bias)
    assert_close(layer(inputs), expected)


def test_one_number_an_output_trains_and_nothing_else(adapted: Build) -> None:
    model = adapted("vit", "ia3")
    net = model.backbone.net
    expected = sum(
        getattr(block, part).get_submodule(leaf).out_features
        for block in net.blocks
        for part, leaf in (("attn", "qkv"), ("attn", "proj"), ("mlp", "fc1"), ("mlp", "fc2"))
    )
    head = sum(parameter.numel() for parameter in model.head.parameters())
    assert model.plan.count == expected + head
    assert {group for name, group in model.plan.tensors.items() if not name.startswith("head.")} == {"adapter"}


@pytest.mark.parametrize("family", ["vit", "resnet", "efficientnet"])
def test_merged_it_is_plain_and_gives_the_same(adapted: Build, family: str) -> None:
    model = scaled(adapted(family, "ia3"))
    images = pictures(model)
    merged = merge(model)
    assert not any("ia3" in name for name in merged.state_dict())
    assert str(merged.merged_from) == "ia3"
    assert_close(merged(images), model(images), terms=1 << 14)


def test_it_learns(adapted: Build) -> None:
    model = adapted("vit", "ia3")
    losses = train(model, steps=12)
    assert losses[-1] < losses[0]


def test_of_a_family_that_is_not_known_it_asks_for_targets() -> None:
    with pytest.raises(
        ConfigError, match="strategy 'ia3': the family of timm/swinv2_tiny_window8_256.* is not known; name its modules"
    ):
        AdaptedModel.build("timm/swinv2_tiny_window8_256", 3, strategy="ia3", weights="random")


def test_its_form_says_all_that_others_know_of_it() -> None:
    form = parse("ia3")
    assert (form.adapter, form.ships_whole, form.inert, form.adapter_options) == (True, False, False, ("lora_targets",))
