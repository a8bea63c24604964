"""What a model predicts on: rows in every form are read by the columns that training read, and each input keeps its place."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from closeness import tolerance
from PIL import Image
from saving import save
from tiny import BY_FAMILY, TINY_TEXT, text_folder

import zoo
from zoo import backbones
from zoo.adaptation.model import AdaptedModel
from zoo.cli import main
from zoo.errors import ConfigError, DataError, UnknownName, ZooError
from zoo.types import Labels, Prediction, Schema

SPEC = next(spec for spec in TINY_TEXT if spec.family and spec.family.name == "bert")
SINGLE = Schema(("summary",), ("label",))
PAIRS = Schema(("premise", "hypothesis"), ("label",), pairs=True)
TEXTS = ["meow purr", "bark", "a bone, a leash", "whisker kitten whisker"]
OTHERS = ["bark bark", "kitten", "puppy", "purr"]


def text_model(folder: Path, schema: Schema | None) -> Path:
    weights = text_folder(folder / "weights", SPEC)
    model = AdaptedModel.build(backbones.load(SPEC, str(weights)), 2, labels=Labels(("cat", "dog")), strategy="full")
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    model.schema = schema
    save(folder / "best", model)
    return folder / "best"


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_model(tmp_path_factory.mktemp("single"), SINGLE)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_model(tmp_path_factory.mktemp("pairs"), PAIRS)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of images."""
    folder = tmp_path_factory.mktemp("pictures")
    model = AdaptedModel.build(backbones.load(BY_FAMILY["resnet"], "random"), 2, labels=Labels(("cat", "dog")), strategy="full")
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    model.schema = Schema(("image",), ("label",))
    save(folder / "best", model)
    return folder / "best"


def shares(found: Sequence[Prediction]) -> list[float]:
    return [one.probabilities["cat"] for one in found]


COLUMNS = {"text": OTHERS, "summary": TEXTS, "number": [1, 2, 3, 4]}
FORMS: dict[str, Callable[[dict[str, list[Any]]], Any]] = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "pyarrow": pa.table,
    "dictionary": dict,
    "arrays": lambda columns: {name: np.array(values) for name, values in columns.items()},
    "dictionaries": lambda columns: [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)],
    "datasets": datasets.Dataset.from_dict,
    "datasets, of another format": lambda columns: datasets.Dataset.from_dict(columns).with_format("pandas"),
}


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_read_by_the_column_that_training_read(single: Path, form: str) -> None:
    rows = FORMS[form](COLUMNS)
    expected = shares(zoo.predict(single, TEXTS))
    found = zoo.predict(single, rows)
    assert shares(found) == pytest.approx(expected, abs=tolerance())
    assert [one.input for one in found] == ["#0", "#1", "#2", "#3"]
    assert len(set(expected)) == 4
    assert shares(zoo.load(single).predict(rows)) == pytest.approx(expected, abs=tolerance())
    other = shares(zoo.predict(single, rows, column="text"))
    assert other == pytest.approx(shares(zoo.predict(single, OTHERS)), abs=tolerance())


@pytest.mark.parametrize("form", FORMS)
def test_pairs_are_read_from_both_columns(pairs: Path, form: str) -> None:
    rows = FORMS[form]({"hypothesis": OTHERS, "premise": TEXTS})
    expected = shares(zoo.predict(pairs, list(zip(TEXTS, OTHERS, strict=True))))
    assert shares(zoo.predict(pairs, rows)) == pytest.approx(expected, abs=tolerance())
    assert expected != pytest.approx(shares(zoo.predict(pairs, list(zip(OTHERS, TEXTS, strict=True)))), abs=tolerance())


