"""Sixteen-bit images are scaled by what the whole data set uses, alike in training, evaluation and prediction."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import zoo
from zoo.config import DataConfig, build
from zoo.data import from_datasets, open_for_evaluation, open_splits
from zoo.data.decoding.image_files import open_image
from zoo.errors import DataError
from zoo.training.features.decoded_images import decode
from zoo.types import Labels


def images(root: Path, highest: int, count: int = 8, mode: str = "I;16") -> Path:
    """Two classes of grey noise in 16-bit PNG files, one half as bright as the other, whose brightest value is `highest`."""
    random = np.random.default_rng(highest)
    for kind in range(2):
        (root / f"kind{kind}").mkdir(parents=True)
        for number in range(count):
            values = random.integers(0, highest // (2 - kind), (12, 10), endpoint=True)
            values[0, :2] = 0, highest // (2 - kind)
            Image.fromarray(values.astype(np.uint16)).save(root / f"kind{kind}/{number}.png")
    return root


@pytest.mark.parametrize(("highest", "depth"), [(200, 8), (256, 10), (1023, 10), (1024, 12), (4095, 12), (9000, 14), (65535, 16)])
def test_the_fewest_bits_that_hold_the_set(tmp_path, highest, depth):
    splits = open_splits(build({"data": str(images(tmp_path / "data", highest))}))
    assert splits.facts.bit_depth == depth
    brightest = max(np.asarray(splits.train.item(index)).max() for index in range(len(splits.train)))
    assert brightest == round(highest * 255 / (2**depth - 1))
    assert any(f"read as of {depth} bits" in line for line in splits.facts.notices) == (depth < 16)


def test_a_dark_image_stays_dark(tmp_path):
    root = images(tmp_path / "data", 4095)
    Image.fromarray(np.full((12, 10), 40, np.uint16)).save(root / "kind0/dark.png")
    splits = open_splits(build({"data": str(root)}))
    name = [splits.train.name(index) for index in range(len(splits.train))].index("kind0/dark.png")
    assert (np.asarray(splits.train.item(name)) == round(40 * 255 / 4095)).all()


def test_the_depth_that_is_asked_for(tmp_path):
    root = images(tmp_path / "data", 4095)
    assert open_splits(build({"data": str(root), "bit_depth": 13})).facts.bit_depth == 13
    with pytest.raises(
        DataError, match=r"16 of 16 .*kind0/0\.png: values up to 2,047, and .* have 10 bits .* give a larger --bit-depth"
    ):
        open_splits(build({"data": str(root), "bit_depth": 10}))


def test_one_bright_image_is_named_where_the_others_become_dark(tmp_path):
    root = images(tmp_path / "data", 4095)
    Image.fromarray(np.full((12, 10), 65535, np.uint16)).save(root / "kind0/hot.png")
    notices = open_splits(build({"data": str(root)})).facts.notices
    assert any("use at most 12 bits and become dark, since others use more: kind0/hot.png" in line for line in notices)


def test_colour_of_16_bits_that_comes_out_dark_is_said(tmp_path):
    root = images(tmp_path / "data", 65535)
    said = [line for line in open_splits(build({"data": str(root)})).facts.notices if "16 bits a channel" in line]
    assert said == []
    for number, most in enumerate((15, 7)):
        content = png_of_colours(np.full((4, 4, 3), most * 256 + 9, np.uint16))
        (root / f"kind0/colour{number}.png").write_bytes(content)
    said = [line for line in open_splits(build({"data": str(root)})).facts.notices if "16 bits a channel" in line]
    assert "2 images have 16 bits a channel, use at most 12 of them" in said[0]


def png_of_colours(values: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel, `[H, W, 3]`."""
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_evaluation_takes_the_models_depth(tmp_path):
    """... and not what its own images would suggest."""
    dark = images(tmp_path / "dark", 900)
    samples, _ = open_for_evaluation(dark, Labels(("kind0", "kind1")), options=DataConfig(bit_depth=12))
    assert max(np.asarray(samples.item(index)).max() for index in range(len(samples))) == round(900 * 255 / 4095)


