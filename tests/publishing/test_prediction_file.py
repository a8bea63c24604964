"""Answers in a file: whole, in order, and after a kill the bytes of an undisturbed call."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from closeness import tolerance
from PIL import Image
from pyarrow import parquet
from saving import save
from tiny import BY_FAMILY

from zoo import api, backbones, inference, locks
from zoo.adaptation.model import AdaptedModel
from zoo.cli import main
from zoo.errors import ConfigError, OutputError
from zoo.jobs import prediction_file
from zoo.types import Labels, Prediction, Task

LABELS = Labels(("ant", "bee", "cat"))
COUNT = 40
UNREADABLE = 7
"""Number of the image that is none."""


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    save_model(folder)
    return folder


def save_model(folder: Path, seed: int = 0) -> None:
    model = AdaptedModel.build(backbones.load(BY_FAMILY["resnet"], "random"), 3, labels=LABELS)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(seed))
    save(folder, model)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("photos")
    for number in range(COUNT):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(root / f"{number:02d}.png")
    (root / f"{UNREADABLE:02d}.png").write_text("not an image")
    return root


@pytest.fixture
def expected(best: Path, photos: Path) -> list[Prediction]:
    """As `predict` gives them."""
    return list(api.predict(best, str(photos)))


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def test_comma_separated(best: Path, photos: Path, expected: list[Prediction], tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    written = api.predict_to(out, best, [str(photos)], batch_size=4)
    assert (written.answered, written.left_out, written.found) == (COUNT - 1, 1, 0)
    with out.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert [(row["input"], row["label"] or None, row["error"] or None) for row in rows] == [
        (one.input, one.label, one.error) for one in expected
    ]
    (unreadable,) = [row for row in rows if row["error"]]
    assert unreadable == rows[UNREADABLE]
    assert unreadable["label"] == unreadable["probability"] == ""
    shares = [float(row["probability"]) for row in rows if not row["error"]]
    assert shares == pytest.approx([one.probability for one in expected if one.error is None], abs=tolerance())
    assert written.unreadable == tmp_path / "predictions.csv.unreadable.csv"
    with written.unreadable.open(newline="") as lines:
        (row,) = csv.DictReader(lines)
    assert f"{UNREADABLE:02d}.png: not an image" in row["reason"]
    assert files(tmp_path) == {"predictions.csv", "predictions.csv.unreadable.csv"}


def test_json_lines_with_all_probabilities(best: Path, photos: Path, expected: list[Prediction], tmp_path: Path) -> None:
    out = tmp_path / "predictions.jsonl"
    api.predict_to(out, best, [str(photos)], top=None)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert list(rows[0]) == ["input", "label", "probability", *(f"probability of {name}" for name in LABELS.names), "error"]
    for row, one in zip(rows, expected, strict=True):
        assert (row["label"], row["error"]) == (one.label, one.error)
        if one.error is None:
            assert {name: row[f"probability of {name}"] for name in LABELS.names} == pytest.approx(
                one.probabilities, abs=tolerance()
            )


def test_parquet_with_the_two_most_probable(best: Path, photos: Path, expected: list[Prediction], tmp_path: Path) -> None:
    """The first rows, of one that cannot be read alone, say nothing of the types."""
    given = [
        str(photos / f"{UNREADABLE:02d}.png"),
        *(str(path) for path in sorted(photos.iterdir()) if path.stem != f"{UNREADABLE:02d}"),
    ]
    written = api.predict_to(tmp_path / "predictions.parquet", best, given, top=2)
    assert (written.answered, written.left_out) == (COUNT - 1, 1)
    first, *rows = parquet.read_table(written.path).to_pylist()
    assert first == dict.fromkeys(first) | {"input": given[0], "error": expected[UNREADABLE].error}
    assert [(row["input"], row["label 1"], row["label 2"], row["error"]) for row in rows] == [
        (one.input, *list(one.probabilities)[:2], None) for one in expected if one.error is None
    ]
    assert all(row["probability 1"] >= row["probability 2"] for row in rows)


def test_without_any_that_cannot_be_read_there_is_one_file(best: Path, photos: Path, tmp_path: Path) -> None:
    written = api.predict_to(tmp_path / "predictions.parquet", best, [str(photos / "00.png"), str(photos / "01.png")])
    assert (written.answered, written.left_out, written.unreadable) == (2, 0, None)
    assert files(tmp_path) == {"predictions.parquet"}


def test_a_name_that_is_not_utf8(best: Path, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    Image.new("RGB", (32, 32)).save(tmp_path / "odd" / "caf\udce9.png")
    api.predict_to(tmp_path / "predictions.csv", best, [str(tmp_path / "odd")])
    assert b"caf\xe9.png" in (tmp_path / "predictions.csv").read_bytes()
    api.predict_to(tmp_path / "predictions.parquet", best, [str(tmp_path / "odd")])
    (row,) = parquet.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert row["input"].endswith(r"caf\xe9.png")


_WORKER = """
import sys, time
from zoo import api, inference
from zoo.jobs import prediction_file
prediction_file.SECONDS = 0.0
slow = inference.prediction
inference.prediction = lambda *row: time.sleep(0.02) or slow(*row)
api.predict_to(sys.argv[1], sys.argv[2], sys.argv[3:], batch_size=2)
"""


def kill(out: Path, best: Path, *inputs: str) -> None:
    """Begin, and kill with SIGKILL as soon as some answers are said to be whole."""
    progress = out.with_name(out.name + ".progress.json")
    with subprocess.Popen([sys.executable, "-c", _WORKER, str(out), str(best), *inputs]) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if progress.is_file() and json.loads(progress.read_text())["answered"] >= 12:
                break
            time.sleep(0.002)
        process.kill()
    assert process.returncode != 0


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_killed_it_goes_on_to_the_same_bytes(best: Path, photos: Path, tmp_path: Path, suffix: str) -> None:
    (tmp_path / "undisturbed").mkdir()
    whole = api.predict_to(tmp_path / "undisturbed" / f"predictions.{suffix}", best, [str(photos)], batch_size=2)
    out = tmp_path / f"predictions.{suffix}"
    kill(out, best, str(photos))
    with (tmp_path / f"predictions.{suffix}{'.jsonl' if suffix == 'parquet' else ''}").open("ab") as torn:
        torn.write(b"half a row, as a kill in the midst of writing leaves it")
    written = api.predict_to(out, best, [str(photos)], batch_size=2)
    assert 12 <= written.found < COUNT
    assert (written.answered, written.left_out) == (whole.answered, whole.left_out) == (COUNT - 1, 1)
    names = files(tmp_path)
    assert names == files(tmp_path / "undisturbed")
    assert all((tmp_path / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes() for name in names)


def test_other_options_than_it_was_begun_with_are_refused(best: Path, photos: Path, tmp_path: Path) -> None:
    """Or than another table, though it has the name."""
    table, out = tmp_path / "images.csv", tmp_path / "predictions.csv"
    table.write_text("path\n" + "".join(f"{photos}/{number:02d}.png\n" for number in range(COUNT)))
    kill(out, best, str(table))
    before = out.read_bytes()
    for options, said in (
        ({"top": 2}, "top"),
        ({"column": "path"}, "column"),
        ({"batch_size": 4}, "batch_size"),
        ({"inputs": [str(photos / "00.png")]}, "list of inputs"),
    ):
        words: dict[str, Any] = {"inputs": [str(table)], "batch_size": 2, **options}
        with pytest.raises(
            ConfigError, match=f"was begun with another {said}; name another --out, or remove it and predictions.csv.prog"
        ):
            api.predict_to(out, best, words.pop("inputs"), **words)
    table.write_text(table.read_text() + f"{photos}/00.png\n")
    with pytest.raises(ConfigError, match=f"another content of {table}"):
        api.predict_to(out, best, [str(table)], batch_size=2)
    assert out.read_bytes() == before


def test_a_folder_that_changed_is_not_gone_on_with(best: Path, photos: Path, tmp_path: Path) -> None:
    """One file more, one of other content, another model of the same name: nothing is answered twice, and nothing by two models."""
    folder, model, out = tmp_path / "photos", tmp_path / "model", tmp_path / "predictions.csv"
    shutil.copytree(photos, folder)
    shutil.copytree(best, model)
    kill(out, model, str(folder))
    before = out.read_bytes()

    def refused(said: str) -> None:
        with pytest.raises(ConfigError, match=f"was begun with another {said}; name another --out"):
            api.predict_to(out, model, [str(folder)], batch_size=2)
        assert out.read_bytes() == before

    (folder / "30.png").rename(folder / "03b.png")
    refused(f"content of {folder}")
    (folder / "03b.png").rename(folder / "30.png")
    time_before = (folder / "30.png").stat().st_mtime_ns
    shutil.copyfile(folder / "31.png", folder / "30.png")
    refused(f"content of {folder}")
    shutil.copyfile(photos / "30.png", folder / "30.png")
    os.utime(folder / "30.png", ns=(time_before, time_before))
    shutil.move(model, tmp_path / "first")
    save_model(model, seed=1)
    refused("model")
    shutil.rmtree(model)
    shutil.move(tmp_path / "first", model)
    assert api.predict_to(out, model, [str(folder)], batch_size=2).answered == COUNT - 1


def test_lines_of_another_program_are_compared_as_they_come(tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    with pytest.raises(Interrupted):
        write(out, ["a", "b"], after=1)
    with pytest.raises(ConfigError, match=r"predictions\.csv was begun with another input among the first 1; name another --out"):
        write(out, ["x", "b"])
    assert write(out, ["a", "changed later"]).answered == 2


def test_two_calls_do_not_write_one_file_at_once(best: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    with locks.alone(tmp_path / "predictions.csv.lock", f"{out} is being written"):
        with pytest.raises(OutputError, match=rf"^{out} is being written by process {os.getpid()}; wait until it has ended"):
            api.predict_to(out, best, [str(photos)])
        assert files(tmp_path) == {"predictions.csv.lock"}
    api.predict_to(out, best, [str(photos)])
    assert files(tmp_path) == {"predictions.csv", "predictions.csv.unreadable.csv"}


class Interrupted(Exception):
    """Stands for a kill where a process of its own would only take time."""


def stopping(after: int) -> Callable[[Iterable[tuple[str, Any]]], Iterator[Prediction]]:
    """Answers by the inputs' names alone, until so many are given."""

    def answer(inputs: Iterable[tuple[str, Any]]) -> Iterator[Prediction]:
        for number, (name, _) in enumerate(inputs):
            if number == after:
                raise Interrupted
            yield Prediction(name, values={"length": float(len(name))})

    return answer


