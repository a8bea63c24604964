"""The same data in every form mean the same: task, names, targets and inputs; or a form that cannot say what is meant is refused.

`python tests/data/test_forms.py` prints the table.
"""

import csv
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import polars
import pyarrow
import pytest
import torch
from pyarrow import parquet
from torch.utils.data import Dataset

from zoo.config import build
from zoo.data.sources import open_source
from zoo.data.sources.in_memory.given_sets import open_parts
from zoo.data.sources.source import Request
from zoo.errors import ConfigError, DataError

COUNT = 24
TEXTS = [f"remark number {index} of a visitor" for index in range(COUNT)]
SECONDS = [f"reply number {index}" for index in range(COUNT)]


def cycle(*values):
    return [values[index % len(values)] for index in range(COUNT)]


@dataclass
class Rule:
    """Labels as Python has them, and what they mean."""

    labels: list[Any]
    """One a row; of several columns, a tuple."""
    task: str
    names: tuple[str, ...]
    targets: list[Any]
    """Of the rows that are kept."""
    kept: list[int] = field(default_factory=lambda: list(range(COUNT)))
    columns: tuple[str, ...] = ("label",)
    feature: Any = None
    """What `datasets` takes the column for, where it has a word for it."""
    stored: list[Any] | None = None
    """The labels as `datasets` stores them under that feature."""
    seconds: list[Any] | None = None
    """Second texts of pairs."""


def classes(labels, names, **more):
    kept = more.get("kept", range(COUNT))
    return Rule(labels, "classification", names, [names.index(str(labels[index])) for index in kept], **more)


EMOTIONS = ("anger", "fear", "joy")
LISTS = cycle(["joy"], ["anger", "fear"], [], ["fear"])
HOT = [[int(name in own) for name in EMOTIONS] for own in LISTS]
FLAGS = cycle((0, 1), (1, 1), (0, 0), (1, 0))
LEFT_OUT = [index for index in range(COUNT) if index != 7]
REAL = [round(0.25 + 1.37 * index, 2) for index in range(COUNT)]


def at_7(values, other):
    return [other if index == 7 else value for index, value in enumerate(values)]


RULES = {
    "text": classes(cycle("cat", "dog", "Äffchen"), ("Äffchen", "cat", "dog")),
    "ClassLabel": classes(
        cycle("cat", "dog"), ("cat", "dog"), feature=datasets.ClassLabel(names=["cat", "dog"]), stored=cycle(0, 1)
    ),
    "ClassLabel with an order and a class that is gone": classes(
        cycle("zebra", "apple"), ("zebra", "apple"), feature=datasets.ClassLabel(names=["zebra", "gone", "apple"]), stored=cycle(0, 2)
    ),
    "integers with gaps": classes(cycle(1, 2, 4, 5), ("1", "2", "4", "5")),
    "negative integers": classes(cycle(-1, 1), ("1", "-1")),
    "0.0 and 1.0": Rule(cycle(0.0, 1.0), "classification", ("0", "1"), cycle(0, 1)),
    "minus zero": Rule(cycle(-0.0, 1.0, 0.0), "classification", ("0", "1"), cycle(0, 1, 0)),
    "booleans": classes(cycle(True, False), ("False", "True")),
    "numbers and text": classes(cycle(1, "one", "1"), ("1", "one")),
    "leading zeros": classes(cycle("007", "08"), ("007", "08")),
    "white space": Rule(
        at_7(cycle("a", "b ", " b"), ""), "classification", ("a", "b"), [cycle(0, 1, 1)[index] for index in LEFT_OUT], LEFT_OUT
    ),
    "words for nothing": classes(cycle("nan", "null", "n/a"), ("n/a", "nan", "null")),
    "missing text": Rule(
        at_7(cycle("a", "b"), None), "classification", ("a", "b"), [cycle(0, 1)[index] for index in LEFT_OUT], LEFT_OUT
    ),
    "missing number": Rule(
        at_7(REAL, None), "regression", ("label",), [[REAL[index]] for index in LEFT_OUT], LEFT_OUT
    ),
    "floats": Rule(REAL, "regression", ("label",), [[value] for value in REAL]),
    "whole floats": Rule([3.0 * i for i in range(COUNT)], "regression", ("label",), [[3.0 * i] for i in range(COUNT)]),
    "far from zero": Rule(
        [1_700_000_000 + value for value in REAL], "regression", ("label",), [[1_700_000_000 + value] for value in REAL]
    ),
    "lists of names": Rule(LISTS, "multilabel", EMOTIONS, HOT),
    "Sequence(ClassLabel)": Rule(
        LISTS, "multilabel", EMOTIONS, HOT, feature=datasets.Sequence(datasets.ClassLabel(names=list(EMOTIONS))),
        stored=[[EMOTIONS.index(name) for name in own] for own in LISTS],
    ),
    "Sequence(ClassLabel) with an order and a label that is gone": Rule(
        cycle(["joy"], ["fear", "joy"], [], ["fear"]), "multilabel", ("joy", "fear"), cycle([1, 0], [1, 1], [0, 0], [0, 1]),
        feature=datasets.Sequence(datasets.ClassLabel(names=["joy", "gone", "fear"])), stored=cycle([0], [2, 0], [], [2]),
    ),
    "lists of flags": Rule([list(one) for one in FLAGS], "multilabel", ("0", "1"), [list(one) for one in FLAGS]),
    "lists of floats": Rule([[value, -value] for value in REAL], "regression", ("0", "1"), [[value, -value] for value in REAL]),
    "columns of flags": Rule(FLAGS, "multilabel", ("insult", "threat"), [list(one) for one in FLAGS], columns=("insult", "threat")),
    "columns of floats": Rule(
        [(value, -value) for value in REAL], "regression", ("x", "y"), [[value, -value] for value in REAL], columns=("x", "y")
    ),
    "shape [N, 1]": Rule([[one] for one in cycle(0, 1)], "classification", ("0", "1"), cycle(0, 1)),
    "an empty side of a pair": Rule(
        cycle("a", "b"), "classification", ("a", "b"), [cycle(0, 1)[index] for index in LEFT_OUT], LEFT_OUT,
        seconds=at_7(SECONDS, ""),
    ),
}  # fmt: skip