def test_into_a_file(single: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"summary": [TEXTS[0], None, *TEXTS[1:]]})
    written = zoo.predict_to(tmp_path / "out.csv", single, frame)
    assert (written.answered, written.left_out) == (4, 1)
    rows = pd.read_csv(written.path, keep_default_na=False)
    assert list(rows["input"]) == ["#0", "#1", "#2", "#3", "#4"]
    assert list(rows["label"]) == [one.label or "" for one in zoo.predict(single, frame)]
    assert list(rows["error"]) == ["", "#1: summary is empty", "", "", ""]


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA, "", " "])
def test_what_is_missing_keeps_its_place(single: Path, nothing: Any) -> None:
    """So that a column can be assigned."""
    given = [TEXTS[0], nothing, TEXTS[1]]
    expected = shares(zoo.predict(single, TEXTS[:2]))
    for inputs in (given, pd.DataFrame({"summary": given}), pd.Series(given), [{"summary": one} for one in given]):
        found = zoo.predict(single, inputs)
        assert [one.label is None for one in found] == [one.error is not None for one in found] == [False, True, False]
        assert [found[0].probabilities["cat"], found[2].probabilities["cat"]] == pytest.approx(expected, abs=tolerance())
        assert found.unreadable == [found[1].error]
        frame = pd.DataFrame({"summary": given})
        frame["label"] = [one.label for one in found]
        assert frame["label"].isna().tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (pd.DataFrame([["a", "b"]], columns=["summary", "summary"]), "two columns are called 'summary'"),
        (pl.DataFrame({"summary": TEXTS}).lazy(), "the LazyFrame is not computed yet; give what its collect"),
        (pd.DataFrame({"summary": []}), "the DataFrame: no rows"),
        (datasets.DatasetDict({"train": datasets.Dataset.from_dict(COLUMNS)}), r"several data sets \(train\); give one of them"),
        ({"summary": TEXTS, "number": [1]}, "columns of different lengths"),
        ({"summary": TEXTS, "number": "x"}, "columns and a single value beside them"),
        (pd.DataFrame({"n": [1.5, 2], "m": [3, 4]}), "which column is the input"),
        (pd.DataFrame({"review": OTHERS, "text": TEXTS}), "'review', 'text' could each be meant; say column= review"),
        (torch.utils.data.TensorDataset(torch.zeros(3)), "a TensorDataset is not an input; give a list of texts"),
        (np.array(3.5), r"an array \[\] float64 is not an input"),
        (np.zeros((2, 3)), r"a tuple; expected a text"),
        (7, "a int is not an input"),
    ],
)
def test_what_is_refused_in_one_line(single: Path, rows: Any, said: str) -> None:
    try:
        reason = str(zoo.predict(single, rows)[0].error)
    except ZooError as error:
        reason = str(error)
    assert re.search(said, reason)
    assert "\n" not in reason


def test_a_column_that_is_not_there(single: Path) -> None:
    with pytest.raises(UnknownName, match="no column 'sumary'; did you mean 'summary'"):
        zoo.predict(single, pd.DataFrame(COLUMNS), column="sumary")


