"""Samples that belong together are never in two sets or folds, whatever form the table has."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from datasets import Dataset
from PIL import Image

import zoo
from zoo.config import build
from zoo.data import from_datasets, open_splits
from zoo.data.splits.folds import assign, groups_of, spread
from zoo.errors import ConfigError, DataError, UnknownName
from zoo.training.probe import pools

N = 240


@pytest.fixture
def frame():
    """Texts of two classes by 30 patients, of whom each has eight."""
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(30), 8)
    return pd.DataFrame(
        {
            "text": [f"text {number} of them" for number in range(N)],
            "label": rng.integers(0, 2, N).astype(str),
            "patient": [f"p{one}" for one in patient],
        }
    )


def patients(splits, frame):
    """By set: who is in it."""
    known = dict(zip(frame["text"], frame["patient"], strict=True))
    return {name: {known[samples.item(index)] for index in range(len(samples))} for name, samples in splits.parts().items()}


def apart(sets):
    names = list(sets)
    return not any(sets[one] & sets[other] for place, one in enumerate(names) for other in names[:place])


def write(frame, form, folder):
    if form == "csv":
        frame.to_csv(folder / "t.csv", index=False)
    elif form == "jsonl":
        (folder / "t.jsonl").write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")))
    else:
        frame.to_parquet(folder / "t.parquet")
    return str(folder / f"t.{form}")


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "pandas", "polars", "datasets"])
def test_no_group_is_in_two_sets(frame, form, tmp_path):
    if form in ("csv", "jsonl", "parquet"):
        splits = open_splits(build({"data": write(frame, form, tmp_path), "group": "patient", "cache": "off"}))
    else:
        data = {"pandas": frame, "polars": pl.from_pandas(frame), "datasets": Dataset.from_pandas(frame)}[form]
        splits = from_datasets(data, options=build({"group": "patient"}).data)
    assert apart(patients(splits, frame))
    sizes = {name: len(samples) for name, samples in splits.parts().items()}
    assert sum(sizes.values()) == N
    assert 24 <= sizes["val"] <= 48
    assert 24 <= sizes["test"] <= 48
    assert any(line.startswith("patient: 30 groups, the largest of 8 rows") for line in splits.facts.notices)
    assert any("set aside in whole groups of patient: val" in line for line in splits.facts.notices)


def test_without_the_option_they_are_not_apart(frame):
    assert not apart(patients(from_datasets(frame), frame))


def test_a_group_and_the_copies_of_its_samples_are_one(frame):
    frame.loc[8, "text"] = frame.loc[0, "text"]  # of the first patient, by the second
    frame.loc[16, "text"] = frame.loc[9, "text"]
    options = build({"group": "patient", "leaks": "ignore"}).data
    for seed in range(5):
        splits = from_datasets(frame, options=options, seed=seed)
        found = [name for name, who in patients(splits, frame).items() if who & {"p0", "p1", "p2"}]
        assert len(found) == 1
    groups = groups_of([from_datasets(frame, options=options).train])
    assert len(np.unique(groups)) < 30


def test_groups_of_given_sets_are_leaks(frame, tmp_path):
    frame["split"] = ["train"] * 160 + ["val"] * 40 + ["test"] * 40
    frame.loc[200, "patient"] = "p3"
    path = write(frame, "csv", tmp_path)
    splits = open_splits(build({"data": path, "group": "patient", "cache": "off"}))
    assert len(splits.test) == 39
    assert splits.facts.leaks == 1
    assert any(
        "1 texts of test are in an earlier split too, or others of their group are" in line for line in splits.facts.notices
    )
    with pytest.raises(DataError, match="1 texts of test are in an earlier split too"):
        open_splits(build({"data": path, "group": "patient", "cache": "off", "leaks": "error"}))
    assert len(open_splits(build({"data": path, "cache": "off"})).test) == 40


def test_folds_hold_whole_groups(frame):
    splits = from_datasets(frame, options=build({"group": "patient"}).data)
    sets = [splits.train, splits.val]
    targets = np.concatenate([samples.targets for samples in sets])
    folds = assign(targets, groups_of(sets), pools.FOLDS, 0)
    given = np.concatenate([samples.groups for samples in sets])
    assert all(len(set(folds[given == group])) == 1 for group in np.unique(given))
    assert np.ptp(np.bincount(folds)) <= 16


def test_paths_of_images_with_groups(tmp_path):
    rows = ["image,label,session"]
    for number in range(60):
        Image.fromarray(np.full((8, 8, 3), number * 4, np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{'ab'[number % 2]},s{number // 6}")
    (tmp_path / "7.png").write_bytes(b"not an image")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    splits = open_splits(build({"data": str(tmp_path / "t.csv"), "group": "session", "max_unreadable": 0.1, "cache": "off"}))
    sessions = {
        name: {int(samples.name(index).split(".")[0]) // 6 for index in range(len(samples))}
        for name, samples in splits.parts().items()
    }
    assert apart(sessions)
    assert sum(map(len, splits.parts().values())) == 59


def test_what_is_refused(frame, tmp_path):
    with pytest.raises(UnknownName, match="pacient"):
        from_datasets(frame, options=build({"group": "pacient"}).data)
    with pytest.raises(ConfigError, match="--group label is an input, the label or the split already"):
        from_datasets(frame, options=build({"group": "label", "label": "label"}).data)
    with pytest.raises(ConfigError, match="--group patient names a column, and builtin:digits is not a table"):
        open_splits(build({"group": "patient"}))
    frame.loc[5, "patient"] = None
    with pytest.raises(DataError, match="t.csv, row 6: patient is empty"):
        open_splits(build({"data": write(frame, "csv", tmp_path), "group": "patient", "max_unreadable": 0.0, "cache": "off"}))
    two = frame.assign(patient=["a", "b"] * (N // 2))
    with pytest.raises(DataError, match="too few groups of patient to set any aside for"):
        from_datasets(two, options=build({"group": "patient"}).data)


def test_predict_and_evaluate_need_no_such_column(tmp_path):
    rows = ["image,label,session"]
    for number in range(60):
        Image.fromarray(np.full((8, 8, 3), number * 2 + 100 * (number % 2), np.uint8)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,{'ab'[number % 2]},s{number // 6}")
    (tmp_path / "t.csv").write_text("\n".join(rows))
    (tmp_path / "other.csv").write_text("\n".join(row.rpartition(",")[0] for row in rows))
    tiny = {"weights": "random", "image_size": 32, "engine": "torch", "num_workers": 0, "tensorboard": False, "cache": "off"}
    run = zoo.finetune(
        "timm/test_vit.r160_in1k", data=str(tmp_path / "t.csv"), group="session", out=str(tmp_path / "run"), **tiny
    )
    assert run.resolved().config.data.group == "session"
    assert zoo.evaluate(run.best, data=str(tmp_path / "other.csv")).n == 60
    assert len(zoo.load(run.best).predict([tmp_path / "7.png"])) == 1


def test_parts_get_their_share_of_every_stratum():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), rng.integers(1, 12, 200))
    strata = rng.integers(0, 4, len(groups))
    found = spread(strata, groups, [0.7, 0.15, 0.15], np.arange(200))
    for stratum in range(4):
        shares = np.bincount(found[strata == stratum], minlength=3) / (strata == stratum).sum()
        np.testing.assert_allclose(shares, [0.7, 0.15, 0.15], atol=0.03)
