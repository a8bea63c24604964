"""Features are those of the network, computed once each, whoever asks, whatever was killed."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close
from PIL import Image
from tiny import BY_FAMILY

from zoo import backbones, cache
from zoo.adaptation import boundary
from zoo.adaptation.model import AdaptedModel
from zoo.cache import Space
from zoo.config import build
from zoo.data import TrainBatches, open_splits
from zoo.errors import ConfigError, DataError, NonFinite
from zoo.training.features.extraction import Extractor, Work

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def model():
    return AdaptedModel.build(backbones.load(BY_FAMILY["resnet"], "random"), 10)


@pytest.fixture
def photos(tmp_path):
    """40 small PNGs of two classes, and two to validate."""
    rng = np.random.default_rng(0)
    root = tmp_path / "photos"
    for folder, count in (("train/a", 20), ("train/b", 20), ("val/a", 1), ("val/b", 1)):
        (root / folder).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)).save(root / folder / f"{number:02d}.png")
    return root


def pictures(photos):
    return open_splits(build({"data": str(photos)})).train


def extract(model, pictures, place, augment="none", view=0, **options):
    """(rows as an array, what it cost)"""
    config = build({"cache": str(place), "engine": "torch", "num_workers": 0, **options})
    cut = boundary.cut(model)
    with Extractor(cut.prefix, cut.where, model.backbone, config, CPU) as extractor:
        return extractor.rows(pictures, augment, view)[:], extractor.work


def plain(model, images):
    with torch.no_grad():
        return model.backbone.eval()(model.backbone.preprocess.normalise(images)).numpy()


def test_rows_are_the_features_of_a_plain_forward(model, photos, tmp_path):
    own = pictures(photos)
    rows, work = extract(model, own, tmp_path / "cache")
    images = torch.stack([model.backbone.preprocess.geometry()(own.item(index)) for index in range(40)])
    assert_close(rows, plain(model, images))
    assert (work.computed, work.found) == (40, 0)


def test_nothing_is_computed_twice(model, photos, tmp_path):
    rows, _ = extract(model, pictures(photos), tmp_path / "cache")
    again, work = extract(model, pictures(photos), tmp_path / "cache")
    assert np.array_equal(rows, again)
    assert (work.computed, work.found) == (0, 40)
    assert work.waited == 0


def test_new_and_changed_pictures_alone_are_computed(model, photos, tmp_path):
    before, _ = extract(model, pictures(photos), tmp_path / "cache")
    (photos / "train/a/05.png").unlink()
    Image.new("RGB", (40, 36), "red").save(photos / "train/a/05.png")
    for number in range(20, 25):
        Image.new("RGB", (40, 36), (number, 0, 0)).save(photos / f"train/b/{number}.png")
    (photos / "train/b/03.png").rename(photos / "train/b/30.png")
    own = pictures(photos)
    after, work = extract(model, own, tmp_path / "cache")
    assert (work.computed, work.found) == (6, 39)
    assert np.array_equal(after[:5], before[:5])
    assert not np.array_equal(after[5], before[5])
    assert np.array_equal(after[[own.name(index) for index in range(45)].index("train/b/30.png")], before[23])


def test_other_weights_sizes_cuts_views_or_seeds_miss(model, photos, tmp_path):
    own = pictures(photos)
    extract(model, own, tmp_path / "cache")
    other = AdaptedModel.build(backbones.load(BY_FAMILY["resnet"], "random", seed=1), 10)
    larger = AdaptedModel.build(backbones.load(BY_FAMILY["resnet"], "random", image_size=40), 10)
    tokens = AdaptedModel.build(backbones.load(BY_FAMILY["resnet"], "random"), 10, head="attention-pool")
    partial = AdaptedModel.build(backbones.load(BY_FAMILY["resnet"], "random"), 10, strategy="partial:1")
    for one in (other, larger, tokens, partial):
        assert extract(one, own, tmp_path / "cache")[1].computed == 40
    light, work = extract(model, own, tmp_path / "cache", "light")
    assert work.computed == 40
    assert extract(model, own, tmp_path / "cache", "light", 1)[1].computed == 40
    assert extract(model, own, tmp_path / "cache", "light", seed=1)[1].computed == 40
    assert extract(model, own, tmp_path / "cache", "light")[1].computed == 0
    assert not np.array_equal(light, extract(model, own, tmp_path / "cache")[0])


@pytest.mark.parametrize("augment", ["light", "strong"])
def test_a_view_is_what_training_sees_in_that_epoch(model, photos, tmp_path, augment):
    own = pictures(photos)
    steps = TrainBatches(own, model.backbone.preprocess, augment=augment, batch_size=8, seed=3).steps(10, 15)  # the third epoch
    seen = {int(index): image for _, (batch,) in steps for index, image in zip(batch.indices, batch.inputs, strict=True)}
    rows, _ = extract(model, own, tmp_path / "cache", augment, 2, seed=3)
    assert_close(rows, plain(model, torch.stack([seen[index] for index in range(40)])))


def test_engines_have_spaces_of_their_own_and_auto_takes_what_is_there(model, photos, tmp_path):
    own = pictures(photos)
    extract(model, own, tmp_path / "cache", engine="onnxruntime")
    assert extract(model, own, tmp_path / "cache", engine="torch")[1].computed == 40
    _, work = extract(model, own, tmp_path / "cache", engine="auto")
    assert work.computed == 0
    assert {entry.facts["engine"] for entry in cache.entries(tmp_path / "cache") if entry.kind == "features"} == {
        "onnxruntime",
        "torch",
    }


def test_off_keeps_nothing(model, photos, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "passing"))
    (tmp_path / "passing").mkdir()
    monkeypatch.setattr("tempfile.tempdir", None)
    own = pictures(photos)
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    rows, work = extract(model, own, "off")
    assert len(rows) == work.computed == 40
    assert not (tmp_path / "cache").exists()
    assert list((tmp_path / "passing").iterdir()) == []


def test_a_file_that_went_bad_since_it_was_checked_is_named(model, photos, tmp_path):
    own = pictures(photos)
    (photos / "train/b/19.png").write_bytes(b"no longer an image")
    with pytest.raises(DataError, match=r"b/19\.png: replaced since it was checked; start again"):
        extract(model, own, tmp_path / "cache")


def test_a_file_that_is_replaced_before_it_is_read_is_not_kept_under_the_digest_of_the_old_one(model, photos, tmp_path):
    own = pictures(photos)
    before = (photos / "train/b/19.png").read_bytes()
    Image.new("RGB", (40, 36), "red").save(photos / "train/b/19.png")
    with pytest.raises(DataError, match=r"b/19\.png: replaced since it was checked"):
        extract(model, own, tmp_path / "cache")
    (photos / "train/b/19.png").write_bytes(before)
    rows, work = extract(model, own, tmp_path / "cache")
    assert work.computed
    assert np.array_equal(rows, extract(model, own, tmp_path / "other")[0])


def cut_off(content):
    return content[:-5]


def flipped(content):
    return content[:-2] + bytes([content[-2] ^ 0x80]) + content[-1:]


@pytest.mark.parametrize("harm", [flipped, cut_off, lambda content: b"", lambda content: b"[]", lambda content: b"null", None])
def test_no_damage_anywhere_in_the_cache_changes_a_row(model, photos, tmp_path, harm):
    """harm: what becomes of a file's bytes; None: it is removed."""
    place = tmp_path / "cache"
    for file in photos.rglob("*.png"):
        os.utime(file, (0, 0))  # long enough ago that what is found is remembered

    def rows():
        return extract(model, open_splits(build({"data": str(photos), "cache": str(place)})).train, place)[0]

    expected = rows()
    files = sorted(file for file in place.rglob("*") if file.is_file() and file.stat().st_size)
    assert {file.suffix for file in files} == {".json", ".npy"}
    for file in files:
        if harm is None:
            file.unlink()
        else:
            file.write_bytes(harm(file.read_bytes()))
        assert np.array_equal(rows(), expected)
    assert [
        path for path in cache.verify(place) if path.parent.parent.name != "decisions"
    ] == []  # one of them was not asked again


