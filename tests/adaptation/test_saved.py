"""Saved folders: the same bytes, the same answers, plain timm where it can be, and one line for whatever is wrong."""

import dataclasses
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from adapting import LABELS, STRATEGIES, pictures, train
from closeness import assert_close
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from saving import save, seal
from tiny import BY_FAMILY
from torch import nn
from transformers import AutoConfig, AutoModelForImageClassification, pipeline

from zoo import backbones, folders, registry
from zoo.adaptation import saved, saved_config, transfer
from zoo.adaptation.model import AdaptedModel
from zoo.backbones.backbone import Backbone
from zoo.errors import CheckpointError, ZooError
from zoo.scale import Scale
from zoo.strategy import parse
from zoo.types import Labels, Task

Build = Callable[..., AdaptedModel]
WHOLE = [one for one in STRATEGIES if parse(one).ships_whole]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "best"


def trained(build: Build, family: str, strategy: str, **options: Any) -> AdaptedModel:
    model = build(family, strategy, **options)
    train(model, steps=2)
    return model.eval()


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("family", ["resnet", "vit"])
def test_reloaded_it_answers_bit_for_bit(adapted: Build, folder: Path, family: str, strategy: str) -> None:
    model = trained(adapted, family, strategy)
    save(folder, model, {"step": 2, "note": "ö"})
    again = saved.open_saved(folder)
    images = pictures(model)
    assert torch.equal(again(images), model(images))
    assert not any(module.training for module in again.modules())
    assert again.labels == LABELS
    assert again.plan == model.plan
    assert again.backbone.preprocess == model.backbone.preprocess
    assert again.backbone.base_sha256 == model.backbone.base_sha256
    assert again.backbone.origin == model.backbone.origin
    config = saved_config.read(folder)
    assert config["layout"] == ("timm" if strategy in WHOLE else "adapter")
    assert config["facts"] == {"step": 2, "note": "ö"}
    held = set(load_file(folder / "model.safetensors"))
    if strategy not in WHOLE:
        assert held == set(model.trained_state())


@pytest.mark.parametrize("strategy", ["full", "partial:1"])
@pytest.mark.parametrize("family", BY_FAMILY)
def test_plain_timm_opens_it(adapted: Build, folder: Path, family: str, strategy: str) -> None:
    """Every family: `local-dir:` alone gives the classes, the names, the preprocessing and equal outputs."""
    model = trained(adapted, family, strategy)
    odd = {"mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "interpolation": "nearest", "crop_fraction": 0.7}
    model.backbone.preprocess = dataclasses.replace(model.backbone.preprocess, **odd)  # so that timm cannot know it by itself
    save(folder, model)
    plain = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = pictures(model)
    assert torch.equal(plain(images), model(images))
    config = timm.data.resolve_model_data_config(plain)
    preprocess = model.backbone.preprocess
    assert config["input_size"] == (3, preprocess.size, preprocess.size)
    assert (tuple(config["mean"]), tuple(config["std"])) == (preprocess.mean, preprocess.std)
    assert (config["interpolation"], config["crop_pct"]) == (preprocess.interpolation, preprocess.crop_fraction)
    assert list(plain.pretrained_cfg["label_names"]) == list(LABELS.names)
    other = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=3).eval()  # the next one to fine-tune it
    assert other(images).shape == (8, 3)


@pytest.mark.parametrize("family", BY_FAMILY)
def test_plain_transformers_opens_it(adapted: Build, folder: Path, family: str) -> None:
    """Its wrapper of timm's networks: equal outputs under the same names."""
    model = trained(adapted, family, "full")
    save(folder, model)
    wrapped, info = AutoModelForImageClassification.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    images = pictures(model)
    assert_close(wrapped.eval()(images).logits, model(images))
    assert wrapped.config.id2label == dict(enumerate(LABELS.names))


@pytest.mark.parametrize(("task", "problem"), [("classification", None), ("multilabel", "multi_label_classification")])
def test_the_pipeline_of_transformers_gives_zoos_probabilities(
    tiny: Callable[..., Backbone], folder: Path, task: str, problem: str | None
) -> None:
    model = AdaptedModel.build(tiny("convnext"), 3, strategy="full", labels=Labels(("ant", "bee", "cat")), task=task)
    train(model, steps=2)
    save(folder, model.eval())
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (50, 40, 3), dtype=np.uint8))
    batch = model.backbone.preprocess.collate([model.backbone.preprocess.prepare(image)])
    logits = model(batch)[0].detach()
    ours = logits.softmax(0) if task == "classification" else logits.sigmoid()
    answer = pipeline("image-classification", model=str(folder), top_k=3)(image)
    theirs = {one["label"]: one["score"] for one in answer}
    assert set(theirs) == {"ant", "bee", "cat"}
    assert json.loads((folder / "config.json").read_text()).get("problem_type") == problem
    assert_close([theirs[name] for name in ("ant", "bee", "cat")], ours)


