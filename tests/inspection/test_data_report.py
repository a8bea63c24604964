"""The report on folders, tables and data sets with known faults; and its page."""

import base64
import csv
import io
import json
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from PIL import Image
from sklearn.datasets import load_sample_images

import zoo
from zoo.config import build
from zoo.errors import ConfigError, DataError, OutputError
from zoo.inspection import measures
from zoo.inspection.findings import Histogram
from zoo.inspection.samples import open_raw

AWKWARD = "<b>&'\"x"
"""A class that HTML would take for something else."""


def crops(count, seed):
    """So many pieces of a photograph, each of its own size."""
    photo = Image.fromarray(load_sample_images().images[1])
    rng = np.random.default_rng(seed)
    for _ in range(count):
        width, height = rng.integers(60, 200, 2).tolist()
        left, top = int(rng.integers(0, 640 - width)), int(rng.integers(0, 427 - height))
        yield photo.crop((left, top, left + width, top + height))


@pytest.fixture
def dirty(tmp_path):
    """Twelve images of three classes in two splits; then a copy in the other split, one in another class, a smaller one, and two
    that cannot be read."""
    root = tmp_path / "dirty"
    for number, (split, name) in enumerate((s, c) for s in ("train", "val") for c in ("cat", "Cat ", AWKWARD)):
        folder = root / split / name
        folder.mkdir(parents=True)
        for index, picture in enumerate(crops(2, number)):
            picture.save(folder / f"{index}.png")
    shutil.copy(root / "train/cat/0.png", root / "val/cat/copy.png")
    shutil.copy(root / "train/cat/1.png", root / "train" / AWKWARD / "copy.png")
    first = Image.open(root / "val/Cat /0.png")
    first.resize((first.width * 2, first.height * 2)).save(root / "val/Cat /larger.jpg")
    (root / "val/cat/broken.png").write_bytes((root / "val/cat/0.png").read_bytes()[:200])
    (root / "val/cat/empty.jpg").touch()
    (root / "train/cat/notes.txt").touch()
    return root


def places(groups):
    return [[(one.name, one.label) for one in group.samples] for group in groups]


def test_everything_that_is_wrong_with_a_folder(dirty):
    report = zoo.inspect(dirty, cache="off")
    assert report.counts == {"train": {AWKWARD: 3, "Cat ": 2, "cat": 2}, "val": {AWKWARD: 2, "Cat ": 3, "cat": 3}}
    assert (report.total, report.sizes, report.ignored, report.imbalance) == (15, {"train": 7, "val": 8}, 1, 1.5)
    assert [line.partition(":")[0] for line in report.unreadable] == ["val/cat/broken.png", "val/cat/empty.jpg"]
    assert places(report.exact) == [
        [(f"train/{AWKWARD}/copy.png", AWKWARD), ("train/cat/1.png", "cat")],
        [("train/cat/0.png", "cat"), ("val/cat/copy.png", "cat")],
    ]
    assert [(one.contradicts, one.leaks) for one in report.exact] == [(True, False), (False, True)]
    assert places(report.near) == [[("val/Cat /0.png", "Cat "), ("val/Cat /larger.jpg", "Cat ")]]
    assert report.similar_labels == ("classes 'Cat ' and 'cat' differ in case or spaces alone; merge them if they are one class",)
    assert {one.measured: sum(one.counts) for one in report.histograms} == {"width in pixels": 15, "height in pixels": 15}
    assert sum(report.common["size"].values()) == 15
    headings = [heading for heading, _ in report.findings()]
    assert headings == [
        "2 images are the same with different labels, in one group",
        "2 images are the same in more than one split, in one group",
        "2 images are nearly the same with one label, in one split, in one group",
        "2 images cannot be read",
        "labels differ in case or spaces alone",
    ]
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["exact"][1]["samples"][1] == {"split": "val", "name": "val/cat/copy.png", "label": "cat"}
    assert (plain["exact"][1]["leaks"], plain["exact"][1]["contradicts"]) == (True, False)