def write(out: Path, inputs: list[str], after: int = 1000, **identity: Any) -> prediction_file.Written:
    named = [(name, name) for name in inputs]
    return prediction_file.write(stopping(after), named, out, labels=["length"], task=Task.REGRESSION, identity=identity)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_stopped_before_the_first_answer_binds_to_nothing(tmp_path: Path, suffix: str) -> None:
    """Such as a path that does not exist: it is mended, and asked again."""
    out = tmp_path / f"predictions.{suffix}"
    with pytest.raises(Interrupted):
        write(out, ["a"], after=0, given="a")
    assert write(out, ["b", "ccc"], given="b and c").answered == 2
    rows = parquet.read_table(out).to_pylist() if suffix == "parquet" else list(csv.DictReader(out.read_text().splitlines()))
    assert [(row["input"], float(row["length"])) for row in rows] == [("b", 1.0), ("ccc", 3.0)]


def test_nothing_of_the_user_s_is_overwritten(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv.unreadable.csv", "c.parquet.jsonl"):
        (tmp_path / name).write_text("mine")
        out = tmp_path / ".".join(name.split(".")[:2])
        with pytest.raises(OutputError, match=rf"{name} exists and is not overwritten"):
            write(out, ["x"])
        assert (tmp_path / name).read_text() == "mine"
    assert len(files(tmp_path)) == 3


def test_files_that_were_cut_or_a_damaged_mark_are_refused(tmp_path: Path) -> None:
    out = tmp_path / "predictions.csv"
    with pytest.raises(Interrupted):
        write(out, ["a", "b"], after=1)
    whole = out.read_bytes()
    out.write_bytes(whole[:-1])
    with pytest.raises(OutputError, match=r"predictions\.csv: shorter than predictions\.csv\.progress\.json says"):
        write(out, ["a", "b"])
    out.write_bytes(whole)
    mark = tmp_path / "predictions.csv.progress.json"
    mark.write_text(mark.read_text()[:-9])
    with pytest.raises(OutputError, match=r"predictions\.csv\.progress\.json: damaged; remove it and"):
        write(out, ["a", "b"])


def test_targets_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"predictions are written as \.csv, \.jsonl, \.parquet; name the file so"):
        write(tmp_path / "predictions.xlsx", ["a"])
    with pytest.raises(OutputError, match="there is no folder"):
        write(tmp_path / "nowhere" / "predictions.csv", ["a"])


