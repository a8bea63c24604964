"""Images from the cache are those from the files, to the pixel, and the files are opened once."""

import numpy as np
import pytest
import torch
from PIL import Image

from zoo import cache
from zoo.backbones.images import ImagePreprocess
from zoo.config import build
from zoo.data import TrainBatches, from_datasets, open_splits
from zoo.errors import DataError
from zoo.training.features.decoded_images import PAGE, decode, decoded_size


@pytest.fixture
def pictures(tmp_path):
    """JPEGs and a PNG of several sizes and modes: under a page, several pages, decoded smaller, grey, sideways."""
    rng = np.random.default_rng(0)
    root = tmp_path / "photos"
    for folder in ("train/a", "train/b", "val/a", "val/b"):
        (root / folder).mkdir(parents=True)
        for number, shape in enumerate([(20, 30, 3), (200, 150, 3), (640, 900, 3), (50, 40), (104, 105, 3)]):
            image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
            exif = Image.Exif()
            exif[0x0112] = 6
            image.save(root / folder / f"{number}.{'png' if number == 3 else 'jpg'}", **({"exif": exif} if number == 1 else {}))
    return open_splits(build({"data": str(root)})).train


def test_pixels_are_those_of_the_files(pictures, tmp_path):
    decoded = decode(pictures, tmp_path / "cache", 80)
    assert len(decoded) == len(pictures) == 10
    for index in range(len(pictures)):
        own, other = decoded.item(index, 80), pictures.item(index, 80)
        assert own.mode == other.mode == "RGB"
        assert np.array_equal(np.asarray(own), np.asarray(other))
        assert decoded.name(index) == pictures.name(index)
    assert {decoded.item(index).size for index in range(5)} >= {(113, 80), (20, 30)[::-1]}


def test_training_sees_the_same_bytes(pictures, tmp_path):
    preprocess = ImagePreprocess(32, (0.5,) * 3, (0.5,) * 3, "bilinear", 1.0)
    decoded = decode(pictures, tmp_path / "cache", preprocess.decode_at)
    steps = [
        [
            batch.inputs
            for _, parts in TrainBatches(one, preprocess, augment="strong", batch_size=4).steps(0, 6)
            for batch in parts
        ]
        for one in (pictures, decoded)
    ]
    assert torch.equal(*(torch.cat(inputs) for inputs in steps))


def test_files_are_opened_once_and_only_what_is_new(pictures, tmp_path):
    decode(pictures.subset(np.arange(4)), tmp_path / "cache", 80)
    for index in range(4):
        (pictures.root / pictures.name(index)).unlink()
    decoded = decode(pictures, tmp_path / "cache", 80)
    for index in range(4, 10):
        (pictures.root / pictures.name(index)).unlink()
    assert decoded.item(0, 80).size == (30, 20)
    assert len(list(map(decoded.item, range(10)))) == 10
    with pytest.raises(DataError, match="No such file"):
        decode(pictures, tmp_path / "cache", 81)


def test_pixels_that_were_damaged_on_the_disk_are_decoded_again(pictures, tmp_path, caplog):
    decode(pictures, tmp_path / "cache", 80)
    (shard,) = (tmp_path / "cache").rglob("*.npy")
    content = bytearray(shard.read_bytes())
    content[2000] ^= 0x80
    shard.write_bytes(content)
    decoded = decode(pictures, tmp_path / "cache", 80)
    for index in range(len(pictures)):
        assert np.array_equal(np.asarray(decoded.item(index, 80)), np.asarray(pictures.item(index, 80)))
    assert [record.getMessage().startswith("cache: a shard is damaged") for record in caplog.records] == [True]


def test_a_file_that_was_replaced_is_not_kept_under_the_old_digest(pictures, tmp_path):
    Image.new("RGB", (30, 20)).save(pictures.root / pictures.name(0))
    with pytest.raises(DataError, match="replaced since it was checked"):
        decode(pictures, tmp_path / "cache", 80)


def test_the_room_they_take_is_known_before(pictures, tmp_path):
    expected = decoded_size(pictures, 80)
    decode(pictures, tmp_path / "cache", 80)
    (entry,) = cache.entries(tmp_path / "cache")
    assert expected == entry.rows * PAGE
    assert expected <= entry.bytes < 1.1 * expected


def test_pictures_without_a_digest_stay_as_they_are(tmp_path):
    data = [(Image.new("RGB", (9, 9)), 0), (Image.new("RGB", (9, 9), "red"), 1)]
    given = from_datasets(data, data).train
    assert decode(given, tmp_path / "cache", 80) is given
    assert not (tmp_path / "cache").exists()
