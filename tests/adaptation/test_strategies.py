"""What each strategy's plan names."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from adapting import PlainBackbone
from tiny import BY_FAMILY
from torch import nn

from zoo.adaptation.model import AdaptedModel
from zoo.backbones.backbone import Backbone
from zoo.errors import ConfigError

Build = Callable[..., AdaptedModel]


def trained(model: AdaptedModel) -> set[str]:
    """Names of the backbone's tensors that train, relative to the network."""
    return {name.removeprefix("backbone.net.") for name in model.plan.tensors if not name.startswith("head.")}


def test_linear_probe_trains_the_head_alone(adapted: Build) -> None:
    model = adapted("vit", "linear-probe")
    assert dict(model.plan.tensors) == {"head.weight": "head", "head.bias": "head"}
    assert model.plan.buffers == ()
    assert not any(name.startswith("backbone") for name in model.plan.live)


@pytest.mark.parametrize("family", BY_FAMILY)
def test_full_trains_everything(adapted: Build, family: str) -> None:
    model = adapted(family, "full")
    assert set(model.trained_state()) == set(model.state_dict())
    assert model.plan.count == model.plan.total == sum(one.numel() for one in model.parameters())
    assert all(module.training for module in model.train().modules())


@pytest.mark.parametrize("family", BY_FAMILY)
def test_partial_takes_whole_stages_from_the_output(adapted: Build, family: str) -> None:
    for strategy, count in (("partial:1", 1), ("partial:2", 2), ("partial:1%", 1), ("partial:100%", None)):
        model = adapted(family, strategy)
        stages = model.backbone.stages if count is None else model.backbone.stages[-count:]
        assert trained(model) == {name for stage in stages for name in stage.parameters}


def test_partial_leaves_alone_what_belongs_to_frozen_and_trained(adapted: Build) -> None:
    model = adapted("convnext", "partial:1").train()
    live = {name for name, module in model.backbone.net.named_modules() if module.training}
    assert "stages.3.blocks.0.conv_dw" in live
    assert "stages.3.blocks.0.drop_path" in live  # without parameters: goes with the block it is in
    assert "head.norm" in live
    assert "" not in live
    assert "stages" not in live
    assert not any(name.startswith(("stem", "stages.2")) for name in live)


def test_partial_by_pattern(adapted: Build) -> None:
    model = adapted("vit", r"partial:attn\.qkv")
    assert trained(model) == {f"blocks.{block}.attn.qkv.{leaf}" for block in range(3) for leaf in ("weight", "bias")}


@pytest.mark.parametrize(
    ("family", "strategy", "message"),
    [
        ("resnet", "partial:99", r"'partial:99': tiny_resnet has 5 stages.* stem, layer1, layer2, layer3, layer4; use partial:5"),
        ("resnet", r"partial:layer5\.0\.conv1", r"matches no parameter of tiny_resnet.*layer\d\.0\.conv1\.weight"),
        ("vit", "partial:zzz", r"matches no parameter of tiny_vit; some of its names: cls_token"),
    ],
)
def test_partial_that_there_is_not(adapted: Build, family: str, strategy: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        adapted(family, strategy)
    assert "\n" not in str(error.value)


def test_norm_only_names_the_tensors_of_norms(adapted: Build) -> None:
    model = adapted("resnet", "norm-only")
    wanted = {
        f"{name}.{leaf}"
        for name, module in model.backbone.net.named_modules()
        if isinstance(module, nn.BatchNorm2d)
        for leaf in ("weight", "bias")
    }
    assert trained(model) == wanted
    assert {group for name, group in model.plan.tensors.items() if name.startswith("backbone")} == {"norm"}
    assert model.plan.buffers == ()


def test_bias_only_says_when_only_norms_have_biases(adapted: Build) -> None:
    resnet, vit = adapted("resnet", "bias-only"), adapted("vit", "bias-only")
    assert trained(resnet) == {
        name for name, _ in resnet.backbone.net.named_parameters() if re.search(r"bn\d\.bias|\.1\.bias", name)
    }
    assert "only biases are those of the normalisation layers" in resnet.plan.summary()
    assert "only biases" not in vit.plan.summary()
    assert "blocks.0.mlp.fc1.bias" in trained(vit)


@pytest.mark.parametrize(
    ("strategy", "message"),
    [("norm-only", "no normalisation layer of plain"), ("bias-only", "plain has no biases")],
)
def test_nothing_to_train(strategy: str, message: str) -> None:
    backbone = PlainBackbone(nn.Sequential(nn.Flatten(), nn.Linear(192, 6, bias=False)), 6)
    with pytest.raises(ConfigError, match=message):
        AdaptedModel.build(backbone, 2, strategy=strategy)


def test_partial_of_a_network_whose_stages_are_not_known_is_refused() -> None:
    backbone = PlainBackbone(nn.Sequential(nn.Flatten(), nn.Linear(192, 6)), 6)
    with pytest.raises(ConfigError, match=r"'partial:1': the stages of plain are not known.*partial:REGEX"):
        AdaptedModel.build(backbone, 2, strategy="partial:1")
    assert AdaptedModel.build(backbone, 2, strategy=r"partial:1\.weight").plan.tensors["backbone.net.1.weight"]


def test_norm_only_leaves_alone_what_a_norm_has_inside() -> None:
    class NormThenActivation(nn.BatchNorm1d):
        def __init__(self) -> None:
            super().__init__(192)
            self.act = nn.PReLU()

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return self.act(super().forward(inputs))

    backbone = PlainBackbone(nn.Sequential(nn.Flatten(), NormThenActivation()), 192)
    backbone.norms = ["1"]
    assert trained(AdaptedModel.build(backbone, 2, strategy="norm-only")) == {"1.weight", "1.bias"}


def test_summary_is_one_line_with_counts(tiny: Callable[..., Backbone]) -> None:
    backbone = tiny("resnet")
    inside = sum(one.numel() for one in backbone.parameters())
    head = backbone.feature_dim * 10 + 10
    plan = AdaptedModel.build(backbone, 10).plan
    assert (plan.count, plan.total) == (head, inside + head)
    share = 100 * head / (inside + head)
    assert plan.summary() == f"trains 2 tensors, {head:,} parameters, {share:.1f} % of {inside + head:,}; backbone inert"


def test_summary_of_a_large_one() -> None:
    with torch.device("meta"):
        net = nn.Sequential(nn.Flatten(), nn.Linear(192, 122_448, bias=False))
    backbone: Any = PlainBackbone(net, 2048)
    plan = AdaptedModel.build(backbone, 10).plan
    assert plan.summary() == "trains 2 tensors, 20,490 parameters, 0.1 % of 23.5 M; backbone inert"


def test_user_frozen_part_of_a_head_is_kept_but_not_trained(tiny: Callable[..., Backbone]) -> None:
    def head(in_features: int, num_outputs: int) -> nn.Module:
        projection = nn.Linear(in_features, 4).requires_grad_(False)
        return nn.Sequential(projection, nn.BatchNorm1d(4), nn.Linear(4, num_outputs))

    model = AdaptedModel.build(tiny("vit"), 3, head=head)
    assert {name for name in model.plan.tensors} == {"head.1.weight", "head.1.bias", "head.2.weight", "head.2.bias"}
    assert set(model.trained_state()) == {name for name in model.state_dict() if name.startswith("head.")}
