"""Files of runs, of published models and of the cache, damaged in every way: whatever reads them says so in a line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fuzz.inputs import EXAMPLES, FUZZ, altered, as_json, damaged, only_zoo_errors, values
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from saving import seal

import zoo
from zoo import cache, folders, runs
from zoo.adaptation import saved_config
from zoo.cli import main
from zoo.data.splits import read_splits

JSON = ("result.json", "training.json", "splits.json", "best/config.json", "best/manifest.json", "report.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run of a tiny network, and its cache beside it."""
    place = tmp_path_factory.mktemp("runs")
    drawn = np.random.default_rng(0)
    for index in range(40):
        path = place / "photos" / ("dark" if index % 2 else "light") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        shade = 60 if index % 2 else 190
        Image.fromarray(drawn.integers(shade - 50, shade + 50, (32, 32, 3), np.uint8)).save(path)
    zoo.finetune(
        "timm/test_resnet.r160_in1k",
        data=str(place / "photos"),
        weights="random",
        image_size=32,
        engine="torch",
        precision="no",
        num_workers=0,
        tensorboard=False,
        cache=str(place / "cache"),
        out=str(place / "run"),
    )
    return place


@pytest.fixture
def run(whole, tmp_path):
    return Path(shutil.copytree(whole / "run", tmp_path / "runs" / "one"))


@st.composite
def contents(draw, original):
    """What may stand in a file: other JSON, JSON with another part, or changed bytes."""
    try:
        tree = json.loads(original)
    except ValueError:
        return draw(st.one_of(damaged(original), st.binary(max_size=60)))
    return draw(st.one_of(values.map(as_json), altered(tree).map(as_json), damaged(original), st.binary(max_size=60)))


def readers(run):
    """Everything that reads a run's files without a network."""
    opened = runs.open_run(run)
    yield from (opened.summary, opened.metrics, opened.resolved, lambda: (opened.status, opened.metric, opened.value))
    yield from (lambda: (opened.seconds, opened.trained_parameters), lambda: read_splits(run / "splits.json"))
    yield from (lambda: saved_config.read(run / "best"), lambda: runs.inputs_of(run / "best"))
    yield from (lambda: folders.verify(run / "best"), lambda: zoo.publish(run / "best", "./published", force=True))


@FUZZ
@given(data=st.data())
def test_files_of_runs(whole, run, data):
    name = data.draw(st.sampled_from([*JSON, "config.yaml", "metrics.jsonl"]))
    original = (whole / "run" / name).read_bytes()
    (run / name).write_bytes(data.draw(contents(original)))
    try:
        for read in readers(run):
            with only_zoo_errors():
                read()
        assert main(["runs", str(run.parent)]) == 0
    finally:
        (run / name).write_bytes(original)


@FUZZ
@given(data=st.data())
def test_what_a_saved_model_says_of_itself(whole, run, data):
    """Of a folder whose manifest was made anew, as another program would."""
    config = json.loads((whole / "run" / "best" / "config.json").read_text())
    (run / "best" / "config.json").write_bytes(as_json(data.draw(altered(config))))
    seal(run / "best")
    with only_zoo_errors():
        zoo.load(run / "best").predict([whole / "photos" / "dark" / "1.png"])


@settings(FUZZ, max_examples=max(4, EXAMPLES // 20))
@given(data=st.data())
def test_runs_that_are_gone_on_with(whole, run, data):
    name = data.draw(st.sampled_from(["training.json", "splits.json", "config.yaml", "metrics.jsonl", "best/config.json"]))
    original = (whole / "run" / name).read_bytes()
    (run / "result.json").unlink(missing_ok=True)
    (run / name).write_bytes(data.draw(contents(original)))
    try:
        with only_zoo_errors():
            zoo.resume(run)
    finally:
        shutil.rmtree(run)
        shutil.copytree(whole / "run", run)


@FUZZ
@given(data=st.data())
def test_the_cache(whole, tmp_path, data):
    root = tmp_path / "cache"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(whole / "cache", root)
    path = data.draw(st.sampled_from(sorted(path for path in root.rglob("*") if path.is_file())))
    path.write_bytes(data.draw(contents(path.read_bytes())))
    for words in (["info"], ["list"], ["verify"], ["list", "--json"], ["clear"]):
        assert main(["cache", *words, "--cache", str(root)]) in (0, 2)
    with only_zoo_errors():
        cache.trim(root, 0)


@FUZZ
@given(data=st.data())
def test_records_of_splits(whole, data):
    Path("splits.json").write_bytes(data.draw(contents((whole / "run" / "splits.json").read_bytes())))
    with only_zoo_errors():
        assert read_splits("splits.json").splits is not None
