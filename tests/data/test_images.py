"""Every kind of image comes out right, and every bad file is one line that names it."""

import io
import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zoo.data.decoding.image_files import check_file, formats, open_image, suffixes
from zoo.errors import DataError

RED, BLUE = (200, 30, 40), (10, 20, 220)


def pixels(picture: Image.Image) -> np.ndarray:
    assert picture.mode == "RGB"
    return np.asarray(picture)


@pytest.fixture
def upright() -> Image.Image:
    """Red above blue, higher than wide."""
    picture = Image.new("RGB", (16, 32), RED)
    picture.paste(BLUE, (0, 16, 16, 32))
    return picture


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (3, Image.Transpose.ROTATE_180),
        (6, Image.Transpose.ROTATE_90),
        (8, Image.Transpose.ROTATE_270),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (5, Image.Transpose.TRANSPOSE),
    ],
)
def test_exif_rotated_equals_upright(tmp_path, upright, orientation, stored):
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright.transpose(stored).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(pixels(open_image(tmp_path / "a.png")), np.asarray(upright))
    assert check_file(tmp_path / "a.png").height == 32


def test_pil_picture_is_turned_too_and_left_as_it_was(upright):
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6
    before = turned.tobytes()
    assert np.array_equal(pixels(open_image(turned)), np.asarray(upright))
    assert turned.size == (32, 16)
    assert turned.tobytes() == before


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_are_white(tmp_path, mode):
    """... whatever colour is hidden under them."""
    picture = Image.new("RGBA", (4, 2), (*RED, 255))
    picture.paste((10, 20, 30, 0), (0, 0, 2, 2))
    picture.convert(mode).save(tmp_path / "a.png")
    found = pixels(open_image(tmp_path / "a.png"))
    assert (found[:, :2] == 255).all()
    opaque = Image.new("RGB", (1, 1), RED).convert(mode.removesuffix("A")).convert("RGB")
    assert (found[:, 2:] == np.asarray(opaque)).all()


def test_half_transparent_is_mixed_with_white(tmp_path):
    Image.new("RGBA", (2, 2), (0, 0, 0, 128)).save(tmp_path / "a.png")
    assert abs(int(pixels(open_image(tmp_path / "a.png"))[0, 0, 0]) - 127) <= 1


def test_palette_with_a_transparent_colour(tmp_path):
    picture = Image.new("P", (4, 2), 1)
    picture.putpalette([0, 0, 0, *RED])
    picture.paste(0, (0, 0, 2, 2))
    picture.save(tmp_path / "a.gif", transparency=0)
    found = pixels(open_image(tmp_path / "a.gif"))
    assert (found[:, :2] == 255).all()
    assert (found[:, 2:] == RED).all()


def test_palette_without_transparency(tmp_path):
    picture = Image.new("P", (4, 2), 1)
    picture.putpalette([0, 0, 0, *BLUE])
    picture.save(tmp_path / "a.png")
    assert (pixels(open_image(tmp_path / "a.png")) == BLUE).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_scaled(tmp_path, suffix):
    values = np.array([[0, 257, 25700], [32768, 65278, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    expected = np.round(values / 257).astype(np.uint8)
    found = pixels(open_image(tmp_path / f"a.{suffix}"))
    assert np.array_equal(found, np.repeat(expected[..., None], 3, axis=2))


def test_big_endian_16_bit_grey(tmp_path):
    values = np.arange(0, 65536, 4096, dtype=np.uint16).reshape(4, 4)
    picture = Image.frombytes("I;16B", (4, 4), values.astype(">u2").tobytes())
    assert np.array_equal(pixels(open_image(picture))[..., 0], np.round(values / 257).astype(np.uint8))


@pytest.mark.parametrize(("largest", "depth", "expected"), [(255, 8, 255), (65535, 16, 255), (51400, 16, 200), (7, 8, 7)])
def test_32_bit_integers_that_hold_8_or_16_bits(largest, depth, expected):
    picture = Image.fromarray(np.array([[0, largest]], dtype=np.int32))
    assert picture.mode == "I"
    assert pixels(open_image(picture, bit_depth=depth))[0].tolist() == [[0, 0, 0], [expected] * 3]


@pytest.mark.parametrize("values", [[0, 70000], [-5, 9]])
def test_32_bit_integers_of_unknown_range_are_refused(values):
    with pytest.raises(DataError, match=f"values from {values[0]:,} to {values[1]:,}, of which the range is not known"):
        open_image(Image.fromarray(np.array([values], dtype=np.int32)))


def test_cmyk(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "a.jpg")
    red = pixels(open_image(tmp_path / "a.jpg"))[4, 4].astype(int)
    assert red[0] > 220
    assert red[1:].max() < 40


def test_one_bit_and_grey(tmp_path):
    bits = np.array([[True, False], [False, True]])
    Image.fromarray(bits).save(tmp_path / "a.png")
    assert np.array_equal(pixels(open_image(tmp_path / "a.png"))[..., 2], bits * np.uint8(255))
    Image.fromarray(np.array([[7, 9]], dtype=np.uint8)).save(tmp_path / "b.png")
    assert pixels(open_image(tmp_path / "b.png")).tolist() == [[[7, 7, 7], [9, 9, 9]]]


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_first_frame_of_an_animation(tmp_path, suffix):
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)
    path = tmp_path / f"a.{suffix}"
    first.save(path, save_all=True, append_images=[second], **({} if suffix == "tif" else {"lossless": True}))
    assert (abs(pixels(open_image(path)).astype(int) - RED) <= 1).all()
    assert check_file(path).animated
    first.save(path)
    assert not check_file(path).animated


def test_sources_agree(tmp_path, upright):
    path = tmp_path / "a.png"
    upright.save(path)
    content = path.read_bytes()
    for source in (path, str(path), content, io.BytesIO(content), Image.open(path)):
        assert np.array_equal(pixels(open_image(source)), np.asarray(upright))


def test_a_wrong_ending_does_not_matter(tmp_path, upright):
    upright.save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(pixels(open_image(tmp_path / "a.jpg")), np.asarray(upright))


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), RED).save(tmp_path / "a.png")
    assert pixels(open_image(tmp_path / "a.png")).tolist() == [[list(RED)]]


