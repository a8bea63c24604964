"""LoRA: where it goes, that it is really called, and that nothing else is touched."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from adapting import PlainBackbone, pictures, train
from closeness import assert_close
from tiny import BY_FAMILY
from torch import Tensor, nn
from torch.nn import functional

from zoo import backbones, registry
from zoo.adaptation import freezing, inserting
from zoo.adaptation.model import AdaptedModel
from zoo.backbones.backbone import Backbone
from zoo.errors import ConfigError
from zoo.strategy import parse

Build = Callable[..., AdaptedModel]


def meta(name: str, **arguments: Any) -> PlainBackbone:
    """A real member of a family, without memory."""
    spec = registry.resolve(name)
    with torch.device("meta"):
        net = timm.create_model(spec.id, num_classes=0, **arguments)
    return PlainBackbone(net, 1, spec=spec)


@pytest.mark.parametrize(
    ("name", "count"),
    [("vit_base_patch16_224", 48), ("timm/convnext_tiny", 36), ("timm/resnet50", 27), ("timm/resnext50_32x4d", 0)],
)
def test_counts_of_real_networks(name: str, count: int) -> None:
    """12 blocks x 4, 18 blocks x 2 (features.md 4d); resnet50: (6 + 3) blocks x 3."""
    backbone = meta(name)
    if backbone.spec.family is None:  # ResNeXt is not a member: by hand, and without its grouped convolutions
        with pytest.raises(ConfigError, match="--lora-targets"):
            inserting.targets(backbone, parse("lora"), None)
        assert len(inserting.targets(backbone, parse("lora"), r"layer[34]\.\d+\.conv[123]")) == 18
    else:
        assert len(inserting.targets(backbone, parse("lora"), None)) == count


def test_dilated_convolutions_are_left_out() -> None:
    """peft does not copy the dilation to its own convolution."""
    names = inserting.targets(meta("timm/resnet50", output_stride=16), parse("lora"), None)
    assert len(names) == 27 - 2
    assert "layer4.1.conv2" not in names


@pytest.mark.parametrize("family", BY_FAMILY)
def test_a_new_model_answers_as_its_base(tiny: Callable[..., Backbone], adapted: Build, family: str) -> None:
    """B is zero after the check for calls, to the bit."""
    base, model = tiny(family), adapted(family, "lora:4")
    images = pictures(model)
    torch.testing.assert_close(model.backbone(images), base(images), rtol=0, atol=0)
    updates = [name for name, group in model.plan.tensors.items() if group == "adapter"]
    assert updates
    state = model.state_dict()
    for name in updates:
        assert state[name].any() == ("lora_A" in name)
    assert {name for name in state if "lora_" in name} == set(updates)


def test_rank_alpha_dropout_and_seed(tiny: Callable[..., Backbone]) -> None:
    state = torch.random.get_rng_state()
    models = [AdaptedModel.build(tiny("vit"), 3, strategy="lora:3", lora_dropout=0.25, seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(torch.random.get_rng_state(), state)
    layer: Any = models[0].backbone.net.blocks[0].attn.qkv
    assert layer.lora_A["default"].weight.shape[0] == 3
    assert layer.scaling["default"] == 2.0  # alpha is twice the rank
    assert layer.lora_dropout["default"].p == 0.25
    first, same, other = (model.trained_state()["backbone.net.blocks.0.attn.qkv.lora_A.default.weight"] for model in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    halved = AdaptedModel.build(tiny("vit"), 3, strategy="lora:3", lora_alpha=1.5).backbone.net.blocks[0].attn.qkv
    assert halved.scaling["default"] == 0.5


def test_only_the_updates_dropout_follows_train(adapted: Build) -> None:
    model = adapted("vit", "lora:2", lora_dropout=0.5).train()
    live = [name for name, module in model.backbone.named_modules() if module.training]
    assert live
    assert all(name.endswith("lora_dropout.default") for name in live)
    for parameter in model.parameters():
        parameter.data.add_(0.01)
    images = pictures(model)
    assert not torch.equal(model(images), model(images))
    assert torch.equal(model.eval()(images), model(images))


def test_targets_of_ones_own(adapted: Build) -> None:
    model = adapted("vit", "lora:2", lora_targets=r"blocks\.\d+\.attn\.qkv")
    adapters = {name for name, group in model.plan.tensors.items() if group == "adapter"}
    assert adapters == {f"backbone.net.blocks.{b}.attn.qkv.lora_{m}.default.weight" for b in range(3) for m in "AB"}


@pytest.mark.parametrize(
    ("family", "targets", "message"),
    [
        ("vit", r"blocks\.\d+\.attn\.query", r"matches no module of tiny_vit; some that can be adapted: blocks\.\d\.attn\.\w+"),
        ("vit", r"patch_embed\.proj", r"patch_embed.proj is excluded by the family vit"),
        ("vit", r"norm", r"norm is a LayerNorm, not a Linear or a Conv2d"),
        ("mobilenetv3", r"blocks\.\d+\.\d+\.conv_dw", r"conv_dw is excluded by the family"),
        ("vit", r"blocks(", r"not a regular expression"),
    ],
)
def test_targets_that_cannot_be(adapted: Build, family: str, targets: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        adapted(family, "lora:4", lora_targets=targets)
    assert "\n" not in str(error.value)


class Standardised(nn.Conv2d):
    """As in BiT: peft would make its own matrices of this class, and the merge would be wrong."""

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.Conv2d(3, 6, 8, groups=3), "convolution in 3 groups"),
        (nn.Conv2d(3, 6, 4, dilation=2), "dilated"),
        (Standardised(3, 6, 8), "a Standardised, which changes its weight"),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 6, 8)), "which changes its weight"),
    ],
)
def test_layers_that_peft_gets_wrong(layer: nn.Module, message: str) -> None:
    backbone = PlainBackbone(nn.Sequential(layer, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 6)
    with pytest.raises(ConfigError, match=message):
        AdaptedModel.build(backbone, 2, strategy="lora:3", lora_targets="0")


class Reader(nn.Module):
    """Reads the weight of `qkv` without calling it, as WavLM's attention does."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.proj = nn.Linear(192, 6), nn.Linear(6, 6)

    def forward(self, images: Tensor) -> Tensor:
        return self.proj(functional.linear(images.flatten(1), self.qkv.weight, self.qkv.bias))