def test_a_cache_that_cannot_be_written_is_done_without(model, photos, tmp_path, monkeypatch, caplog):
    own = pictures(photos)
    expected, _ = extract(model, own, tmp_path / "cache")
    (tmp_path / "file").write_text("in its place")
    (tmp_path / "passing").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "passing"))
    rows, work = extract(model, own, tmp_path / "file")
    assert np.array_equal(rows, expected)
    assert work.computed == 40
    assert list((tmp_path / "passing").iterdir()) == []
    (record,) = caplog.records
    assert "cannot be written" in record.getMessage()


def test_features_that_are_not_finite_are_named(photos, tmp_path):
    model = AdaptedModel.build(backbones.load(BY_FAMILY["resnet"], "random"), 10)
    cut = boundary.cut(model)
    with torch.no_grad():
        model.backbone.net.layer4[0].bn2.weight.fill_(float("inf"))
    config = build({"cache": str(tmp_path / "cache"), "engine": "torch", "num_workers": 0})
    with (
        pytest.raises(NonFinite, match=r"train/a/00\.png: the network gives NaN"),
        Extractor(cut.prefix, cut.where, model.backbone, config, CPU) as extractor,
    ):
        extractor.rows(pictures(photos))


def test_a_limit_forgets_other_spaces_not_this_one(model, photos, tmp_path):
    own = pictures(photos)
    old = cache.folder(tmp_path / "cache", "features", {"old": True})
    Space(old, (1000,), "<f4").append(np.array([b"a" * 64]), np.zeros((1, 1000), np.float32))
    rows, _ = extract(model, own, tmp_path / "cache", cache_gb=1e-6)
    assert not old.exists()
    assert np.array_equal(extract(model, own, tmp_path / "cache", cache_gb=1e-6)[0], rows)