def test_rows_of_each_task() -> None:
    def row(one: Prediction, task: Task, top: int | None) -> dict[str, Any]:
        labels = LABELS.names if task is not Task.REGRESSION else list(one.values)
        found = prediction_file.values(one, prediction_file.columns(labels, task, top), labels, task)
        assert found.pop("error") is None
        return found

    one = Prediction("x", "bee", 0.5, {"bee": 0.5, "ant": 0.3, "cat": 0.2})
    assert row(one, Task.CLASSIFICATION, 1) == {"input": "x", "label": "bee", "probability": 0.5}
    assert list(row(one, Task.CLASSIFICATION, 2).items())[1:] == [
        ("label 1", "bee"), ("probability 1", 0.5), ("label 2", "ant"), ("probability 2", 0.3),
    ]  # fmt: skip
    assert len(row(one, Task.CLASSIFICATION, 9)) == 1 + 2 * len(LABELS)
    several = inference.prediction("x", torch.tensor([1.0, -1.0, 0.5]), LABELS, Task.MULTILABEL)
    assert row(several, Task.MULTILABEL, 1) == {"input": "x", "labels": "ant|cat"}
    strict = inference.prediction("x", torch.tensor([1.0, -1.0, 0.5]), LABELS, Task.MULTILABEL, [0.7, 0.2, 0.7])
    assert row(strict, Task.MULTILABEL, 1) == {"input": "x", "labels": "ant|bee"}
    assert set(row(several, Task.MULTILABEL, None)) == {"input", "labels", *(f"probability of {n}" for n in LABELS.names)}
    value = Prediction("x", values={"length": 3.0})
    assert row(value, Task.REGRESSION, 1) == {"input": "x", "length": 3.0}