def test_a_module_that_is_passed_by_is_named() -> None:
    with pytest.raises(ConfigError, match=r"reads the weight of qkv without calling it.*1 of 2 modules"):
        AdaptedModel.build(PlainBackbone(Reader(), 6), 2, strategy="lora:3", lora_targets="qkv|proj")
    assert AdaptedModel.build(PlainBackbone(Reader(), 6), 2, strategy="lora:3", lora_targets="proj").plan.count == 2 * 18 + 14


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(192, 6), nn.Linear(6, 6)

    def forward(self, images: Tensor) -> Tensor:
        features = self.first(images.flatten(1))
        return features + 0.0 * self.second(features)


def test_updates_that_change_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="do not change the features"):
        AdaptedModel.build(PlainBackbone(Gated(), 6), 2, strategy="lora:3", lora_targets="second")


FUSED = {
    "timm/beit_base_patch16_224": {"embed_dim": 32, "depth": 2, "num_heads": 2, "patch_size": 8},
    "timm/eva02_small_patch14_224": {"embed_dim": 32, "depth": 2, "num_heads": 2, "patch_size": 8},
    "timm/swinv2_tiny_window8_256": {"embed_dim": 16, "depths": (1, 1), "num_heads": (1, 2), "window_size": 4},
}


@pytest.mark.parametrize("name", FUSED)
def test_fused_attention_is_adapted(name: str) -> None:
    """timm's BEiT, EVA-02 and SwinV2 read `qkv.weight`; through their own switch they call it, and every update learns."""
    spec = dataclasses.replace(registry.resolve(name), arguments=FUSED[name])
    base = backbones.load(spec, "random", image_size=32)
    backbone = backbones.load(spec, "random", image_size=32)
    targets = r".*\.(attn\.(qkv|proj)|mlp\.fc[12])"
    model = AdaptedModel.build(backbone, 3, strategy="lora:2", lora_targets=targets)
    assert_close(model.backbone(pictures(model)), base(pictures(model)))
    audit = freezing.GradientAudit(model)
    train(model, each=audit.observe)
    audit.conclude()
    assert sum(".attn.qkv.lora_" in name for name in model.plan.tensors) == 4


def test_the_check_sees_fused_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the switch the check refuses: the test above rests on it."""
    monkeypatch.setattr(inserting, "_call_fused_attention", lambda net, names: None)
    spec = dataclasses.replace(registry.resolve("timm/beit_base_patch16_224"), arguments=FUSED["timm/beit_base_patch16_224"])
    with pytest.raises(ConfigError, match=r"reads the weight of blocks\.0\.attn\.qkv"):
        AdaptedModel.build(backbones.load(spec, "random", image_size=32), 3, strategy="lora:2", lora_targets=r".*\.attn\.qkv")


def test_a_backbone_is_adapted_once(tiny: Callable[..., Backbone]) -> None:
    backbone = tiny("vit")
    AdaptedModel.build(backbone, 3, strategy="lora:2")
    with pytest.raises(ConfigError, match="is adapted already"):
        AdaptedModel.build(backbone, 3, strategy="lora:2")


def test_options_of_lora_without_lora(tiny: Callable[..., Backbone]) -> None:
    with pytest.raises(ConfigError, match="lora_dropout is an option of lora:R; the strategy is full"):
        AdaptedModel.build(tiny("vit"), 3, strategy="full", lora_dropout=0.1)
    with pytest.raises(ConfigError, match="lora_targets is an option of ia3 and lora:R; the strategy is bias-only"):
        AdaptedModel.build(tiny("vit"), 3, strategy="bias-only", lora_targets="qkv")
