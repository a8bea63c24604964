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