def noise(side: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8))


def bad_files(folder: Path) -> dict[str, str]:
    """File name to a part of what is said about it."""
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("this is not an image")
    (folder / "drawing.png").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    noise(64).save(folder / "whole.jpg")
    noise(64).save(folder / "whole.png")
    for suffix in ("jpg", "png"):
        content = (folder / f"whole.{suffix}").read_bytes()
        (folder / f"half.{suffix}").write_bytes(content[: len(content) // 2])
    content = bytearray((folder / "whole.png").read_bytes())
    content[200] ^= 0xFF
    (folder / "damaged.png").write_bytes(content)
    Image.fromarray(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)).save(folder / "float.tif")
    Image.new("1", (10000, 9000)).save(folder / "bomb.png")
    Image.new("1", (20000, 9000)).save(folder / "bigger.png")
    (folder / "folder.jpg").mkdir()
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "circle.jpg").symlink_to(folder / "circle.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "page.jpg").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    return {
        "empty.jpg": "an empty file",
        "text.jpg": "not an image in a format that can be read",
        "drawing.png": "an SVG drawing; save it as PNG",
        "half.jpg": "truncated",
        "half.png": "truncated",
        "damaged.png": "broken",
        "float.tif": "mode F",
        "bomb.png": "more than 89 million pixels",
        "bigger.png": "more than 89 million pixels",
        "folder.jpg": "not a file",
        "gone.jpg": "No such file",
        "circle.jpg": "symbolic links",
        "pipe.jpg": "not a file",
        "page.jpg": "a PostScript file; save its pages as images",
        "missing.jpg": "No such file",
    }


def test_bad_files_are_named_with_the_reason_in_one_line(tmp_path):
    for name, reason in bad_files(tmp_path).items():
        for read in (open_image, check_file):
            with pytest.raises(DataError, match=reason) as caught:
                read(tmp_path / name)
            assert str(caught.value).startswith(f"{tmp_path / name}: ")
            assert "\n" not in str(caught.value)


def test_a_bomb_leaves_the_callers_warnings_alone(tmp_path):
    """... also when many threads look at bombs at once."""
    Image.new("1", (10000, 9000)).save(tmp_path / "bomb.png")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        before = list(warnings.filters)
        failed = []

        def read() -> None:
            for _ in range(5):
                try:
                    open_image(tmp_path / "bomb.png")
                except DataError:
                    failed.append(1)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(failed) == 20
        assert list(warnings.filters) == before


def test_formats_that_would_start_another_program_are_left_out():
    assert not {"EPS", "WMF", "MPEG", "HDF5"} & set(formats())
    assert {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"} <= suffixes()
    assert not {".eps", ".ps", ".wmf", ".mpg", ".pdf", ".txt", ".svg"} & suffixes()


def test_a_large_jpeg_may_be_decoded_smaller_and_nothing_else_is(tmp_path):
    """Side by side: an eighth of the size where that is long enough, a half where only that is, and about the same image."""
    grey = np.linspace(0, 255, 800).astype(np.uint8)
    whole = Image.fromarray(
        np.stack([np.tile(grey, (640, 1)), np.tile(grey[:640, None], (1, 800)), np.full((640, 800), 99, np.uint8)], -1)
    )
    whole.save(tmp_path / "a.jpg", quality=95)
    whole.save(tmp_path / "a.png")
    for at_least, size in [(80, (100, 80)), (81, (200, 160)), (320, (400, 320)), (321, (800, 640)), (None, (800, 640))]:
        picture = open_image(tmp_path / "a.jpg", at_least=at_least)
        assert picture.size == size
        expected = np.asarray(whole.resize(size, Image.Resampling.BOX), dtype=float)
        assert np.abs(np.asarray(picture, dtype=float) - expected).mean() < 3
    assert open_image(tmp_path / "a.png", at_least=80).size == (800, 640)


def test_a_sideways_jpeg_is_turned_after_it_was_decoded_smaller(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (800, 640), "red").save(tmp_path / "a.jpg", exif=exif)
    assert open_image(tmp_path / "a.jpg", at_least=160).size == (160, 200)
