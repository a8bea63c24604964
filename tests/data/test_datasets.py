"""A user's own data in memory, in the forms that users have it; failures that name the row."""

import io
from multiprocessing.reduction import ForkingPickler

import datasets
import numpy as np
import pandas
import polars
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from zoo.config import DataConfig
from zoo.data import from_datasets, open_for_evaluation
from zoo.data.sets import DatasetSet, TextSet
from zoo.data.sources.in_memory.given_rows import parts_of
from zoo.errors import ConfigError, DataError, UnknownName
from zoo.types import Kind, Labels, Task

TEXTS = ["a warm day", "cold rain", "snow and ice", "a hot noon", "mild", "frost at night"]
NAMES = ["warm", "cold", "cold", "warm", "warm", "cold"]
NUMBERS = [1, 0, 0, 1, 1, 0]
RNG = np.random.default_rng(0)
ARRAYS = RNG.integers(0, 256, (6, 9, 7, 3), dtype=np.uint8)
DICTS = [{"Text": text, "Class": name} for text, name in zip(TEXTS, NAMES, strict=True)]


class Reviews(Dataset):
    """A data set as users write it: rows are dictionaries."""

    def __init__(self, rows=DICTS):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return dict(self.rows[index])


def frame(**columns):
    return pandas.DataFrame(columns)


def polars_frame(**columns):
    return polars.DataFrame(columns)


def table(**columns):
    return datasets.Dataset.from_dict(columns)


TEXT_FORMS = {
    "torch data set of dictionaries": lambda: Reviews(),
    "list of dictionaries": lambda: DICTS,
    "list of tuples": lambda: list(zip(TEXTS, NAMES, strict=True)),
    "pandas": lambda: frame(Text=TEXTS, Class=NAMES),
    "polars": lambda: polars_frame(Text=TEXTS, Class=NAMES),
    "datasets": lambda: table(Text=TEXTS, Class=NAMES),
    "arrays": lambda: (np.array(TEXTS), np.array(NAMES)),
}


@pytest.mark.parametrize("form", TEXT_FORMS)
def test_texts_in_every_form(form):
    data = TEXT_FORMS[form]()
    splits = from_datasets(data, data)
    assert splits.facts.kind is Kind.TEXT
    assert splits.task is Task.CLASSIFICATION
    assert splits.labels.names == ("cold", "warm")
    assert [splits.train.item(index) for index in range(6)] == TEXTS
    assert splits.train.targets.tolist() == NUMBERS
    assert splits.train.name(4) == "train[4]"
    assert splits.train.sizes.tolist() == [len(text) for text in TEXTS]
    assert len(set(splits.train.digests.tolist())) == 6
    assert splits.facts.sha256 == from_datasets(DICTS, DICTS).facts.sha256


def picture(index):
    return Image.fromarray(ARRAYS[index])


def encoded(index):
    buffer = io.BytesIO()
    picture(index).save(buffer, "png")
    return {"bytes": buffer.getvalue(), "path": None}


def picture_table():
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cold", "warm"])})
    return datasets.Dataset.from_dict({"image": [encoded(index) for index in range(6)], "label": NUMBERS}, features=features)


PICTURE_FORMS = {
    "PIL": lambda: [(picture(index), NUMBERS[index]) for index in range(6)],
    "tensors": lambda: TensorDataset(torch.from_numpy(ARRAYS).permute(0, 3, 1, 2).contiguous(), torch.tensor(NUMBERS)),
    "arrays": lambda: (ARRAYS, np.array(NUMBERS)),
    "list of arrays": lambda: [{"image": ARRAYS[index], "label": np.int64(NUMBERS[index])} for index in range(6)],
    "datasets": picture_table,
    "pandas of encoded": lambda: frame(image=[encoded(index) for index in range(6)], label=NUMBERS),
}


