"""Data sets of the library `datasets`: saved ones, folders of files, and what cannot be had."""

import csv

import datasets
import numpy as np
import pytest

from zoo.config import build
from zoo.data import open_splits
from zoo.errors import ConfigError, DataError

TEXTS = [f"text number {number} of {'cats' if number % 2 else 'dogs'}" for number in range(40)]
NAMES = ("dog", "cat")


def made(texts=TEXTS, licence=""):
    features = datasets.Features({"body": datasets.Value("string"), "kind": datasets.ClassLabel(names=list(NAMES))})
    rows = {"body": list(texts), "kind": [int("cats" in text) for text in texts]}
    return datasets.Dataset.from_dict(rows, features=features, info=datasets.DatasetInfo(features=features, license=licence))


def opened(path, **options):
    return open_splits(build({"data": str(path), "cache": "off", **options}))


def test_a_saved_data_set_with_its_splits_and_class_names(tmp_path):
    parts = {"train": made(TEXTS[:24]), "validation": made(TEXTS[24:32]), "test": made(TEXTS[32:])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    splits = opened(tmp_path / "saved")
    assert {name: len(samples) for name, samples in splits.parts().items()} == {"train": 24, "val": 8, "test": 8}
    assert splits.labels.names == NAMES
    assert splits.val.item(3) == TEXTS[27]
    assert splits.labels.names[splits.val.target(3)] == "cat"


def test_one_part_alone_is_split(tmp_path):
    made(licence="CC-BY-4.0").save_to_disk(tmp_path / "saved")
    splits = opened(tmp_path / "saved")
    assert sum(len(samples) for samples in splits.parts().values()) == 40
    assert {"train", "val", "test"} == set(splits.parts())
    assert splits.facts.licence == "cc-by-4.0"


def test_a_folder_of_data_files(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "files"
    folder.mkdir()
    with (folder / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("body", "kind"), *((text, NAMES["cats" in text]) for text in TEXTS)])
    splits = opened(f"hf:{folder}", text="body", label="kind")
    assert splits.labels.names == ("cat", "dog")
    assert sum(len(samples) for samples in splits.parts().values()) == 40


def test_columns_are_guessed_where_they_are_not_named(tmp_path):
    made().save_to_disk(tmp_path / "saved")
    for options in ({}, {"text": "body"}, {"label": "kind"}):
        assert opened(tmp_path / "saved", **options).labels.names == NAMES


def test_parts_that_are_not_used_are_named(tmp_path):
    parts = {"train": made(TEXTS[:30]), "dev": made(TEXTS[30:]), "validation_mismatched": made(TEXTS[:4])}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "saved")
    splits = opened(tmp_path / "saved")
    assert {name: len(samples) for name, samples in splits.parts().items()} == {"train": 30, "val": 10}
    assert any("of its parts, validation_mismatched are not used" in line for line in splits.facts.notices)


def test_a_test_set_without_labels_is_left_out(tmp_path):
    parts = {"train": made(TEXTS[:24]), "validation": made(TEXTS[24:32])}
    unlabelled = made(TEXTS[32:]).map(lambda row: {"kind": -1})  # as GLUE has them
    datasets.DatasetDict({**parts, "test": unlabelled}).save_to_disk(tmp_path / "saved")
    splits = opened(tmp_path / "saved")
    assert {name: len(samples) for name, samples in splits.parts().items()} == {"train": 24, "val": 8}
    assert "test is left out: none of its 8 rows has a label" in splits.facts.notices


def test_rows_that_cannot_be_read_are_counted(tmp_path):
    datasets.Dataset.from_dict({"text": [*TEXTS, ""], "label": [*map(len, TEXTS), 5]}).save_to_disk(tmp_path / "saved")
    with pytest.raises(
        DataError, match=r"1 of 41 rows cannot be read, more than --max-unreadable 1.00%: train\[40\]: text is empty"
    ):
        opened(tmp_path / "saved")
    assert opened(tmp_path / "saved", max_unreadable=0.1).facts.unreadable == ("train[40]: text is empty",)


def test_a_missing_column_is_named_with_the_nearest(tmp_path):
    made().save_to_disk(tmp_path / "saved")
    with pytest.raises(ConfigError, match="body"):
        opened(tmp_path / "saved", text="bodi", label="kind")


def test_parts_without_one_to_train_on(tmp_path):
    datasets.DatasetDict({"test": made(TEXTS[:8]), "extra": made(TEXTS[8:])}).save_to_disk(tmp_path / "saved")
    with pytest.raises(DataError, match="none of them is called train"):
        opened(tmp_path / "saved")


def test_what_is_not_on_this_machine_is_said_within_seconds(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(DataError, match="hf:no/such: .*is the name right"):
        opened("hf:no/such")


def test_an_empty_name():
    with pytest.raises(DataError, match="hf:NAME"):
        opened("hf:")


def test_damaged_files_are_one_line(tmp_path):
    made().save_to_disk(tmp_path / "saved")
    for file in (tmp_path / "saved").glob("*.arrow"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError) as caught:
        opened(tmp_path / "saved")
    assert "\n" not in str(caught.value)


def test_values_are_regression(tmp_path):
    rows = {"text": TEXTS, "score": np.linspace(0.25, 9.5, 40).tolist()}
    datasets.Dataset.from_dict(rows).save_to_disk(tmp_path / "saved")
    splits = opened(tmp_path / "saved", text="text", label="score")
    assert splits.task == "regression"
    assert splits.labels.names == ("score",)
