"""Samples that are longer than the network takes are counted and named before training, in every set."""

import csv
from pathlib import Path

import numpy as np
import pytest
from sounding import TINY_SOUND
from tiny import TINY_TEXT, text_folder

import zoo
from zoo import backbones, registry
from zoo.data.notices import lines
from zoo.data.sets import DIGEST, AudioFiles, TextSet
from zoo.data.splits import facts
from zoo.data.splits.facts import cut_off


def texts(*words: str) -> TextSet:
    return TextSet(
        targets=np.zeros(len(words), dtype=np.int64),
        digests=np.zeros(len(words), dtype=DIGEST),
        title="t.csv",
        texts=np.array(words, dtype=np.dtypes.StringDType()),
        seconds=None,
        numbers=np.arange(len(words)),
    )


def sounds(*milliseconds: int) -> AudioFiles:
    return AudioFiles(
        targets=np.zeros(len(milliseconds), dtype=np.int64),
        digests=np.zeros(len(milliseconds), dtype=DIGEST),
        root=Path("sounds"),
        names=np.array([str(one).encode() for one in milliseconds]),
        milliseconds=np.array(milliseconds),
        rates=np.full(len(milliseconds), 16_000),
        channels=np.ones(len(milliseconds), np.int64),
    )


SHORT, LONG = "the good film was not a", "the good film was not a great"  # and two special tokens each


@pytest.fixture
def eight(tmp_path):
    """A preprocessing of texts that takes eight tokens."""
    spec = TINY_TEXT[0]
    return backbones.load(spec, str(text_folder(tmp_path, spec)), max_length=8).preprocess


def test_texts_that_are_cut_are_named(eight):
    parts = {"train": texts(SHORT, LONG, "a"), "test": texts(LONG)}
    (notice,) = cut_off(parts, eight)
    assert notice.startswith(
        "2 of 4 texts have more than 8 tokens and are cut (truncation head; window would keep all): t.csv, row"
    )
    assert [(one.set, one.name, one.reason, one.done) for one in lines([notice])] == [
        ("train", parts["train"].name(1), "have more than 8 tokens", "cut"),
        ("test", parts["test"].name(0), "have more than 8 tokens", "cut"),
    ]
    assert cut_off({"train": texts(SHORT, "a")}, eight) == []
    window = backbones.load(TINY_TEXT[0], "random", max_length=8, truncation="window").preprocess
    assert cut_off(parts, window) == []


def test_of_many_texts_some_are_looked_at(eight, monkeypatch):
    monkeypatch.setattr(facts, "LOOKED_AT", 5)
    parts = {"train": texts(*[LONG] * 6), "val": texts(), "test": texts(*[LONG] * 3)}
    (notice,) = cut_off(parts, eight)
    assert notice.startswith("5 of 5 texts that were looked at (9 in all) have more than 8 tokens")
    assert [(one.set, one.name) for one in lines([notice])] == [
        *(("train", parts["train"].name(index)) for index in (0, 2, 4)),
        *(("test", parts["test"].name(index)) for index in (0, 2)),
    ]


def test_recordings_that_are_cut_are_named():
    preprocess = backbones.load(TINY_SOUND["wavlm"], "random", max_seconds=2.0).preprocess
    (notice,) = cut_off({"train": sounds(1000, 2000, 2001), "val": sounds(9000)}, preprocess)
    assert notice.startswith(
        "2 of 4 audio clips last longer than 2 seconds and are cut (truncation head; window would keep all): 2001; 9000"
    )
    assert [(one.set, one.name) for one in lines([notice])] == [("train", "2001"), ("val", "9000")]


def test_a_run_names_them_before_it_trains_and_in_its_card(tmp_path, caplog, monkeypatch):
    caplog.set_level("INFO", logger="zoo")
    spec = TINY_TEXT[0]
    monkeypatch.setitem(registry._backbones, spec.name, spec)  # as register_backbone does, for this test alone
    with (tmp_path / "t.csv").open("w", newline="") as file:
        rows = [(f"{LONG if number % 9 == 0 else SHORT} {number}", "ab"[number % 2]) for number in range(60)]
        csv.writer(file).writerows([("text", "label"), *rows])
    run = zoo.finetune(
        spec.name,
        weights=str(text_folder(tmp_path, spec)),
        data=str(tmp_path / "t.csv"),
        strategy="linear-probe",
        max_length=9,
        out=str(tmp_path / "run"),
        tensorboard=False,
    )
    with (run.path / "notices.csv").open(newline="") as file:
        found = [row for row in csv.DictReader(file) if row["done"] == "cut"]
    assert sorted(int(row["name"].rpartition(" ")[2]) for row in found) == [number + 1 for number in range(60) if number % 9 == 0]
    said = [record.getMessage() for record in caplog.records]
    (place,) = [index for index, line in enumerate(said) if "are cut" in line]
    assert said[place].endswith("(all in notices.csv)")
    assert place < next(index for index, line in enumerate(said) if "features of" in line)
    assert "7 of 60 texts have more than 9 tokens" in (run.best / "README.md").read_text()