def test_a_guess_is_said(single: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    expected = shares(zoo.predict(single, TEXTS))
    frame = pd.DataFrame({"body": TEXTS, "number": [1, 2, 3, 4]})
    frame.to_csv(tmp_path / "rows.csv", index=False)
    for rows in (frame, tmp_path / "rows.csv"):
        caplog.clear()
        assert shares(zoo.predict(single, rows)) == pytest.approx(expected, abs=tolerance())
        assert "columns guessed: text 'body' in place of 'summary', which training read" in caplog.text
    caplog.clear()
    zoo.predict(single, pd.DataFrame({"other": TEXTS}))
    assert "column 'other' is read in place of 'summary', which training read" in caplog.text
    caplog.clear()
    zoo.predict(single, pd.DataFrame(COLUMNS))
    assert "column" not in caplog.text


def test_arrays_of_texts(single: Path, pairs: Path) -> None:
    expected = shares(zoo.predict(single, TEXTS))
    for array in (np.array(TEXTS), np.array(TEXTS, object), np.array(TEXTS, np.dtypes.StringDType()), pl.Series(TEXTS)):
        assert shares(zoo.predict(single, array)) == pytest.approx(expected, abs=tolerance())
    both = np.array([TEXTS, OTHERS]).T
    expected = shares(zoo.predict(pairs, list(zip(TEXTS, OTHERS, strict=True))))
    assert shares(zoo.predict(pairs, both)) == pytest.approx(expected, abs=tolerance())
    with pytest.raises(DataError, match="a pair of texts, and the model takes single ones"):
        zoo.predict(single, both)


def test_half_a_surrogate_pair(single: Path, tmp_path: Path) -> None:
    found = zoo.predict(single, [TEXTS[0], "half \ud800", "one\0two"])
    assert found.unreadable == [
        r"#1: half of a surrogate pair (\ud800) is not a character; remove it", "#2: a NUL character; remove it",
    ]  # fmt: skip
    frame = pd.DataFrame({"summary": pd.Series(["half \ud800"], dtype=object)})
    assert "half of a surrogate pair" in str(zoo.predict(single, frame)[0].error)
    assert zoo.predict_to(tmp_path / "out.jsonl", single, ["half \ud800", TEXTS[0]]).left_out == 1


def test_pairs_are_not_single_texts(single: Path, pairs: Path) -> None:
    with pytest.raises(DataError, match=r"#0: one text, and the model takes pairs \(premise, hypothesis\)"):
        zoo.predict(pairs, ["one", "another"])
    with pytest.raises(DataError, match="#0: a pair of texts, and the model takes single ones"):
        zoo.predict(single, ("one", "another"))
    with pytest.raises(ConfigError, match="the model takes pairs of texts, and 'premise' is one; name both columns"):
        zoo.predict(pairs, pd.DataFrame({"premise": TEXTS, "hypothesis": OTHERS}), column="premise")
    with pytest.raises(ConfigError, match="which columns are the pairs of texts"):
        zoo.predict(pairs, pd.DataFrame({"a": TEXTS, "b": OTHERS}))
    assert main(["predict", str(pairs), "one text", "another text"]) == 2


def test_a_model_that_does_not_say_what_it_read(tmp_path: Path) -> None:
    """As those of earlier versions."""
    best = text_model(tmp_path, None)
    assert len(zoo.predict(best, [TEXTS[0], (TEXTS[0], OTHERS[0])])) == 2
    assert shares(zoo.predict(best, pd.DataFrame({"text": TEXTS}))) == pytest.approx(shares(zoo.predict(best, TEXTS)))


def test_pictures_in_rows(pictures: Path, tmp_path: Path) -> None:
    """Paths, images, encoded files, arrays: as they are when given one by one."""
    rng = np.random.default_rng(0)
    arrays = [rng.integers(0, 256, (40, 40, 3), dtype=np.uint8) for _ in range(3)]
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, array in zip(paths, arrays, strict=True):
        Image.fromarray(array).save(path)
    expected = shares(zoo.predict(pictures, paths))
    assert len(set(expected)) == 3
    encoded = [{"bytes": path.read_bytes(), "path": None} for path in paths]
    images = datasets.Dataset.from_dict({"image": list(map(str, paths))}, features=datasets.Features(image=datasets.Image()))
    for rows in (
        pd.DataFrame({"image": list(map(str, paths)), "number": [1, 2, 3]}),
        pd.DataFrame({"photo": [Image.open(path) for path in paths], "number": [1, 2, 3]}),
        pd.DataFrame({"photo": encoded, "number": [1, 2, 3]}),
        {"photo": [path.read_bytes() for path in paths]},
        encoded,
        images,
        images.cast_column("image", datasets.Image(decode=False)),
        np.stack(arrays),
        arrays,
        torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2),
    ):
        assert shares(zoo.predict(pictures, rows)) == pytest.approx(expected, abs=tolerance())
    assert shares(zoo.predict(pictures, arrays[0])) == pytest.approx(expected[:1], abs=tolerance())
    found = zoo.predict(pictures, [arrays[0], None, np.zeros((2, 2), np.float64)])
    assert [one.error is None for one in found] == [True, False, False]


def test_stdin(
    single: Path, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the form that the help shows; a line that cannot be read keeps its place, and is named by its number."""
    (tmp_path / "lines").write_bytes("\ufeffmeow\r\n\ncaf\xe9 purr\n".encode() + b"caf\xe9 latin\nbark")
    for encoding in ("ascii", "utf-8"):  # the locale's
        with (tmp_path / "lines").open(encoding=encoding) as lines:
            monkeypatch.setattr("sys.stdin", lines)
            assert main(["predict", str(single), "-", "--out", str(tmp_path / f"{encoding}.csv")]) == 0
        rows = pd.read_csv(tmp_path / f"{encoding}.csv", keep_default_na=False)
        assert list(rows["input"]) == [f"line {number}" for number in range(1, 6)]
        assert [bool(label) for label in rows["label"]] == [True, False, True, False, True]
        assert rows["error"][1] == "line 2: an empty text"
        assert rows["error"][3].startswith("line 4: not UTF-8 (byte 0xe9); as cp1252 it reads 'caf\xe9 latin'")
        shares_of_lines = [float(rows["probability"][0]), float(rows["probability"][2])]
        expected = [one.probability for one in zoo.predict(single, ["meow", "caf\xe9 purr"])]
        assert shares_of_lines == pytest.approx(expected, abs=tolerance())
    with (tmp_path / "lines").open() as lines:
        monkeypatch.setattr("sys.stdin", lines)
        capsys.readouterr()
        assert main(["predict", str(pairs), "-"]) == 2
        assert "the model takes pairs" in capsys.readouterr().err


def test_a_hyphen_elsewhere_is_a_mistake(single: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(single), "meow", "--out", "-"]) == 2
    assert "--out" in capsys.readouterr().err
    assert main(["predict", str(single), "--colum", "x", "meow"]) == 2
    assert main(["predict", str(single), "--", "--meow"]) == 0