def columns_of(rule, labels):
    found = {"text": TEXTS} if rule.seconds is None else {"premise": TEXTS, "hypothesis": rule.seconds}
    if len(rule.columns) == 1:
        return found | {rule.columns[0]: list(labels)}
    return found | {name: [row[place] for row in labels] for place, name in enumerate(rule.columns)}


def rows_of(rule):
    columns = columns_of(rule, rule.labels)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def options(rule, data="data sets given in Python", **more):
    return build({"data": data, "label": ",".join(rule.columns), "max_unreadable": 0.1, **more}).data


def from_file(path, rule, **more):
    return open_source(Request(options(rule, str(path), **more)))


def from_memory(data, rule, **more):
    return open_parts({"train": data}, options(rule, **more))


def separated(delimiter, suffix):
    def form(rule, folder):
        def cell(value):
            if isinstance(value, list) and (not value or isinstance(value[0], str)):
                return "|".join(value)
            return "" if value is None else value[0] if isinstance(value, list) and len(value) == 1 else str(value)

        rows = rows_of(rule)
        with (folder / f"rows{suffix}").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(rows[0])
            writer.writerows([[cell(value) for value in row.values()] for row in rows])
        lists = any(isinstance(label, list) and len(label) > 1 for label in rule.labels)
        return from_file(folder / f"rows{suffix}", rule, **({"label_delimiter": "|"} if lists else {}))

    return form


def json_lines(rule, folder):
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows_of(rule)), encoding="utf-8")
    return from_file(folder / "rows.jsonl", rule)


def parquet_file(rule, folder):
    if rule.feature is not None:
        library(rule).to_parquet(folder / "rows.parquet")
    else:
        parquet.write_table(pyarrow.Table.from_pydict(columns_of(rule, rule.labels)), folder / "rows.parquet")
    return from_file(folder / "rows.parquet", rule)


def library(rule):
    columns = columns_of(rule, rule.labels if rule.stored is None else rule.stored)
    if rule.feature is None:
        return datasets.Dataset.from_dict(columns)
    features = datasets.Features({"text": datasets.Value("string"), "label": rule.feature})
    return datasets.Dataset.from_dict(columns, features=features)


def saved(rule, folder):
    library(rule).save_to_disk(folder / "saved")
    return from_file(folder / "saved", rule)


class Samples(Dataset):
    """A torch data set as users write it."""

    def __init__(self, rows):
        self.rows = rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        return self.rows[index]


def pairs(rule, target):
    texts = TEXTS if rule.seconds is None else list(zip(TEXTS, rule.seconds, strict=True))
    return list(zip(texts, map(target, rule.labels), strict=True))


def positional(data, rule):
    """Rows without names: those of the outputs are given, where columns have them."""
    names = rule.names if len(rule.columns) > 1 or rule.task == "regression" else None
    return open_parts({"train": data}, build({"data": "given", "max_unreadable": 0.1}).data, label_names=names)


def tensor(value):
    try:
        return torch.tensor(value, dtype=torch.float64 if isinstance(value, float) or isinstance(value[0], float) else None)
    except (TypeError, ValueError, RuntimeError, IndexError):  # texts and nothing are themselves, also in a torch data set
        return value