@pytest.mark.parametrize("form", PICTURE_FORMS)
def test_pictures_in_every_form(form):
    data = PICTURE_FORMS[form]()
    splits = from_datasets(data, data)
    assert splits.facts.kind is Kind.IMAGE
    assert splits.labels.names == (("cold", "warm") if form == "datasets" else ("0", "1"))
    assert splits.train.targets.tolist() == NUMBERS
    for index in range(6):
        assert np.array_equal(np.asarray(splits.train.item(index)), ARRAYS[index])
    hashed = form in ("arrays", "list of arrays")
    assert splits.train.digests.astype(bool).all() == hashed
    assert any("not hashed" in notice for notice in splits.facts.notices) != hashed


def test_files_are_opened_when_they_are_read(tmp_path):
    for index in range(6):
        picture(index).save(tmp_path / f"{index}.png")
    rows = [(tmp_path / f"{index}.png", NAMES[index]) for index in range(6)]
    train = from_datasets(rows, rows).train
    assert np.array_equal(np.asarray(train.item(2)), ARRAYS[2])
    (tmp_path / "3.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"3\.png: replaced since it was checked"):
        train.item(3)


def test_the_column_of_classes_is_read_without_the_pictures(monkeypatch):
    decoded = []
    original = datasets.Image.decode_example
    monkeypatch.setattr(datasets.Image, "decode_example", lambda *args, **more: decoded.append(1) or original(*args, **more))
    data = picture_table()
    from_datasets(data, data)
    assert len(decoded) == 2  # the first of each part, to see what it is


def test_declared_keys():
    rows = [
        {"id": index, "title": f"t{index}", "body": text, "y": name}
        for index, (text, name) in enumerate(zip(TEXTS, NAMES, strict=True))
    ]
    splits = from_datasets(Reviews(rows), Reviews(rows), keys=("title", "y"))
    assert splits.train.item(3) == "t3"
    pairs = from_datasets(rows, rows, keys=("title", "body", "y")).train
    assert pairs.item(5) == ("t5", "frost at night")
    guessed = from_datasets(rows, rows)
    assert guessed.train.item(3) == "a hot noon"
    assert "columns guessed: text 'body', label 'y' (--text, --label name others)" in guessed.facts.notices


@pytest.mark.parametrize(
    ("rows", "keys", "error", "words"),
    [
        (DICTS, ("Txt", "Class"), UnknownName, r"no column 'Txt'; did you mean 'Text'\? \(columns of train: Text, Class\)"),
        (DICTS, ("Text",), ConfigError, r"expected \(sample, class\)"),
        (DICTS, "Text", ConfigError, r"expected \(sample, class\)"),
        ([("a", 0), ("b", 1)], ("Text", "Class"), ConfigError, "its rows are tuples, not dictionaries"),
        ([{"a": "x", "b": 1}], None, ConfigError, "train: which column is the input"),
        ([{"text": "x", "body": "y", "label": 1}], None, ConfigError, "'text', 'body' could each be meant"),
        ([{"text": "x", "label": 0, "class": 1}], None, ConfigError, "'label', 'class' could each be meant"),
    ],
)
def test_keys_that_are_wrong_or_wanted(rows, keys, error, words):
    with pytest.raises(error, match=words) as caught:
        from_datasets(rows, rows, keys=keys)
    assert "\n" not in str(caught.value)


def test_pairs_of_texts():
    rows = [((text, text[::-1]), number) for text, number in zip(TEXTS, NUMBERS, strict=True)]
    train = from_datasets(rows, rows).train
    assert isinstance(train, TextSet)
    assert train.item(1) == ("cold rain", "niar dloc")


class Streamed(IterableDataset):
    def __iter__(self):
        return iter(zip(TEXTS, NAMES, strict=True))

    def __len__(self):
        return 6


class At17(Reviews):
    def __getitem__(self, index):
        if index == 17:
            raise OSError("the share is gone\nand more")
        return "a text", index % 2

    def __len__(self):
        return 20


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (iter(DICTS), r"train: a list_iterator has no length or no index; give a map-style data set, or streaming=True"),
        ((row for row in DICTS), "train: a generator has no length"),
        (Streamed(), "train: a Streamed has no length or no index"),
        ([], "train: the data set is empty"),
        (At17(), r"2 of 40 rows cannot be read.*: train\[17\]: OSError: the share is gone; val"),
        ([("a", 0), (None, 1)], r"train\[1\]: the sample is empty"),
        ([("a", 0), (float("nan"), 1)], r"train\[1\]: the sample is empty"),
        ([("a", 0), (" \t", 1)], r"train\[1\]: the sample is empty"),
        ([("a", 0), ("b\ud800", 1)], r"train\[1\]: the sample: half of a surrogate pair"),
        ([("a", 0), (("a", "b"), 1)], r"train\[1\]: the sample holds a tuple, expected a text"),
        ([(("a", "b"), 0), ("a", 1)], r"train\[1\]: a str, and 2 texts in the first row"),
        ([("a", "x"), ("b", None)], r"train\[1\]: the target is empty"),
        ([("a", 0), ("b", float("nan"))], r"train\[1\]: the target is empty"),
        ([("a", "x"), ("b", "y\udcff")], r"train\[1\]: the target: not UTF-8"),
        ([("a", [0, 1]), ("b", [1, float("inf")])], r"train\[1\]: the target holds \[1, inf\], expected finite numbers"),
        ([("a", ["x", "y"]), ("b", ["x", "x"])], r"train\[1\]: the target has 'x' twice"),
        ([("a", 0), ("b", 0)], r"one label only \(0\)"),
        ([("a", 10**5000), ("b", 1)], r"train\[0\]: a number of thousands of digits; give a text"),
        ([("a", [0.5, 1.0]), ("b", [1.5, 2.0]), ("c", [1.5])], r"train\[2\]: the target holds 1 numbers, most rows 2"),
        ([("a", 0), ("b", 1, 2)], r"train\[1\]: expected \(sample, class\): ValueError"),
        ([{"text": "a", "label": 0}, {"text": "b"}], r"train\[1\]: label is empty"),
        ((np.zeros((3, 4, 4), np.uint8), np.array([0, 1])), "train: 3 samples and 2 classes"),
    ],
)
def test_data_that_are_refused(rows, words):
    with pytest.raises(DataError, match=words) as caught:
        from_datasets(rows, rows)
    assert "\n" not in str(caught.value)


