"""The columns that training read travel in `best/`: evaluate and predict read them, wherever the folder is."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from closeness import tolerance
from tiny import TINY_TEXT, text_folder

import zoo
from zoo import registry, runs
from zoo.errors import ConfigError, DataError, UnknownName, WeightsError, ZooError
from zoo.runs import Run

SPEC = next(spec for spec in TINY_TEXT if spec.family and spec.family.name == "bert")
WORDS = ("meow purr whisker", "bark bone leash")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    if SPEC.name not in {spec.name for spec in registry.backbones()}:
        registry.register_backbone(SPEC)
    return str(text_folder(tmp_path_factory.mktemp("weights"), SPEC))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two columns of texts, `summary, of it` tells the labels, and `text` tells the opposite."""
    path = tmp_path_factory.mktemp("data") / "rows.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "summary, of it", "kind", "label"])
        for number in range(60):
            one, other = WORDS[number % 2], WORDS[1 - number % 2]
            writer.writerow([f"{other} {number}", f"{one} {number}", ("cat", "dog")[number % 2], ("dog", "cat")[number % 2]])
    return path


@pytest.fixture(scope="module")
def run(table: Path, weights: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    frame = pd.read_csv(table)
    out = str(tmp_path_factory.mktemp("runs") / "run")
    keys = ("summary, of it", "kind")
    return zoo.finetune(SPEC.name, data=frame, keys=keys, weights=weights, out=out, tensorboard=False, cache="off")


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Path:
    """Beside a file of somebody else's."""
    (tmp_path / "config.yaml").write_text("model: not ours\n")
    (tmp_path / "splits.json").write_text("[]")
    return Path(shutil.copytree(run.best, tmp_path / "best"))


def accuracy(report: Any) -> float:
    return float(report.values["accuracy"].value)


def test_the_columns_stand_in_the_config(run: Run) -> None:
    config = json.loads((run.best / "config.json").read_text())["zoo"]
    assert config["schema"] == {
        "inputs": ["summary, of it"], "labels": ["kind"], "label_delimiter": None, "split": None, "pairs": False,
    }  # fmt: skip


def test_a_copy_reads_what_training_read(run: Run, copied: Path, table: Path, weights: str) -> None:
    frame = pd.read_csv(table)
    expected = [one.probabilities for one in zoo.predict(copied, list(frame["summary, of it"]), weights=weights)]
    for data in (table, frame):
        found = zoo.predict(copied, data, weights=weights)
        assert all(one.probabilities == pytest.approx(other, abs=tolerance()) for one, other in zip(found, expected, strict=True))
        assert accuracy(zoo.evaluate(copied, data, weights=weights)) > 0.9
    assert accuracy(zoo.evaluate(run.best, table)) > 0.9
    assert accuracy(zoo.evaluate(copied, table, text="text", weights=weights)) < 0.1
    assert accuracy(zoo.evaluate(copied, table, label="label", weights=weights)) < 0.1
    assert accuracy(zoo.evaluate(copied, frame, keys=("text", "kind"), weights=weights)) < 0.1
    with pytest.raises(ConfigError, match="keys are of data given in Python"):
        zoo.evaluate(copied, table, keys=("text", "kind"), weights=weights)


def test_without_such_columns_the_guess_is_said(
    copied: Path, table: Path, weights: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="zoo")
    other = tmp_path / "other.csv"
    frame = pd.read_csv(table).rename(columns={"summary, of it": "body"})
    frame[["body", "kind"]].to_csv(other, index=False)
    assert accuracy(zoo.evaluate(copied, other, weights=weights)) > 0.9
    assert "columns guessed: text 'body' in place of 'summary, of it', which training read" in caplog.text
    frame[["body", "label"]].to_csv(other, index=False)
    assert accuracy(zoo.evaluate(copied, other, weights=weights)) < 0.1
    assert "text 'body', label 'label' in place of 'summary, of it', 'kind', which training read" in caplog.text
    with pytest.raises(UnknownName, match="no column 'bodies'"):
        zoo.evaluate(copied, other, text="bodies", weights=weights)


def test_a_run_is_known_by_its_own_best(run: Run, copied: Path, tmp_path: Path) -> None:
    assert runs.run_of(run.best) == run
    assert runs.run_of(copied) is None is runs.run_of(run.path)
    published = tmp_path / "other" / "published"
    shutil.copytree(run.path, tmp_path / "moved")
    assert runs.run_of(tmp_path / "moved" / "best") == Run(tmp_path / "moved")
    shutil.copytree(run.best, published)
    assert runs.run_of(published) is None
    manifest = json.loads((run.best / "manifest.json").read_text())
    manifest["model.safetensors"]["sha256"] = "0" * 64
    (tmp_path / "moved" / "best" / "manifest.json").write_text(json.dumps(manifest))  # another model than the run ended with
    assert runs.run_of(tmp_path / "moved" / "best") is None


def test_a_damaged_config_of_the_run(
    run: Run, weights: str, table: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It says where the base weights are, which can be said otherwise."""
    moved = tmp_path / "moved"
    shutil.copytree(run.path, moved)
    (moved / "config.yaml").write_text("a: [")
    with pytest.raises(WeightsError):
        zoo.predict(moved / "best", "meow")
    assert "config.yaml" in caplog.text
    assert "(weights= or --weights names them)" in caplog.text
    assert zoo.predict(moved / "best", "meow", weights=weights)[0].label == "cat"
    assert accuracy(zoo.evaluate(moved / "best", table, weights=weights)) > 0.9
    with pytest.raises(ZooError, match=r"config\.yaml"):
        zoo.evaluate(moved / "best", weights=weights)


def test_a_schema_that_is_none(run: Run, copied: Path, weights: str) -> None:
    from saving import seal

    config = json.loads((copied / "config.json").read_text())
    for wrong in ({"inputs": 3}, {**config["zoo"]["schema"], "pairs": "no"}, [1]):
        (copied / "config.json").write_text(json.dumps({**config, "zoo": {**config["zoo"], "schema": wrong}}))
        seal(copied)
        with pytest.raises(ZooError, match=r"config\.json: damaged"):
            zoo.predict(copied, "meow", weights=weights)


def test_labels_by_a_delimiter(weights: str, tmp_path: Path) -> None:
    rows = [f'"{WORDS[number % 2]} {number}",{("cat", "cat;dog", "dog")[number % 3]}' for number in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["text,tags", *rows]) + "\n")
    options: dict[str, Any] = {"label": "tags", "label_delimiter": ";", "weights": weights, "tensorboard": False, "cache": "off"}
    best = zoo.finetune(SPEC.name, data=tmp_path / "rows.csv", out=str(tmp_path / "run"), **options).best
    shutil.copytree(best, tmp_path / "copied")
    report = zoo.evaluate(tmp_path / "copied", tmp_path / "rows.csv", weights=weights)
    assert (report.n, report.labels.names) == (60, ("cat", "dog"))
    with pytest.raises(DataError, match="a pair of texts, and the model takes single ones"):
        zoo.predict(tmp_path / "copied", ("one", "two"), weights=weights)
