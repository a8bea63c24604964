"""Stages and norms: of a family by its expressions, of other networks by timm's groups."""

from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

from zoo import registry
from zoo.backbones import stages
from zoo.errors import ConfigError

FAMILY = replace(
    registry.families()["vit"],
    name="made_up",
    stages={"stem": r"stem\.", "block": r"(conv|blocks)\.(\d+)\."},
    tail=r"norm\.",
)


def test_numbered_stages_come_in_numeric_order_and_the_tail_joins_the_last() -> None:
    names = ["norm.weight", "blocks.10.w", "blocks.2.w", "stem.w", "blocks.2.b"]
    found = stages.family_stages(FAMILY, names)
    assert [(stage.name, stage.parameters) for stage in found] == [
        ("stem", ("stem.w",)),
        ("block2", ("blocks.2.w", "blocks.2.b")),
        ("block10", ("blocks.10.w", "norm.weight")),
    ]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({}, "parameter 'neck.w' belongs to no stage"),
        ({"neck": r"neck\.", "again": r"neck\.w"}, "parameter 'neck.w' belongs to two stages"),
        ({"neck": r"neck\.", "early": r"norm\."}, "parameter 'norm.w' belongs to two stages"),
    ],
)
def test_a_parameter_in_no_stage_or_in_two_is_an_error(change: dict[str, str], complaint: str) -> None:
    family = replace(FAMILY, stages={**FAMILY.stages, **change})
    with pytest.raises(ConfigError, match=f"adapters/made_up.yaml: {complaint}"):
        stages.family_stages(family, ["stem.w", "neck.w", "norm.w"])


@pytest.mark.parametrize(
    "name", ["test_maxvit", "test_byobnet", "beit_base_patch16_224", "densenet121", "swinv2_tiny_window8_256"]
)
def test_guessed_stages_hold_every_parameter_once(name: str) -> None:
    with torch.device("meta"):
        net = timm.create_model(name, num_classes=0)
    found = stages.guessed_stages(net)
    listed = [parameter for stage in found for parameter in stage.parameters]
    assert sorted(listed) == sorted(parameter for parameter, _ in net.named_parameters())
    assert len(found) >= 4
    norms = set(stages.norm_modules(net))
    assert not all(parameter.rpartition(".")[0] in norms for parameter in found[-1].parameters)


def test_guessed_stages_of_a_resnet_are_those_of_its_family() -> None:
    """timm's pattern for the stem has alternatives without an anchor: searched, it would take in every `bn1`."""
    with torch.device("meta"):
        net = timm.create_model("resnet18", num_classes=0)
    known = stages.family_stages(registry.families()["resnet"], [name for name, _ in net.named_parameters()])
    assert [stage.parameters for stage in stages.guessed_stages(net)] == [stage.parameters for stage in known]


def test_a_network_without_groups_is_one_stage() -> None:
    found = stages.guessed_stages(nn.Linear(2, 2))
    assert [(stage.name, stage.parameters) for stage in found] == [("network", ("weight", "bias"))]


def test_norms_without_tensors_are_left_out() -> None:
    net = nn.Sequential(
        nn.LayerNorm(4), nn.LayerNorm(4, elementwise_affine=False), nn.Linear(4, 4), nn.BatchNorm1d(4, affine=False)
    )
    assert stages.norm_modules(net) == ["0", "3"]


class Grouped(nn.Module):
    """A network whose method of timm's gives these patterns, or raises."""

    def __init__(self, matcher: object) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 8)
        self.blocks = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 8))
        self.norm = nn.LayerNorm(8)
        self.matcher = matcher

    def group_matcher(self, coarse: bool = False) -> object:
        if isinstance(self.matcher, Exception):
            raise self.matcher
        return self.matcher


LAYERS = [("stem.",), ("blocks.0.",), ("blocks.1.",), ("blocks.2.", "norm.")]


@pytest.mark.parametrize(
    "matcher",
    [
        AssertionError("coarse grouping is not implemented"),
        {"stem": "nothing is called so"},
        {"stem": r"^stem", "blocks": r"^blocks\.(\d+)", "norm": r"^norm"},
    ],
    ids=["raises", "all in one group", "right"],
)
def test_groups_that_hold_nearly_all_are_not_believed_and_a_last_norm_joins(matcher: object) -> None:
    found = stages.guessed_stages(Grouped(matcher))
    assert len(found) == len(LAYERS)
    for stage, prefixes in zip(found, LAYERS, strict=True):
        assert all(name.startswith(prefixes) for name in stage.parameters)


def test_layers_are_those_of_the_list_that_holds_most_not_of_the_longest() -> None:
    experts = nn.ModuleList(nn.Linear(2, 2) for _ in range(5))
    net = nn.ModuleDict({"router": experts, "layers": nn.ModuleList(nn.Linear(9, 9) for _ in range(3)), "norm": nn.LayerNorm(9)})
    assert [stage.name for stage in stages.layers(net)] == ["embeddings", "layer0", "layer1", "layer2"]
    assert stages.layers(net)[-1].parameters == ("layers.2.weight", "layers.2.bias", "norm.weight", "norm.bias")


def test_a_list_whose_last_layer_is_nearly_all_is_passed_over() -> None:
    inner = nn.Sequential(*(nn.Linear(20, 20) for _ in range(4)))
    found = stages.layers(nn.Sequential(nn.Linear(2, 2), inner))
    assert [stage.parameters[0] for stage in found] == ["0.weight", "1.0.weight", "1.1.weight", "1.2.weight", "1.3.weight"]


class PreLayerNormEmbeddings(nn.Module):
    """Called after the norm in it, as RobertaPreLayerNormEmbeddings is."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 4)
        self.inner = nn.LayerNorm(4)
        self.register_buffer("positions", torch.arange(4))


class NormedEmbedding(nn.Embedding):
    """Has a number for each entry and channel, and `Norm` in its name."""


class HouseNorm(nn.Module):
    """Of no base class that torch has."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, 4, 1, 1))


class NormWithActivation(nn.BatchNorm2d):
    """As timm's BatchNormAct2d with a PReLU."""

    def __init__(self) -> None:
        super().__init__(4)
        self.act = nn.PReLU()


def test_norms_are_told_by_what_they_are() -> None:
    net = nn.ModuleDict(
        {
            "a": PreLayerNormEmbeddings(),
            "b": NormedEmbedding(7, 4),
            "c": HouseNorm(),
            "d": NormWithActivation(),
            "e": nn.RMSNorm(4),
        }
    )
    assert stages.norm_modules(net) == ["a.inner", "c", "d", "e"]
