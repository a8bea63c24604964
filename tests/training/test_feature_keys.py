"""A row is found again by everything that it depends on, and what was found is held against the network before it ships."""

import hashlib
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import BY_FAMILY

import zoo
from zoo import backbones
from zoo.adaptation import boundary
from zoo.adaptation.model import AdaptedModel
from zoo.config import build
from zoo.data import open_splits
from zoo.errors import RunFailed
from zoo.training.features.extraction import Extractor

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model():
    return AdaptedModel.build(backbones.load(BY_FAMILY["resnet"], "random"), 2)


@pytest.fixture
def alike(tmp_path):
    """Twelve copies of one image in two classes, and as many to validate."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 36, 3), dtype=np.uint8)
    for folder in ("train/a", "train/b", "val/a", "val/b"):
        (tmp_path / "alike" / folder).mkdir(parents=True)
        for number in range(6):
            Image.fromarray(pixels).save(tmp_path / "alike" / folder / f"{number}.png")
    return open_splits(build({"data": str(tmp_path / "alike"), "leaks": "ignore"})).train


def extractor(model, place, device=CPU, precision="no"):
    config = build({"cache": str(place), "engine": "torch", "num_workers": 0})
    cut = boundary.cut(model)
    return Extractor(cut.prefix, cut.where, model.backbone, config, device, precision=precision)


def test_rows_in_another_precision_are_others(model, alike, tmp_path):
    with extractor(model, tmp_path / "cache") as first, extractor(model, tmp_path / "cache", precision="bf16") as second:
        exact, coarse = first.rows(alike)[:], second.rows(alike)[:]
    assert second.work.computed > 0
    assert not np.array_equal(exact, coarse)


def test_rows_of_another_device_are_others(model, alike, tmp_path):
    """A GPU rounds otherwise. What the space of its rows is called needs none."""
    here, there = (extractor(model, tmp_path / "cache", torch.device(name))._facts("none", 0) for name in ("cpu", "cuda"))
    assert here != there
    assert {name for name in here if here[name] != there[name]} == {"device"}


def test_copies_of_an_image_are_varied_each_in_its_own_way(model, alike, tmp_path):
    """Augmentation is a function of the sample's index: rows that were found by the bytes alone would all be those of the first."""
    with extractor(model, tmp_path / "cache") as extracting:
        rows = extracting.rows(alike, "strong", 0)[:]
    assert len(np.unique(rows, axis=0)) > len(rows) // 2


def test_features_that_the_network_does_not_give_are_not_shipped(tmp_path):
    """The shards are whole, named by their digests, and of another network: only the network itself can tell."""
    options = {
        "backbone": "timm/test_vit.r160_in1k", "weights": "random", "image_size": 32, "precision": "no", "engine": "torch",
        "strategy": "linear-probe", "num_workers": 0, "tensorboard": False, "cache": str(tmp_path / "cache"),
    }  # fmt: skip
    zoo.finetune(**options, out=str(tmp_path / "first"))
    shards = sorted((tmp_path / "cache/features").glob("*/*.npy"))
    assert shards
    for path in shards:
        records = np.load(path)
        records["row"] *= np.float32(1.05)
        stream = io.BytesIO()
        np.save(stream, records)
        path.with_name(f"{hashlib.sha256(stream.getbuffer()).hexdigest()}.npy").write_bytes(stream.getbuffer())
        path.unlink()
    with pytest.raises(RunFailed, match="the logits of the features differ from the whole network's"):
        zoo.finetune(**options, out=str(tmp_path / "second"))
    assert json.loads((tmp_path / "first/result.json").read_text())["value"] is not None
