"""What is too large, or no image, is refused before it takes memory."""

import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from zoo.backbones.images import ImagePreprocess
from zoo.data.decoding.formats import read_file
from zoo.data.decoding.image_files import check_file, open_image
from zoo.errors import DataError


def sparse(path: Path, size: int, beginning: bytes = b"") -> Path:
    path.write_bytes(beginning)
    os.truncate(path, size)
    return path


@pytest.mark.parametrize("read", [open_image, check_file])
def test_a_file_beyond_any_image(tmp_path, read):
    with pytest.raises(DataError, match=r"a\.png: 40\.0 GB, and an image of 89 million pixels takes less"):
        read(sparse(tmp_path / "a.png", 40_000_000_000))


@pytest.mark.parametrize(("size", "said"), [(3_000_000_000, "3.0 GB"), (900_000_000, "begins with zeros alone")])
def test_zeros_take_no_memory(tmp_path, size, said):
    path = sparse(tmp_path / "a.tif", size)
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=said):
            check_file(path)
        assert tracemalloc.get_traced_memory()[1] < 30_000_000
    finally:
        tracemalloc.stop()


def test_a_large_file_with_an_image_in_it_is_read(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.bmp")
    path = sparse(tmp_path / "b.bmp", 70_000_000, (tmp_path / "a.bmp").read_bytes())
    assert np.array_equal(np.asarray(open_image(path)), noise)


def test_what_looks_at_a_file_sees_it_first(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    seen = []
    assert read_file(path, look=lambda file, size: seen.append((file.read(2), size))) == b"abc"
    assert seen == [(b"ab", 3)]


PREPROCESS = ImagePreprocess(32, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), "bicubic", 0.875)


@pytest.mark.parametrize("size", [(200_000, 1), (1, 200_000), (1_000_000, 3)])
def test_a_thin_image_is_not_resized_as_a_whole(size):
    image = Image.new("RGB", size, (9, 99, 199))
    assert max(PREPROCESS._resize(image).size) < 100
    prepared = PREPROCESS.prepare(image)
    assert torch.equal(prepared, torch.tensor([9, 99, 199], dtype=torch.uint8)[:, None, None].expand(3, 32, 32))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(9_001, 2), (3, 12_345), (40_000, 80)])
def test_what_is_seen_of_a_thin_image_is_what_the_whole_would_show(size, interpolation, monkeypatch):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    for side, fraction in ((32, 0.875), (33, 1.25)):
        preprocess = ImagePreprocess(side, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2), interpolation, fraction)
        whole = preprocess.prepare(image).int()
        monkeypatch.setattr("zoo.backbones.images._RESIZED", 1)
        assert max(preprocess._resize(image).size) < 64
        seen = preprocess.prepare(image).int()
        monkeypatch.undo()
        assert max(v2.functional.resize(image, [preprocess.resize_to()]).size) > 1000
        difference = (seen - whole).abs().float()
        if interpolation == "bilinear":
            assert difference.max() <= 1
        assert (
            difference.mean() < 2
        )  # Pillow may take the two directions in another order, and cuts what is beyond 0..255 after each


@pytest.mark.parametrize("size", [(640, 480), (1000, 100), (30, 900)])
def test_other_images_are_resized_by_torchvision(size):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))
    steps = v2.Compose([v2.Resize(36, v2.InterpolationMode.BICUBIC), v2.CenterCrop(32), v2.PILToTensor()])
    assert torch.equal(PREPROCESS.prepare(image), steps(image))