def test_decoded_images_of_two_depths_are_two(tmp_path):
    root = images(tmp_path / "data", 900)
    for depth in (10, 12):
        samples = open_splits(build({"data": str(root), "bit_depth": depth})).train
        kept = decode(samples, tmp_path / "cache", 8)
        assert np.array_equal(np.asarray(kept.item(0)), np.asarray(samples.item(0)))


def opened(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return image


@pytest.mark.parametrize("form", ["images", "files", "bytes"])
def test_data_in_memory(tmp_path, form):
    root = images(tmp_path / "data", 4095)
    rows = []
    for kind in range(2):
        for path in sorted((root / f"kind{kind}").iterdir()):
            item = {"images": opened(path), "files": path, "bytes": {"bytes": path.read_bytes()}}[form]
            rows.append((item, kind))
    splits = from_datasets(rows)
    assert splits.facts.bit_depth == 12
    assert any("read as of 12 bits" in line for line in splits.facts.notices)
    assert max(np.asarray(splits.train.item(index)).max() for index in range(len(splits.train))) == 255
    eight = [(opened(path).convert("L"), kind) for kind in range(2) for path in sorted((root / f"kind{kind}").iterdir())]
    assert from_datasets(eight).facts.bit_depth is None


def test_whole_numbers_of_32_bits_have_no_range_of_their_own():
    wide = Image.fromarray(np.array([[0, 200]], np.int32))
    assert wide.mode == "I"
    with pytest.raises(DataError, match="a: whole numbers of 32 bits, of which the range is not known"):
        open_image(wide, "a")
    assert np.asarray(open_image(wide, bit_depth=8))[0, 1, 0] == 200
    with pytest.raises(DataError, match=r"a: values up to 256, and images of this data set have 8 bits \(at most 255\)"):
        open_image(Image.fromarray(np.array([[0, 256]], np.int32)), "a", bit_depth=8)


def test_a_model_scales_as_it_was_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("ZOO_CACHE", "off")
    root = images(tmp_path / "data", 900)
    run = zoo.finetune(
        "timm/test_resnet.r160_in1k", data=str(root), weights="random", epochs=1, image_size=32, num_workers=0, engine="torch",
        tensorboard=False, out=str(tmp_path / "run"),
    )  # fmt: skip
    assert "bit_depth: 10" in (run.path / "config.yaml").read_text(encoding="utf-8")
    assert json.loads((run.best / "config.json").read_text())["zoo"]["preprocess"]["bit_depth"] == 10
    assert "values from 0 to 1,023 as black to white" in (run.best / "README.md").read_text(encoding="utf-8")
    predictor = zoo.load(run.best)
    assert predictor.preprocess.bit_depth == 10
    grey = np.full((32, 32), 512, np.uint16)
    Image.fromarray(grey).save(tmp_path / "wide.png")
    Image.fromarray(np.full((32, 32), round(512 * 255 / 1023), np.uint8)).save(tmp_path / "plain.png")
    wide, plain = predictor.predict([tmp_path / "wide.png", tmp_path / "plain.png"])
    assert wide.probabilities == plain.probabilities
    Image.fromarray(grey * 8).save(tmp_path / "bright.png")
    with pytest.raises(DataError, match=r"bright\.png: values up to 4,096, and images of this data set have 10 bits"):
        predictor.predict([tmp_path / "bright.png"])
    dark = images(tmp_path / "dark", 200)
    files = sorted(dark.rglob("*.png"))
    shares = [one.probabilities[path.parent.name] for path, one in zip(files, predictor.predict(files), strict=True)]
    published = shutil.copytree(run.best, tmp_path / "published")  # where no config.yaml of a run is near
    measured = zoo.evaluate(published, data=str(dark)).values["log_loss"].value
    assert measured == pytest.approx(-np.log(shares).mean(), rel=1e-5)
    with pytest.raises(DataError, match="#0: whole numbers of 32 bits|#0: values up to"):
        predictor.predict([Image.fromarray(np.full((32, 32), 70, np.int32) * 100)])
    whole = replace(predictor.preprocess, bit_depth=None)
    assert torch.equal(
        whole.prepare(open_image(tmp_path / "plain.png")), predictor.preprocess.prepare(open_image(tmp_path / "plain.png"))
    )
    assert "bit_depth" not in whole.to_dict()