def test_the_line_for_people():
    work = Work("images", computed=1500, found=500, seconds=2.0, waited=0.5, engines=["torch"])
    assert str(work) == (
        "features of 2,000 images by torch: 1,500 computed in 2.0 s, 750 images/s, 25% of the time waiting for them; 500 were there"
    )


def test_an_engine_that_is_not_there_is_one_line(model, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.engines.catalogue.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'zoo-finetune\[cpu\]'"):
        extract(model, pictures(photos), tmp_path / "cache", engine="openvino")


_WORKER = """
import sys, time
sys.path.insert(0, {tests!r})
import torch
torch.set_num_threads(1)
from tiny import BY_FAMILY
from zoo import backbones
from zoo.adaptation import boundary
from zoo.adaptation.model import AdaptedModel
from zoo.cache import Shards
from zoo.config import build
from zoo.data import open_splits
from zoo.training.features.extraction import Extractor
Shards.SECONDS = (0.02, 0.02)
model = AdaptedModel.build(backbones.load(BY_FAMILY["resnet"], "random"), 10)
config = build({{"cache": sys.argv[1], "engine": "torch", "num_workers": 0}})
cut = boundary.cut(model)
cut.prefix.register_forward_hook(lambda *_: time.sleep(float(sys.argv[2])))
with Extractor(cut.prefix, cut.where, model.backbone, config, torch.device("cpu")) as extractor:
    print("ready", flush=True)
    extractor.rows(open_splits(config).train)
    print(extractor.work.computed, flush=True)
"""


def worker(place, pause=0.0):
    """pause: seconds after each batch, so that whoever watches sees it in the midst of its work."""
    text = _WORKER.format(tests=str(Path(__file__).parent.parent))
    return subprocess.Popen([sys.executable, "-c", text, str(place), str(pause)], stdout=subprocess.PIPE, text=True)


def shards(place):
    return [np.load(path) for path in sorted((place / "features").glob("*/*.npy"))]


def test_killed_anywhere_it_ends_with_the_same_bytes_and_computes_nothing_twice(tmp_path):
    """The built-in digits, 1,259 images in about forty shards; killed three times on the way."""
    with worker(tmp_path / "undisturbed") as process:
        process.communicate(timeout=120)
    (expected,) = [np.concatenate(shards(tmp_path / "undisturbed"))]
    for number in range(3):
        with worker(tmp_path / "killed", pause=0.05) as process:
            assert process.stdout.readline() == "ready\n"
            deadline = time.monotonic() + 60
            had = len(shards(tmp_path / "killed")) if (tmp_path / "killed/features").exists() else 0
            while time.monotonic() < deadline and process.poll() is None:
                if (tmp_path / "killed/features").exists() and len(shards(tmp_path / "killed")) > had + number:
                    break
                time.sleep(0.005)
            process.kill()
    with worker(tmp_path / "killed") as process:
        left = int(process.communicate(timeout=120)[0].split()[-1])
    found = np.concatenate(shards(tmp_path / "killed"))
    assert 0 < left < len(expected)
    assert len(found) == len(expected) == len(np.unique(found["key"]))
    assert np.array_equal(np.sort(found, order="key"), np.sort(expected, order="key"))


def test_two_processes_at_once_share_the_work(tmp_path):
    with worker(tmp_path / "cache") as first, worker(tmp_path / "cache") as second:
        computed = [int(process.communicate(timeout=120)[0].split()[-1]) for process in (first, second)]
    assert sum(computed) == 1259
    assert len(np.concatenate(shards(tmp_path / "cache"))) == 1259
    (facts,) = (json.loads(path.read_text()) for path in (tmp_path / "cache/features").glob("*/facts.json"))
    assert facts["engine"] == "torch"