def test_outputs_without_names_are_not_called_those_of_imagenet(tiny: Callable[..., Backbone], folder: Path) -> None:
    save(folder, AdaptedModel.build(tiny("vit"), 1000, strategy="full"))
    assert AutoConfig.from_pretrained(folder).id2label[7] == "7"


def test_merged_lora_opens_in_plain_timm(adapted: Build, folder: Path) -> None:
    model = transfer.merge(trained(adapted, "swin", "lora:4"))
    save(folder, model)
    images = pictures(model)
    assert torch.equal(timm.create_model(f"local-dir:{folder}", pretrained=True).eval()(images), model(images))
    again = saved.open_saved(folder)
    assert torch.equal(again(images), model(images))
    assert str(again.merged_from) == "lora:4"


@pytest.mark.parametrize("head", ["mlp", "cosine", "attention-pool"])
def test_other_heads_with_whole_weights(tiny: Callable[..., Backbone], folder: Path, head: str) -> None:
    model = AdaptedModel.build(tiny("vit"), 3, head=head, strategy="full")
    train(model, steps=1)
    save(folder, model.eval())
    assert saved_config.read(folder)["layout"] == "whole"
    assert torch.equal(saved.open_saved(folder)(pictures(model)), model(pictures(model)))


@pytest.mark.parametrize(("strategy", "layout"), [("full", "whole"), ("linear-probe", "adapter")])
def test_outputs_keep_their_unit(tiny: Callable[..., Backbone], folder: Path, strategy: str, layout: str) -> None:
    """timm has no place for it: its layout would answer in another unit."""
    model = AdaptedModel.build(tiny("vit"), 2, strategy=strategy, labels=Labels(("height", "weight")), task="regression")
    model.scale = Scale((1.7e9 + 1 / 3, 1 / 3), (0.1, 1e-6))
    train(model, steps=1)
    save(folder, model.eval())
    config = saved_config.read(folder)
    assert (config["layout"], config["task"]) == (layout, "regression")
    again = saved.open_saved(folder)
    assert again.task is Task.REGRESSION
    images = pictures(model)
    assert torch.equal(again(images), model(images))
    assert again.scale == model.scale