def test_arrays_that_are_no_pictures():
    train = from_datasets((np.zeros((4, 5, 5)), np.array([0, 1, 0, 1])), DICTS_OF_ARRAYS).train
    with pytest.raises(DataError, match=r"train\[0\]: an array \[5, 5\] float64; expected \[H, W\] or \[H, W, 3\] uint8"):
        train.item(0)


DICTS_OF_ARRAYS = [{"image": ARRAYS[index], "label": NUMBERS[index]} for index in range(6)]


def test_a_class_of_val_that_train_has_not():
    with pytest.raises(DataError, match=r"val: train has no class 'colt'; did you mean 'cold'"):
        from_datasets(DICTS, [("a", "cold"), ("b", "colt")])
    with pytest.raises(DataError, match="val: train has no class '2'"):
        from_datasets([("a", 0), ("b", 1)], [("a", 2), ("b", 1)])


def test_names_of_classes():
    rows = list(zip(TEXTS, NUMBERS, strict=True))
    assert from_datasets(rows, rows).labels.names == ("0", "1")
    assert from_datasets(rows, rows, label_names=["no", "yes"]).labels.names == ("no", "yes")
    given = from_datasets(DICTS, DICTS, label_names=["warm", "cold"])
    assert given.labels.names == ("warm", "cold")
    assert given.train.targets.tolist() == [1 - number for number in NUMBERS]
    with pytest.raises(DataError, match="the target is '1', which is not one of the 1 class names"):
        from_datasets(rows, rows, label_names=["only"])