def array_pair(rule):
    if rule.seconds is not None:
        raise TypeError("an array of pairs")
    if any(isinstance(one, list) for one in rule.labels) and len({len(one) for one in rule.labels}) > 1:
        labels = np.empty(COUNT, object)
        labels[:] = rule.labels
    else:
        labels = np.array(rule.labels, object if None in rule.labels and isinstance(rule.labels[0], str) else None)
    return np.array(TEXTS), labels


FORMS = {
    "CSV": separated(",", ".csv"),
    "TSV": separated("\t", ".tsv"),
    "JSON Lines": json_lines,
    "Parquet": parquet_file,
    "pandas": lambda rule, _: from_memory(pandas.DataFrame(columns_of(rule, rule.labels)), rule),
    "polars": lambda rule, _: from_memory(polars.DataFrame(columns_of(rule, rule.labels)), rule),
    "polars, lazy": lambda rule, _: from_memory(polars.LazyFrame(columns_of(rule, rule.labels)), rule),
    "datasets": lambda rule, _: from_memory(library(rule), rule),
    "datasets, saved": saved,
    "datasets as pandas": lambda rule, _: from_memory(library(rule).with_format("pandas"), rule),
    "datasets as NumPy": lambda rule, _: from_memory(library(rule).with_format("numpy"), rule),
    "datasets as torch": lambda rule, _: from_memory(library(rule).with_format("torch"), rule),
    "list of dictionaries": lambda rule, _: from_memory(rows_of(rule), rule),
    "list of tuples": lambda rule, _: positional(pairs(rule, lambda label: label), rule),
    "NumPy": lambda rule, _: positional(array_pair(rule), rule),
    "torch": lambda rule, _: positional(Samples(pairs(rule, tensor)), rule),
}

UNNAMED = {
    "CSV",
    "TSV",
    "JSON Lines",
    "pandas",
    "polars",
    "polars, lazy",
    "list of dictionaries",
    "list of tuples",
    "NumPy",
    "torch",
}
"""Forms that do not name classes beside the rows."""
CANNOT_BE = {
    "ClassLabel with an order and a class that is gone": UNNAMED,
    "Sequence(ClassLabel) with an order and a label that is gone": UNNAMED,
    "numbers and text": {
        "Parquet", "polars", "polars, lazy", "datasets", "datasets, saved", "datasets as pandas", "datasets as NumPy", "datasets as torch",
    },
    "lists of flags": {"CSV", "TSV"},
    "lists of floats": {"CSV", "TSV"},
    "an empty side of a pair": {"NumPy"},
}  # fmt: skip
"""Forms that have no way to hold such labels."""
REFUSED = {"words for nothing": {"CSV", "TSV"}}
"""Forms in which such labels are refused, as they could mean something else."""


def outcome(rule, form, folder):
    """`agrees`, or what is otherwise."""
    try:
        source = FORMS[form](RULES[rule], folder)
    except (DataError, ConfigError) as error:
        return f"refused: {error}" if "\n" not in str(error) else f"refused in several lines: {error}"
    wanted, (part,) = RULES[rule], source.parts.values()
    inputs = [(TEXTS[i], wanted.seconds[i]) if wanted.seconds else TEXTS[i] for i in wanted.kept]
    found = source.task.value, tuple(source.classes), part.targets.tolist(), [part.item(i) for i in range(len(part))]
    expected = wanted.task, wanted.names, wanted.targets, inputs
    wrong = [f"{one!r}, not {other!r}" for one, other in zip(found, expected, strict=True) if one != other]
    return f"differs: {wrong[0]}"[:200] if wrong else "agrees"


def expected(rule, form):
    return "refused" if form in REFUSED.get(rule, ()) else "agrees"


@pytest.mark.parametrize("rule", RULES)
def test_every_form_means_the_same(rule, tmp_path):
    found = {}
    for form in FORMS:
        if form not in CANNOT_BE.get(rule, ()):
            (tmp_path / form).mkdir()
            found[form] = outcome(rule, form, tmp_path / form)
    wrong = {form: said for form, said in found.items() if said.partition(":")[0] != expected(rule, form)}
    assert not wrong


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        total = agreeing = refusing = 0
        for number, rule in enumerate(RULES):
            for form in FORMS:
                if form in CANNOT_BE.get(rule, ()):
                    continue
                folder = Path(place) / f"{number} {form}"
                folder.mkdir()
                said = outcome(rule, form, folder)
                total, agreeing, refusing = total + 1, agreeing + (said == "agrees"), refusing + said.startswith("refused")
                if said != "agrees":
                    print(f"{rule:26} {form:22} {said}")
        print(f"{agreeing} of {total} pairs of rule and form agree, {refusing} are refused, {total - agreeing - refusing} differ")
