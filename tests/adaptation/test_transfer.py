"""A fine-tuned model as the start of another: its weights, its labels' rows, and a folder that needs no base weights."""

import numpy as np
import pytest
import torch
from closeness import assert_close

import zoo
from zoo import registry
from zoo.adaptation import saved, saved_config, transfer
from zoo.adaptation.model import AdaptedModel
from zoo.config import build
from zoo.data import open_splits
from zoo.errors import CheckpointError, ConfigError
from zoo.types import Labels

BACKBONE = "timm/test_vit.r160_in1k"
TINY = {"image_size": 32, "tensorboard": False, "cache": "off", "num_workers": 0}


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A run that trained everything of a tiny network for a few steps."""
    folder = tmp_path_factory.mktemp("first")
    return zoo.finetune(BACKBONE, weights="random", strategy="full", epochs=0.2, out=str(folder / "run"), **TINY)


def model_of(names, strategy="full", head="linear", seed=1):
    backbone = registry.resolve(BACKBONE)
    built = zoo.backbones.load(backbone, "random", image_size=32, seed=seed)
    return AdaptedModel.build(built, len(names), head=head, strategy=strategy, labels=Labels(tuple(names)))


def test_the_backbone_is_the_one_that_was_trained(first, tmp_path):
    second = zoo.finetune(init_from=str(first.best), out=str(tmp_path / "second"), tensorboard=False, cache="off", num_workers=0)
    old, new = (saved.open_saved(run.best).backbone.net.state_dict() for run in (first, second))
    assert all(torch.equal(old[name], new[name]) for name in old)
    assert second.resolved().config.model.image_size == 32
    assert second.resolved().config.model.backbone == BACKBONE
    assert saved_config.read(second.best)["base"]["source"] == f"run {first.best}"


def test_a_probe_on_it_ships_whole_weights_and_needs_the_first_run_no_more(first, tmp_path, monkeypatch):
    second = zoo.finetune(init_from=str(first.best), out=str(tmp_path / "second"), tensorboard=False, cache="off", num_workers=0)
    moved = tmp_path / "elsewhere"
    zoo.publish(second.best, moved)
    picture = torch.zeros(3, 32, 32)
    before = zoo.load(second.best).predict([picture])[0]
    assert saved_config.read(moved)["layout"] == "timm"
    assert zoo.load(moved).predict([picture])[0] == before


def test_lora_on_it_ships_whole_weights_too(first, tmp_path):
    second = zoo.finetune(init_from=str(first.best), strategy="lora:2", epochs=0.1, out=str(tmp_path / "b"), **TINY)
    assert saved_config.read(second.best)["layout"] == "whole"
    third = zoo.finetune(init_from=str(second.best), out=str(tmp_path / "c"), tensorboard=False, cache="off", num_workers=0)
    merged = transfer.open_source(second.best).backbone.net.state_dict()
    found = saved.open_saved(third.best).backbone.net.state_dict()
    assert all(torch.equal(merged[name], found[name]) for name in merged)


def test_rows_go_to_the_outputs_of_the_same_name():
    source, model = model_of(["ant", "bee", "cat"]), model_of(["cat", "dog", "ant"], seed=2)
    with torch.no_grad():
        source.head.weight.copy_(torch.arange(3.0)[:, None].expand_as(source.head.weight))
        source.head.bias.copy_(torch.tensor([10.0, 20.0, 30.0]))
        model.head.weight.fill_(-1)
        model.head.bias.fill_(-1)
    assert transfer.keep_rows(source, model) == 2
    assert model.head.bias.tolist() == [30.0, -1.0, 10.0]
    assert model.head.weight[:, 0].tolist() == [2.0, -1.0, 0.0]


def test_new_labels_come_after_the_old_ones():
    assert transfer.joined(Labels(("b", "c")), Labels(("a", "b"))).names == ("b", "c", "a")


def test_splits_are_relabelled():
    splits = open_splits(build({"data": "builtin:digits"}))
    wider = splits.relabelled(Labels(("x", *reversed(splits.labels.names))))
    assert wider.labels.names[0] == "x"
    assert np.array_equal(wider.train.targets, 10 - splits.train.targets)
    assert wider.facts.counts["train"]["x"] == 0
    assert wider.facts.counts["train"]["3"] == splits.facts.counts["train"]["3"]
    assert wider.record()["splits"]["val"] == splits.record()["splits"]["val"]


def test_a_class_is_added_without_moving_the_others(first, tmp_path):
    kept = zoo.finetune(
        init_from=str(first.best), keep_head=True, strategy="full", lr=1e-12, epochs=0.05, out=str(tmp_path / "kept"), **TINY
    )
    picture = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    old, new = zoo.load(first.best), zoo.load(kept.best)
    assert new.labels.names == old.labels.names
    assert_close(old(picture), new(picture))  # next to nothing was learnt


def test_kept_rows_are_not_solved_away(first, tmp_path):
    with pytest.raises(ConfigError, match="--head-fit stepped"):
        zoo.finetune(init_from=str(first.best), keep_head=True, out=str(tmp_path / "x"), tensorboard=False, cache="off")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep_head": True}, "--init-from names"),
        ({"init_from": "BEST", "weights": "random"}, "both say where"),
        ({"init_from": "BEST", "backbone": "resnet50"}, "leave it out"),
        ({"init_from": "BEST", "image_size": 64}, "was trained with 32"),
        ({"init_from": "nowhere"}, "not a model that zoo saved"),
    ],
)
def test_what_does_not_fit_is_said(first, tmp_path, options, message):
    given = {name: str(first.best) if value == "BEST" else value for name, value in options.items()}
    with pytest.raises((ConfigError, CheckpointError), match=message):
        zoo.finetune(out=str(tmp_path / "x"), tensorboard=False, cache="off", **given)


def test_rows_need_linear_heads_and_a_common_label():
    with pytest.raises(ConfigError, match="linear head"):
        transfer.keep_rows(model_of("ab", head="mlp"), model_of("ab"))
    with pytest.raises(ConfigError, match="no label"):
        transfer.keep_rows(model_of("ab"), model_of("cd"))