def test_other_tasks_by_their_targets():
    def targets(values, **options):
        rows = list(zip(TEXTS, values, strict=True))
        splits = from_datasets(rows, rows, **options)
        return splits.task, splits.labels.names, splits.train.targets.tolist()

    assert targets([0.5, 1.0, 2.0, 3.0, 4.0, -1.5]) == (Task.REGRESSION, ("the target",), [[0.5], [1], [2], [3], [4], [-1.5]])
    labels = [["a"], ["b", "a"], [], ["b"], ["a"], ["a"]]
    assert targets(labels) == (Task.MULTILABEL, ("a", "b"), [[1, 0], [1, 1], [0, 0], [0, 1], [1, 0], [1, 0]])
    flags = torch.tensor([[0, 1], [1, 1], [0, 0], [1, 0], [1, 0], [1, 0]])
    assert targets(flags, label_names=["x", "y"]) == (Task.MULTILABEL, ("x", "y"), flags.tolist())
    assert targets([[0.1, 2.0], [0.2, 1.0], [0.3, 0.0]] * 2)[:2] == (Task.REGRESSION, ("0", "1"))
    assert targets([True, False] * 3) == (Task.CLASSIFICATION, ("False", "True"), [1, 0] * 3)
    assert targets([True, False] * 3, label_names=["no", "yes"]) == (Task.CLASSIFICATION, ("no", "yes"), [1, 0] * 3)
    assert targets([[0], [2], [0, 1]] * 2)[:2] == (Task.MULTILABEL, ("0", "1", "2"))
    with pytest.raises(ConfigError, match="are they labels by number, or values"):
        targets([[0, 2], [2, 1], [0, 1]] * 2)


def test_a_task_that_is_asked_for():
    def decided(values, task):
        rows = list(zip(TEXTS, values, strict=True))
        splits = from_datasets(rows, rows, options=DataConfig(task=task, leaks="ignore"))
        return splits.task, splits.train.targets.tolist()

    assert decided(NUMBERS, "regression") == (Task.REGRESSION, [[number] for number in NUMBERS])
    assert decided([float(number) for number in NUMBERS], "classification") == (Task.CLASSIFICATION, NUMBERS)
    assert decided([[0, 2], [2, 1], [0, 1]] * 2, "multilabel")[1][:2] == [[1, 0, 1], [0, 1, 1]]
    assert decided([[0, 2], [2, 1], [0, 1]] * 2, "regression")[1][:2] == [[0, 2], [2, 1]]
    for values, task in ((NUMBERS, "multilabel"), ([["a"]] * 6, "classification"), ([[0, 1], [1, 1]] * 3, "classification")):
        with pytest.raises(ConfigError, match=f"task {task}"):
            decided(values, task)
    with pytest.raises(DataError, match=r"train\[0\]: the target is 'warm', expected a number"):
        decided(NAMES, "regression")


def test_parts_of_two_kinds():
    with pytest.raises(DataError, match="the parts are not alike: train has texts, val has images"):
        from_datasets([("a", 0), ("b", 1)], DICTS_OF_ARRAYS)


def test_pictures_with_several_labels():
    rows = [(picture(index), [NUMBERS[index], 1]) for index in range(6)]
    train = from_datasets(rows, rows).train
    assert train.target(0) == (1.0, 1.0)
    assert np.array_equal(np.asarray(train.item(0)), ARRAYS[0])


def test_one_data_set_alone_is_split():
    texts = [f"text {index}" for index in range(100)]
    rows = [(text, index % 4) for index, text in enumerate(texts)]
    splits = from_datasets(rows, options=DataConfig(val_fraction=0.2, test_fraction=0.1), seed=3)
    assert splits.facts.sizes == {"train": 72, "val": 20, "test": 8}
    items = [part.item(index) for part in splits.parts().values() for index in range(len(part))]
    assert sorted(items) == sorted(texts)
    again = from_datasets(rows, options=DataConfig(val_fraction=0.2, test_fraction=0.1), seed=3)
    assert again.facts.sha256 == splits.facts.sha256
    assert from_datasets(rows, seed=4).facts.sha256 != from_datasets(rows, seed=5).facts.sha256


