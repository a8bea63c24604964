"""Duplicates: hashes against their definition, groups against comparing each with each."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sklearn.datasets import load_sample_images

from zoo.data.splits import duplicates
from zoo.data.splits.duplicates import LOOK


@pytest.fixture(scope="module")
def photos():
    """Two photographs that scikit-learn ships."""
    return [Image.fromarray(array) for array in load_sample_images().images]


def jpeg(picture, quality):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")


def looks(pictures):
    return np.array([duplicates.look(picture) for picture in pictures], LOOK)


def as_lists(groups):
    return [group.tolist() for group in groups]


def test_the_hash_is_what_its_definition_says(photos):
    """DCT-II as sums of cosines, 8 x 8 of 32 x 32 coefficients, each against their median."""
    angle = np.pi * np.outer(np.arange(32), 2 * np.arange(32) + 1) / 64
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8))
    for picture in (*photos, noise):
        grey = np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.LANCZOS), np.float64)
        low = (np.cos(angle) @ grey @ np.cos(angle).T)[:8, :8].ravel()
        bits = "".join("01"[int(one > np.median(low))] for one in low)
        assert duplicates.perceptual_hash(picture) == int(bits, 2)


def test_copies_of_photographs_are_near_and_others_are_not(photos):
    one, other = photos
    copies = [one, one.resize((160, 107)), jpeg(one, 30), ImageEnhance.Contrast(one).enhance(0.6), one.crop((6, 4, 634, 423))]
    apart = [other, one.transpose(Image.Transpose.ROTATE_180), one.crop((0, 0, 300, 200))]
    assert as_lists(duplicates.near(looks([*copies, *apart]))) == [[0, 1, 2, 3, 4]]
    assert looks(copies)["width"].tolist() == [640, 160, 640, 640, 628]
    assert looks(copies)["height"].tolist() == [427, 107, 427, 427, 419]


def test_colour_tells_pictures_of_one_shape_apart(photos):
    one = photos[1]
    red, green, blue = one.split()
    assert not duplicates.near(looks([one, Image.merge("RGB", (blue, red, green))]))


def test_flat_pictures_are_like_no_other():
    flat = [Image.new("RGB", (20, 20), colour) for colour in ("black", "black", "white")]
    assert not duplicates.near(looks(flat))


@pytest.mark.parametrize("few", [5, 64], ids=["crowded bands", "spread out"])
def test_groups_are_those_of_comparing_each_with_each(few):
    """Hashes that differ from a few in up to eight bits, so that the limit of four is crossed both ways, and by chains."""
    rng = np.random.default_rng(few)
    found = np.zeros(300, LOOK)
    base = rng.integers(0, 2**64, few, dtype=np.uint64)
    for index in range(len(found)):
        value = int(base[rng.integers(few)])
        for bit in rng.choice(64, rng.integers(0, 5), replace=False):
            value ^= 1 << int(bit)
        found[index]["hash"] = value
    tiny = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    found["tiny"] = tiny[rng.integers(0, 2, len(found))]
    group = list(range(len(found)))
    for one, other in itertools.combinations(range(len(found)), 2):
        bits = bin(int(found["hash"][one]) ^ int(found["hash"][other])).count("1")
        if bits <= 4 and (found["tiny"][one] == found["tiny"][other]).all():
            group = [group[one] if number == group[other] else number for number in group]
    expected = [[index for index, number in enumerate(group) if number == wanted] for wanted in dict.fromkeys(group)]
    expected = [members for members in expected if len(members) > 1]
    assert len(expected) > 5
    assert as_lists(duplicates.near(found)) == expected


def test_a_long_series_is_one_group():
    found = np.zeros(1500, LOOK)
    found["hash"] = 77
    found["tiny"] = np.arange(192).reshape(8, 8, 3)
    assert [len(group) for group in duplicates.near(found)] == [1500]


def test_no_pictures_no_groups():
    assert duplicates.near(np.zeros(0, LOOK)) == []


def test_equal_keys():
    keys = np.array([b"b", b"", b"a", b"b", b"", b"a", b"c", b"a"])
    assert as_lists(duplicates.same(keys)) == [[0, 3], [2, 5, 7]]
    assert duplicates.same(keys[:0]) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Stop it!", "stop  it"),
        ("STRASSE", "straße"),
        ("a\u00a0b\n", "a b"),
        ("e\u0301t\u00e9", "été"),
        ("“Yes” – no…", "yes no ..."),
    ],
)
def test_texts_that_are_nearly_the_same(one, other):
    assert duplicates.text_key(one) == duplicates.text_key(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("2+2", "22"), ("1.5", "15"), ("कि", "कु"), ("?!", "..."), ("", "."), ("😀", "😢"), (("a", "b c"), ("a b", "c"))],
)
def test_texts_that_are_not(one, other):
    assert duplicates.text_key(one) != duplicates.text_key(other)