class Page(HTMLParser):
    """A page's elements: checked to be closed in order; its texts, images and addresses."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.pictures, self.addresses = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.addresses += [given[name] for name in ("src", "href") if name in given]
        if tag == "img":
            self.pictures.append(given)
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)
        assert tag not in ("script", "link", "iframe")

    def handle_startendtag(self, tag, attributes):
        assert tag == "line"

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)


def test_the_page_is_whole_and_needs_nothing_else(dirty):
    report = zoo.inspect(dirty, cache="off")
    page = Page(report.html())
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert all(picture["alt"] for picture in page.pictures)
    # Each of fifteen is an example; four are in groups of the same, two in one of nearly the same.
    assert len(page.pictures) == 15 + 4 + 2
    text = "".join(page.texts)
    assert AWKWARD in text
    for heading, line in report.findings():
        assert heading in text
        assert line in text
    assert "://" not in report.html()


def test_a_page_replaces_a_page_and_nothing_else(dirty, tmp_path):
    page = tmp_path / "page.html"
    zoo.inspect("builtin:digits", cache="off", page=page)
    first = page.read_text()
    zoo.inspect(dirty, cache="off", page=page)
    assert page.read_text() != first
    page.write_text("mine")
    with pytest.raises(OutputError, match=r"page\.html exists and is not a data report; it is not overwritten"):
        zoo.inspect(dirty, cache="off", page=page)
    assert page.read_text() == "mine"
    with pytest.raises(OutputError, match="there is no folder"):
        zoo.inspect(dirty, cache="off", page=tmp_path / "nowhere" / "page.html")


def test_one_class_is_described_and_no_readable_sample_is_an_error(make_pictures, tmp_path):
    root = make_pictures({"cat": 3})
    report = zoo.inspect(root)
    assert (report.counts, report.imbalance, report.has_splits) == ({"all": {"cat": 3}}, 1.0, False)
    with pytest.raises(DataError, match="two classes with 5 different images each, and there is none; leave out the backbone"):
        zoo.inspect(root, "timm/test_resnet.r160_in1k", weights="random")
    for file in root.rglob("*.png"):
        file.write_bytes(b"none")
    with pytest.raises(DataError, match=r"not one of the images can be read: cat/0\.png: not an image"):
        zoo.inspect(root)
    with pytest.raises(DataError, match="no such folder"):
        zoo.inspect(tmp_path / "nothing")


@pytest.fixture
def make_pictures(tmp_path):
    rng = np.random.default_rng(0)

    def make(counts):
        for name, count in counts.items():
            (tmp_path / "photos" / name).mkdir(parents=True)
            for number in range(count):
                array = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
                Image.fromarray(array).save(tmp_path / "photos" / name / f"{number}.png")
        return tmp_path / "photos"

    return make


def test_pictures_are_looked_at_once(make_pictures, tmp_path):
    """What the cache holds of them is what they look like; the files are not even opened again."""
    root = make_pictures({"cat": 4, "dog": 4})
    raw = open_raw(build({"data": str(root), "cache": "off"}))
    place = tmp_path / "cache"
    place.mkdir()
    fresh = measures.measure(raw, None)
    first = measures.measure(raw, place)
    shutil.rmtree(root)
    second = measures.measure(raw, place)
    for one in (first, second):
        assert one.common == fresh.common == {"size": {"10 x 12": 8}}
        assert one.sizes["width in pixels"].tolist() == [10] * 8
        assert not one.unreadable
    assert len(measures.measure(raw, None).unreadable) == 8


def test_a_table(tmp_path):
    rows = [
        ("Good film!", "pos", "train"), ("good  film", "neg", "train"), ("good film", "pos", "test"), ("dull", "neg", "train"),
        ("dull", "neg", "val"), ("", "neg", "val"), ("a <i>new</i> one", "Pos", "val"),
    ]  # fmt: skip
    path = tmp_path / "films.csv"
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows([("text", "label", "split"), *rows])
    report = zoo.inspect(path)
    assert places(report.near) == [[("films.csv, row 1", "pos"), ("films.csv, row 2", "neg"), ("films.csv, row 3", "pos")]]
    assert places(report.exact) == [[("films.csv, row 4", "neg"), ("films.csv, row 5", "neg")]]
    assert [(one.contradicts, one.leaks) for one in (*report.near, *report.exact)] == [(True, True), (False, True)]
    assert {one.measured: (one.smallest, one.median, one.largest) for one in report.histograms} == {
        "characters": (4, 9.5, 16),
        "words": (1, 2, 3),
    }
    assert [line.partition(": ")[2] for line in report.unreadable] == ["text is empty"]
    assert "row 6" in report.unreadable[0]
    assert "a <i>new</i> one" in "".join(Page(report.html()).texts)


def test_values_and_several_labels(tmp_path):
    (tmp_path / "values.csv").write_text("text,score\na b,1.5\nc d,2.5\ne f,0.25\n")
    values = zoo.inspect(tmp_path / "values.csv")
    assert (values.task, values.imbalance, values.counts) == ("regression", None, {"all": {"score": 3}})
    Page(values.html())
    (tmp_path / "several.csv").write_text("text,rude,loud\nx y,1,0\nX Y,0,1\nhello there,1,1\n")
    several = zoo.inspect(tmp_path / "several.csv", label="rude,loud")
    assert several.counts == {"all": {"rude": 2, "loud": 2}}
    assert places(several.near) == [[("several.csv, row 1", "rude"), ("several.csv, row 2", "loud")]]
    Page(several.html())
    with pytest.raises(ConfigError, match="this is multilabel; leave out the backbone"):
        zoo.inspect(tmp_path / "several.csv", "timm/test_resnet.r160_in1k", weights="random", label="rude,loud")


def test_audio_files(tmp_path):
    for name, tone in (("low", 200), ("high", 2000)):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        for index, rate in enumerate((8000, 16000, 16000)):
            wave = np.sin(2 * np.pi * tone * np.arange(rate * (index + 1) // 10) / rate) * 0.3
            soundfile.write(tmp_path / "sounds" / name / f"{index}.wav", np.stack([wave, wave], 1) if index == 2 else wave, rate)
    shutil.copy(tmp_path / "sounds/low/1.wav", tmp_path / "sounds/high/copy.wav")
    report = zoo.inspect(tmp_path / "sounds")
    assert report.common == {"rate": {"16,000 Hz": 5, "8,000 Hz": 2}, "channels": {"1": 5, "2": 2}}
    assert [(one.measured, one.smallest, one.largest) for one in report.histograms] == [("seconds", 0.1, pytest.approx(0.3))]
    assert places(report.exact) == [[("high/copy.wav", "high"), ("low/1.wav", "low")]]
    assert "0.20 s, 16,000 Hz" in "".join(Page(report.html()).texts)


class Pictures:
    """A data set of random images."""

    def __init__(self, count, seed):
        self.arrays = np.random.default_rng(seed).integers(0, 256, (count, 9, 9, 3), dtype=np.uint8)
        self.targets = [index % 3 for index in range(count)]

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return Image.fromarray(self.arrays[index]), self.targets[index]


def test_data_sets_given_in_python():
    train, val = Pictures(12, 0), Pictures(6, 1)
    val.arrays[0] = train.arrays[4]
    report = zoo.inspect((train, val), label_names=["a", "b", "c"])
    found = [group for group in (*report.exact, *report.near) if group.leaks]
    assert places(found[:1]) == [[("train[4]", "b"), ("val[0]", "a")]]
    assert found[0].contradicts


def test_a_data_set_that_raises_is_described_without_that_sample():
    train, val = Pictures(12, 0), Pictures(6, 1)
    val.arrays = list(val.arrays)
    val.arrays[2] = None
    report = zoo.inspect((train, val))
    (line,) = report.unreadable
    assert line.startswith("val[2]: ")
    assert sum(report.histograms[0].counts) == 17


def test_likely_errors_of_a_backbone(tmp_path):
    """Bright and dark images, of which three are in the wrong folder, told apart by the features of a random network."""
    rng = np.random.default_rng(0)
    wrong = {"bright/7.png", "dark/3.png", "dark/20.png"}
    for name, level in (("bright", 200), ("dark", 60)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(25):
            own = 260 - level if f"{name}/{index}.png" in wrong else level
            array = np.clip(rng.normal(own, 25, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(array).save(tmp_path / "photos" / name / f"{index}.png")
    (tmp_path / "photos" / "few").mkdir()
    Image.new("RGB", (32, 32), "red").save(tmp_path / "photos/few/0.png")
    options = {"weights": "random", "image_size": 32, "engine": "torch", "num_workers": 0}
    report = zoo.inspect(tmp_path / "photos", "timm/test_resnet.r160_in1k", **options)
    errors = report.label_errors
    assert {one.sample.name for one in errors.suspects} == wrong
    assert {(one.sample.label, one.likely) for one in errors.suspects} == {("bright", "dark"), ("dark", "bright")}
    assert errors.confusions == (("dark", "bright", 2), ("bright", "dark", 1))
    assert (errors.predicted, errors.left_out, errors.weights) == (50, ("few",), "random, seed 0")
    assert errors.accuracy == pytest.approx(47 / 50)
    assert all(0 <= one.self_confidence < one.probability <= 1 for one in errors.suspects)
    page = Page(report.html())
    assert "Left out, with fewer than 5 different samples: few." in "".join(page.texts)
    assert report.to_dict()["label_errors"]["suspects"][0]["likely"] in ("bright", "dark")


def test_histograms():
    even = Histogram.of("words", np.array([1, 1, 2, 4]))
    assert (even.edges, even.counts) == ((0.5, 1.5, 2.5, 3.5, 4.5), (2, 1, 0, 1))
    skewed = Histogram.of("characters", np.array([10] * 50 + [100_000]))
    assert skewed.edges[1] / skewed.edges[0] == pytest.approx(skewed.edges[2] / skewed.edges[1])
    assert (skewed.counts[0], skewed.counts[-1], sum(skewed.counts)) == (50, 1, 51)
    same = Histogram.of("seconds", np.array([0.5, 0.5]))
    assert sum(same.counts) == 2
    assert same.edges[0] == 0.5 < same.edges[-1]


def test_previews_are_small(dirty):
    report = zoo.inspect(dirty, cache="off")
    for address in report.previews.values():
        picture = Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))
        assert picture.format == "JPEG"
        assert max(picture.size) <= 112