def test_the_same_texts_stay_together_when_one_data_set_is_split():
    rows = [(f"text {index % 30}", index % 30 % 3) for index in range(90)]
    splits = from_datasets(rows)
    where = [{part.item(index) for index in range(len(part))} for part in splits.parts().values()]
    assert not where[0] & where[1]
    assert not where[0] & where[2]


def test_leaks_between_given_parts():
    kept = from_datasets(DICTS, DICTS[:3])
    assert len(kept.val) == 3
    dropped = from_datasets(DICTS, [*DICTS[:3], {"Text": "new", "Class": "warm"}], options=DataConfig())
    assert dropped.facts.leaks == 3
    assert [dropped.val.item(index) for index in range(len(dropped.val))] == ["new"]
    with pytest.raises(DataError, match=r"3 texts of val are in an earlier split too \(val\[0\] = train: train\[0\]"):
        from_datasets(DICTS, DICTS[:3], options=DataConfig(leaks="error"))


def test_data_sets_are_told_from_their_parts():
    array = np.zeros((2, 4, 4), np.uint8), np.array([0, 1])
    for alone in (DICTS, list(zip(TEXTS, NAMES, strict=True)), array, Reviews(), TEXT_FORMS["pandas"]()):
        assert [part is alone for part in parts_of(alone)] == [True, False, False]
        assert [part is alone for part in parts_of((alone, alone))] == [True, True, False]
        assert [part is alone for part in parts_of([alone, alone, alone])] == [True, True, True]
    for parts in (
        {"train": DICTS, "validation": Reviews()},
        datasets.DatasetDict(train=TEXT_FORMS["datasets"](), dev=TEXT_FORMS["datasets"]()),
    ):
        assert [part is given for part, given in zip(parts_of(parts), [*parts.values(), None], strict=True)] == [True] * 3
    columns = {"text": TEXTS, "label": NAMES}
    assert parts_of(columns) == (columns, None, None)
    with pytest.raises(DataError, match="its parts are one, two; none of them is called train"):
        parts_of({"one": Reviews(), "two": Reviews()})
    with pytest.raises(ConfigError, match="data has 4 parts"):
        parts_of((DICTS,) * 4)


def test_parts_that_are_not_used_are_said(caplog):
    parts_of({"train": DICTS_OF_ARRAYS, "unsupervised": Reviews()})
    assert "data: of its parts, unsupervised are not used" in caplog.text


def test_a_dictionary_of_columns():
    splits = from_datasets({"text": np.array(TEXTS), "label": NAMES})
    assert splits.labels.names == ("cold", "warm")
    assert {splits.train.item(index) for index in range(len(splits.train))} < set(TEXTS)
    for columns, words in (
        ({"text": TEXTS, "label": NAMES[:2]}, "train has columns of different lengths"),
        ({"text": TEXTS, "label": 3}, "train has columns and a single value beside them"),
    ):
        with pytest.raises(DataError, match=words):
            from_datasets(columns)


def test_a_model_is_measured_on_the_test_set_of_several():
    parts = {"train": DICTS, "val": DICTS[:2], "test": DICTS[:3]}
    for given, count in ((parts, 3), ({name: parts[name] for name in ("train", "val")}, 2), ({"train": DICTS}, 6)):
        samples, _ = open_for_evaluation(given, Labels(("cold", "warm")), kind=Kind.TEXT)
        assert len(samples) == count


def test_pictures_of_a_subset():
    data = PICTURE_FORMS["datasets"]()
    train = from_datasets(Subset(data, [3, 1]), Subset(data, [0, 2])).train
    assert isinstance(train, DatasetSet)
    assert train.targets.tolist() == [1, 0]
    assert np.array_equal(np.asarray(train.item(0)), ARRAYS[3])


@pytest.mark.parametrize("form", ["tensors", "arrays"])
def test_sets_can_be_sent_to_a_spawned_process(form):
    data = PICTURE_FORMS[form]()
    train = from_datasets(data, data).train
    sent = ForkingPickler.loads(ForkingPickler.dumps(train))
    assert np.array_equal(np.asarray(sent.item(4)), ARRAYS[4])