def test_whole_weights_need_no_base(adapted: Build, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No search for weights is made, though the base came from somewhere."""
    model = trained(adapted, "vit", "full")
    model.backbone.origin = backbones.backbone.WeightsOrigin("Hub timm/x", "1" * 64, "mit")
    save(folder, model)
    again = saved.open_saved(folder)
    assert again.backbone.origin == model.backbone.origin
    assert saved_config.read(folder)["base"]["seed"] is None


def test_lora_keeps_its_options(adapted: Build, folder: Path) -> None:
    options = {"lora_alpha": 3.0, "lora_dropout": 0.2, "lora_targets": r"blocks\.[01]\.attn\.qkv"}
    model = trained(adapted, "vit", "lora:4", **options)
    save(folder, model)
    again = saved.open_saved(folder)
    layer: Any = again.backbone.net.blocks[1].attn.qkv
    assert (layer.scaling["default"], layer.lora_dropout["default"].p) == (0.75, 0.2)
    assert torch.equal(again(pictures(model)), model(pictures(model)))


def test_bytes_are_reproducible_with_one_metadata_key(adapted: Build, folder: Path, tmp_path: Path) -> None:
    model = trained(adapted, "vit", "lora:4")
    other = tmp_path / "other"
    save(folder, model, {"step": 1})
    save(other, model, {"step": 1})
    for name in ("model.safetensors", "config.json"):
        assert (folder / name).read_bytes() == (other / name).read_bytes()
        probe = tmp_path / "probe"
        probe.touch()
        assert (folder / name).stat().st_mode == probe.stat().st_mode
    with safe_open(folder / "model.safetensors", "pt") as file:
        metadata = file.metadata()
    assert list(metadata) == ["zoo"]
    assert json.loads(metadata["zoo"]) == {"format": "zoo/1", "layout": "adapter", "labels_sha256": LABELS.sha256}


class Tied(nn.Module):
    """Two names for one tensor, and one that is not contiguous."""

    def __init__(self, in_features: int, num_outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(in_features, in_features, bias=False)
        self.second = nn.Linear(in_features, in_features, bias=False)
        self.second.weight = self.first.weight
        self.last = nn.Parameter(torch.randn(in_features, num_outputs).T.contiguous().T)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(features)) @ self.last


def test_tied_tensors(tiny: Callable[..., Backbone], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = AdaptedModel.build(tiny("vit"), 3, head=Tied, strategy="full")
    train(model, steps=1)
    save(folder, model.eval())
    again = saved.open_saved(folder, head=Tied)
    assert again.head.first.weight is again.head.second.weight
    assert torch.equal(again(pictures(model)), model(pictures(model)))


def test_a_custom_head_is_asked_for(tiny: Callable[..., Backbone], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mine(in_features: int, num_outputs: int) -> nn.Module:
        return nn.Sequential(nn.Linear(in_features, num_outputs), nn.Tanh())

    model = AdaptedModel.build(tiny("vit"), 3, head=mine)
    train(model, steps=1)
    save(folder, model.eval())
    with pytest.raises(CheckpointError, match=r"its head 'custom' is not registered in this process; pass its factory as head="):
        saved.open_saved(folder)
    assert torch.equal(saved.open_saved(folder, head=mine)(pictures(model)), model(pictures(model)))
    with pytest.raises(CheckpointError, match=r"tensors are missing: head\.0\.weight|tensors are missing: head\."):
        saved.open_saved(folder, head=registry.head("mlp"))


def test_a_linear_of_ones_own_is_plain(tiny: Callable[..., Backbone], folder: Path) -> None:
    model = AdaptedModel.build(tiny("resnet"), 3, head=nn.Linear, strategy="full")
    save(folder, model)
    assert saved_config.read(folder)["layout"] == "timm"
    assert torch.equal(saved.open_saved(folder)(pictures(model)), model(pictures(model)))


def test_without_labels(tiny: Callable[..., Backbone], folder: Path) -> None:
    save(folder, AdaptedModel.build(tiny("vit"), 3, strategy="full"))
    assert saved.open_saved(folder).labels is None


def test_another_base_is_refused(adapted: Build, folder: Path, tmp_path: Path) -> None:
    """The folder says which seed it began with; other weights, given by hand, are not taken."""
    model = trained(adapted, "vit", "lora:4")
    save(folder, model)
    base = tmp_path / "base.safetensors"
    other = backbones.load(BY_FAMILY["vit"], "random", seed=99)
    save_file(other.net.state_dict(), base)
    with pytest.raises(
        CheckpointError, match=r"trained on other base weights than .*base\.safetensors.*give the right ones"
    ) as error:
        saved.open_saved(folder, weights=str(base))
    assert "\n" not in str(error.value)
    right = tmp_path / "right.safetensors"
    save_file(backbones.load(BY_FAMILY["vit"], "random", seed=8).net.state_dict(), right)
    assert torch.equal(saved.open_saved(folder, weights=str(right))(pictures(model)), model(pictures(model)))


def _edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "config.json"
        config = json.loads(path.read_text())
        change(config)
        path.write_text(json.dumps(config))

    return spoil


def _tensors(change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "model.safetensors"
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        state = {name: tensor.clone() for name, tensor in load_file(path).items()}
        change(state)
        save_file(state, path, metadata=metadata)

    return spoil


def _write(name: str, content: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content((folder / name).read_bytes())) and None


PICKLE = b"cos\nsystem\n(S'touch sprung'\ntR."
"""Loaded as what it is, it would make a file."""

SPOILT: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda folder: [path.unlink() for path in folder.iterdir()] and folder.rmdir(), "no such folder"),
    "no config": (lambda folder: (folder / "config.json").unlink(), r"it has no config\.json"),
    "config cut": (_write("config.json", lambda content: content[:50]), r"config\.json: cannot be read"),
    "config binary": (_write("config.json", lambda content: b"\xff\xfe\x00"), r"config\.json: cannot be read"),
    "config a list": (_write("config.json", lambda content: b"[1]"), "it has no `zoo` part"),
    "config of timm": (_edit(lambda config: config.pop("zoo")), "it has no `zoo` part"),
    "newer": (_edit(lambda config: config["zoo"].update(format="zoo/2")), r"config\.json: format 'zoo/2'.*install the version"),
    "other layout": (_edit(lambda config: config["zoo"].update(layout="gguf")), "layout 'gguf'"),
    "wrong layout": (_edit(lambda config: config["zoo"].update(layout="adapter")), r"model\.safetensors: written for another"),
    "no base": (_edit(lambda config: config["zoo"].pop("base")), r"config\.json: damaged: KeyError 'base'"),
    "bad preprocess": (_edit(lambda config: config["zoo"]["preprocess"].update(odd=1)), r"config\.json: damaged: TypeError"),
    "no such family": (_edit(lambda config: config["zoo"]["base"].update(family="x")), r"config\.json: no family 'x' here"),
    "labels in another order": (
        _edit(lambda config: config["zoo"]["labels"].update(names=list(LABELS.names[::-1]))),
        r"config\.json: its labels are not those",
    ),
    "labels of another": (_edit(lambda config: config["zoo"].update(labels=None)), r"config\.json: its labels are not those"),
    "no weights": (
        lambda folder: (folder / "model.safetensors").unlink(),
        r"manifest\.json: it does not list model\.safetensors",
    ),
    "weights cut": (
        _write("model.safetensors", lambda content: content[:-7]),
        r"model\.safetensors: not a whole safetensors file",
    ),
    "weights empty": (_write("model.safetensors", lambda content: b""), r"model\.safetensors: not a whole safetensors file"),
    "a pickle": (
        _write("model.safetensors", lambda content: PICKLE),
        r"model\.safetensors: not a whole safetensors",
    ),
    "no metadata": (
        lambda folder: save_file({"a": torch.zeros(1)}, folder / "model.safetensors"),
        r"model\.safetensors: not a model that zoo saved",
    ),
    "tensor missing": (_tensors(lambda state: state.pop("head.bias")), r"model\.safetensors: tensors are missing: head\.bias"),
    "tensor over": (_tensors(lambda state: state.update(x=torch.zeros(1))), r"model\.safetensors: unexpected tensors: x"),
    "tensor mis-shaped": (
        _tensors(lambda state: state.update({"head.bias": torch.zeros(4)})),
        r"model\.safetensors: tensor head\.bias has shape \[4\]",
    ),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_whatever_is_wrong_is_one_line(adapted: Build, folder: Path, fault: str) -> None:
    save(folder, adapted("vit", "full"))
    spoil, message = SPOILT[fault]
    spoil(folder)
    if folder.exists():  # so that the manifest does not give it away
        seal(folder)
    with pytest.raises(CheckpointError, match=message) as error:
        saved.open_saved(folder)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)
    assert isinstance(error.value, ZooError)
    assert not Path("sprung").exists()


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("strategy", ["full", "linear-probe"])
def test_one_flipped_bit_anywhere_is_refused(adapted: Build, folder: Path, name: str, strategy: str) -> None:
    save(folder, adapted("vit", strategy))
    whole = (folder / name).read_bytes()
    for place in random.Random(0).sample(range(len(whole)), 24):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        (folder / name).write_bytes(damaged)
        with pytest.raises(CheckpointError, match=name) as error:
            saved.open_saved(folder)
        assert "\n" not in str(error.value)
    (folder / name).write_bytes(whole)
    saved.open_saved(folder)


@pytest.mark.parametrize("content", ["{}", "[]", "null", "", '{"config.json": 1}', '{"../x": {"size": 1, "sha256": ""}}', None])
def test_a_folder_without_a_manifest_of_its_files_is_refused(adapted: Build, folder: Path, content: str | None) -> None:
    save(folder, adapted("vit", "linear-probe"))
    manifest = folder / "manifest.json"
    manifest.unlink() if content is None else manifest.write_text(content)
    with pytest.raises(CheckpointError, match=r"manifest\.json.*use another copy") as error:
        saved.open_saved(folder)
    assert "\n" not in str(error.value)


def test_the_card_may_be_edited_or_left_behind(adapted: Build, folder: Path) -> None:
    """On the Hub, cards are edited in place; no model is read from one."""
    model = adapted("vit", "linear-probe")
    with folders.whole(folder) as aside:
        saved.save(aside, model, {})
        (aside / "README.md").write_text("card")
        (aside / "figures").mkdir()
        (aside / "figures" / "f.png").write_text("figure")
    (folder / "README.md").write_text("another")
    (folder / "figures" / "f.png").unlink()
    assert torch.equal(saved.open_saved(folder)(pictures(model)), model.eval()(pictures(model)))


def test_a_folder_that_is_replaced_while_it_is_read_is_read_anew(adapted: Build, folder: Path) -> None:
    """As `best/` is by a run in training: never the config of one and the weights of the other, and never called damaged."""
    first, second = adapted("vit", "full"), trained(adapted, "vit", "full")
    save(folder, first)
    calls = []

    def read() -> bytes:
        found = (folder / "model.safetensors").read_bytes()
        if not calls:
            save(folder, second)
        calls.append(found)
        return found

    assert folders.read_whole(folder, read, ("model.safetensors",)) == (folder / "model.safetensors").read_bytes() != calls[0]
    assert len(calls) == 2
