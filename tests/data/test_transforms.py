"""Training sees what evaluation sees, varied as the name says and no more."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from packages import install
from PIL import Image

from zoo.backbones.images import ImagePreprocess
from zoo.config import FinetuneConfig
from zoo.data.augmentation import train_transform
from zoo.errors import ConfigError, UnknownName
from zoo.plugins import AUGMENTATIONS
from zoo.types import Kind

PREPROCESS = ImagePreprocess(32, (0.5, 0.4, 0.3), (0.5, 0.25, 0.2), "bicubic", 0.875)


@pytest.fixture
def halves() -> Image.Image:
    """Red on the left, blue on the right, sharply."""
    picture = Image.new("RGB", (60, 48), (255, 0, 0))
    picture.paste((0, 0, 255), (30, 0, 60, 48))
    return picture


def drawn(augment, picture, seed):
    torch.manual_seed(seed)
    return PREPROCESS.normalise(train_transform(PREPROCESS, augment)(picture))


@pytest.mark.parametrize("augment", AUGMENTATIONS.own())
@pytest.mark.parametrize("size", [(60, 48), (1, 1), (8, 8), (5, 300)])
def test_shape_and_type(augment, size):
    picture = Image.new("RGB", size, (9, 99, 199))
    for seed in range(5):
        torch.manual_seed(seed)
        tensor = train_transform(PREPROCESS, augment)(picture)
        assert tensor.shape == (3, 32, 32)
        assert tensor.dtype == torch.uint8


def test_none_is_the_evaluation_transform(halves):
    assert torch.equal(drawn("none", halves, 0), PREPROCESS.transform()(halves))


@pytest.mark.parametrize("augment", ["none", "light"])
def test_a_flat_picture_keeps_its_normalised_colour(augment):
    expected = (torch.tensor([9, 99, 199]) / 255 - torch.tensor(PREPROCESS.mean)) / torch.tensor(PREPROCESS.std)
    tensor = drawn(augment, Image.new("RGB", (40, 40), (9, 99, 199)), 0)
    assert torch.allclose(tensor, expected[:, None, None].expand(3, 32, 32), atol=1e-5)


def left_is_red(tensor):
    red = tensor[0] - tensor[2]
    return bool(red[:, :3].mean() > red[:, -3:].mean())


def test_light_never_flips_and_standard_does_for_half(halves):
    assert all(left_is_red(drawn("light", halves, seed)) for seed in range(40))
    flipped = sum(not left_is_red(drawn("standard", halves, seed)) for seed in range(200))
    assert 65 < flipped < 135


@pytest.mark.parametrize(("augment", "least"), [("light", 0.7), ("standard", 0.35), ("strong", 0.35)])
def test_area_of_the_crop(augment, least):
    """Measured by an image whose red is its column and whose green is its row."""
    rows, columns = np.mgrid[0:200, 0:200].astype(np.uint8)
    picture = Image.fromarray(np.stack([columns, rows, np.zeros_like(rows)], axis=-1))
    preprocess = ImagePreprocess(100, (0.0,) * 3, (1.0,) * 3, "bilinear", 1.0)
    transform = AUGMENTATIONS.get(augment).image(preprocess).transforms[0]
    areas = []
    for seed in range(100):
        torch.manual_seed(seed)
        values = np.asarray(transform(picture)).astype(float)
        width, height = (np.ptp(values[..., channel]) + 1 for channel in (0, 1))
        areas.append(width * height / 200**2)
    assert least - 0.05 < min(areas) < least + 0.1
    assert max(areas) > 0.9


def test_each_name_varies_more_than_the_one_before():
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 60, 3), dtype=np.uint8)).resize((240, 192))
    spread = []
    for augment in ("none", "light", "standard", "strong"):
        tensors = torch.stack([drawn(augment, photo, seed) for seed in range(30)])
        spread.append(float((tensors[1:] - tensors[0]).abs().mean()))
    assert spread[0] == 0
    assert spread[0] < spread[1] <= spread[2] * 1.05
    assert spread[2] < spread[3]


def test_unknown_name():
    with pytest.raises(UnknownName, match="did you mean 'strong'"):
        train_transform(PREPROCESS, "strongg")


def test_a_batch_is_normalised_as_by_hand(halves):
    images = torch.stack([PREPROCESS.geometry()(halves), PREPROCESS.geometry()(halves.rotate(90))])
    mean, std = (torch.tensor(values)[:, None, None] for values in (PREPROCESS.mean, PREPROCESS.std))
    normalised = PREPROCESS.normalise(images)
    assert torch.allclose(normalised, (images / 255 - mean) / std, atol=1e-6)
    assert torch.equal(normalised[0], PREPROCESS.transform()(halves))
    assert PREPROCESS.normalise(normalised) is normalised


def test_a_picture_is_prepared_as_by_hand_and_a_float_tensor_stays(halves):
    assert torch.equal(PREPROCESS.prepare(halves), PREPROCESS.geometry()(halves))
    given = torch.randn(3, 32, 32)
    assert PREPROCESS.prepare(given) is given
    assert train_transform(PREPROCESS, "strong")(given) is given
    with pytest.raises(
        ValueError, match=r"a float tensor \[3, 32, 31\]; expected \[3, 32, 32\], preprocessed \(or give a PIL image"
    ):
        PREPROCESS.prepare(given[..., 1:])


def test_a_batch_is_of_one_kind(halves):
    plain, normalised = PREPROCESS.prepare(halves), PREPROCESS.transform()(halves)
    batch = PREPROCESS.collate([plain, plain])
    assert (batch.shape, batch.dtype) == ((2, 3, 32, 32), torch.uint8)
    assert torch.equal(PREPROCESS.ready(batch), PREPROCESS.collate([normalised, normalised]))
    with pytest.raises(ValueError, match="some images of one data set are normalised already"):
        PREPROCESS.collate([plain, normalised])


def test_the_example_is_the_same_every_time_and_draws_from_no_generator_of_others():
    before = torch.get_rng_state()
    first, again = PREPROCESS.example(3), PREPROCESS.example(3)
    assert torch.equal(first, again)
    assert torch.equal(torch.get_rng_state(), before)
    assert (first.shape, first.dtype) == ((3, 3, 32, 32), torch.float32)
    assert 0.9 < first.std() < 1.1
    assert PREPROCESS.ready(first) is first


def test_what_is_saved_of_it_gives_it_again():
    values = json.loads(json.dumps(PREPROCESS.to_dict()))
    assert ImagePreprocess.from_dict(values) == PREPROCESS
    assert PREPROCESS.options() == {"image_size": 32}
    assert PREPROCESS.decode_at == 2 * PREPROCESS.resize_to() == 72


def test_what_is_erased_has_the_mean_colour():
    picture = Image.new("RGB", (40, 40), (255, 255, 255))
    preprocess = ImagePreprocess(32, (0.2, 0.4, 0.6), (1.0,) * 3, "bilinear", 1.0)
    erase = AUGMENTATIONS.get("strong").image(preprocess).transforms[-1]
    erase.p = 1.0
    torch.manual_seed(0)
    image = erase(preprocess.geometry()(picture))
    erased = (image != 255).any(dim=0)
    assert 0.01 < erased.float().mean() < 0.4
    assert (torch.tensor([51, 102, 153], dtype=torch.uint8) == image[:, erased].T).all()


PLUGIN = """
import torch
from zoo.data.augmentation import Augmentation

class Upside(Augmentation):
    def image(self, preprocess):
        return lambda item: preprocess.prepare(item).flip(1)
"""


def test_a_plug_ins_augmentation_is_an_option(site, halves):
    install(site, "upsidepack", PLUGIN + "\nUPSIDE = Upside()", augmentations="upside = upsidepack:UPSIDE")
    assert FinetuneConfig().replace(augment="upside").data.augment == "upside"
    assert torch.equal(train_transform(PREPROCESS, "upside")(halves), PREPROCESS.prepare(halves).flip(1))
    assert "1.0" in AUGMENTATIONS.version("upside")
    assert AUGMENTATIONS.version("light") == ""
    with pytest.raises(ConfigError, match="no augmentation 'upsidde'.*did you mean 'upside'"):
        FinetuneConfig().replace(augment="upsidde")


def test_what_a_kind_of_sample_has_no_variation_for_is_refused():
    with pytest.raises(ConfigError, match="augment light: texts are not varied"):
        train_transform(SimpleNamespace(kind=Kind.TEXT), "light")
