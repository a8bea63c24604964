"""Networks that a file fills: nothing is drawn for them, and what comes out is what was saved."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from saving import save
from tiny import BY_FAMILY, TINY_TEXT, text_folder
from torch.utils._python_dispatch import TorchDispatchMode

from zoo import backbones, registry
from zoo.adaptation import saved, saved_config
from zoo.adaptation.model import AdaptedModel
from zoo.backbones.digest import digest, unfilled
from zoo.types import Labels


def draws(call):
    """What a call gives, and how many operations in it drew random values for parameters."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as watched:
        found = call()
    return found, [one for one in watched.events() if one.name in ("aten::uniform_", "aten::normal_", "aten::erfinv_")]


@pytest.mark.parametrize("family", ["resnet", "vit"])
def test_a_saved_model_is_loaded_without_drawing_values_for_its_network(family, tmp_path):
    model = AdaptedModel.build(backbones.load(BY_FAMILY[family], "random"), 2, strategy="full", labels=Labels(("a", "b")))
    _, drawn = draws(lambda: backbones.load(BY_FAMILY[family], "random"))
    assert drawn
    save(tmp_path / "best", model)
    again, drawn = draws(lambda: saved.open_saved(tmp_path / "best"))
    assert len(drawn) <= 4, "those of the head"
    assert again.backbone.base_sha256 == model.backbone.base_sha256
    assert digest(again.backbone.net) == digest(model.backbone.net)


def test_a_network_of_texts_is_filled_whatever_lay_in_memory(tmp_path):
    spec = next(spec for spec in TINY_TEXT if spec.family and spec.family.name == "distilbert")
    if spec.name not in {one.name for one in registry.backbones()}:
        registry.register_backbone(spec)
    weights = text_folder(tmp_path / "weights", spec)
    model = AdaptedModel.build(spec.name, 2, strategy="full", weights=str(weights), labels=Labels(("a", "b")))
    save(tmp_path / "best", model)
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True)
    try:
        again = saved.open_saved(tmp_path / "best")  # memory that is not filled is NaN
    finally:
        torch.use_deterministic_algorithms(False)
    assert digest(again.backbone.net) == digest(model.backbone.net)
    assert all(np.isfinite(tensor.numpy()).all() for tensor in again.state_dict().values())


class _Zeros(TorchDispatchMode):
    """Memory that is not filled is zero, as the first that a process gets often is."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        return found.zero_() if "empty" in function.__name__ else found


def test_an_adapted_network_is_opened_whatever_lay_in_memory(tmp_path):
    base = AdaptedModel.build(backbones.load(BY_FAMILY["vit"], "random"), 2, strategy="full", labels=Labels(("a", "b")))
    base.backbone.origin = replace(
        base.backbone.origin, own=True
    )  # as of a run's own backbone, with which whole weights are shipped
    model = AdaptedModel.build(base.backbone, 2, strategy="lora:2", labels=Labels(("a", "b")))
    save(tmp_path / "best", model)
    assert saved_config.read(tmp_path / "best")["layout"] == "whole"
    with _Zeros():
        again = saved.open_saved(tmp_path / "best")
    assert digest(again.backbone.net) == digest(model.backbone.net)


def test_only_inside_and_only_parameters():
    with unfilled():
        assert torch.nn.Linear(2, 2).weight.shape == (2, 2)
        assert torch.randn(3).std() > 0
        assert torch.empty(100).normal_().std() > 0.5
        with torch.no_grad():
            kept = torch.nn.Parameter(torch.ones(3))
            assert kept.uniform_().equal(torch.ones(3))
            assert kept.zero_().equal(torch.zeros(3))
        assert digest(torch.nn.Linear(2, 2)) == ""
    with torch.no_grad():
        assert not torch.nn.Parameter(torch.ones(3)).uniform_().equal(torch.ones(3))
    assert digest(torch.nn.Linear(2, 2)) != ""