@pytest.mark.parametrize("task", list(Task))
@pytest.mark.parametrize("top", [1, 2, None])
def test_without_a_prediction_all_is_empty_but_the_reason(task: Task, top: int | None) -> None:
    one = inference.without_prediction("x", "x: not an image", LABELS, task)
    columns = prediction_file.columns(LABELS.names, task, top)
    assert prediction_file.values(one, columns, LABELS.names, task) == dict.fromkeys(columns) | {
        "input": "x",
        "error": "x: not an image",
    }


def test_values_that_are_called_as_our_columns(tmp_path: Path) -> None:
    """A target `error` and one `input` keep their names."""
    one = Prediction("x", values={"input": 1.0, "error": 2.0})
    labels = ["input", "error"]
    row = prediction_file.values(one, prediction_file.columns(labels, Task.REGRESSION, 1), labels, Task.REGRESSION)
    assert row == {"input (zoo)": "x", "input": 1.0, "error": 2.0, "error (zoo)": None}


def test_from_the_shell(best: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["predict", str(best), str(photos), "--out", str(tmp_path / "predictions.csv")]
    assert main(words) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{COUNT - 1} predictions in {tmp_path}/predictions.csv, ")
    assert second == f"1 inputs have none: {tmp_path}/predictions.csv.unreadable.csv"
    assert main(words) == 2
    assert "predictions.csv exists and is not overwritten" in capsys.readouterr().err
    assert main([*words, "--csv"]) == 2
    assert "--csv prints, --out writes a file" in capsys.readouterr().err
