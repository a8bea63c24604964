"""Tables, label names and folders of any bytes."""

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pyarrow as arrow
import pyarrow.parquet as parquet
import pytest
from fuzz.inputs import FUZZ, NASTY, as_json, damaged, odd, only_zoo_errors, scalars, texts, values
from hypothesis import given
from hypothesis import strategies as st

import zoo

ROWS = [(f"a text of some length, number {index}", ("good", "bad")[index % 2]) for index in range(24)]


def written(delimiter):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows([("text", "label"), *ROWS])
    return text.getvalue().encode()


def as_parquet():
    stream = io.BytesIO()
    parquet.write_table(arrow.table({"text": [row[0] for row in ROWS], "label": [row[1] for row in ROWS]}), stream)
    return stream.getvalue()


TABLES = {
    ".csv": written(","),
    ".tsv": written("\t"),
    ".jsonl": "\n".join(json.dumps({"text": text, "label": label}) for text, label in ROWS).encode(),
    ".parquet": as_parquet(),
}
names = st.one_of(st.none(), st.sampled_from(["text", "label", "text,label", "a"]), texts)
cells = st.one_of(texts, scalars.map(lambda value: as_json(value).decode("utf-8", "replace")))


def read(path, **options):
    with only_zoo_errors():
        zoo.inspect(path, **{name: value for name, value in options.items() if value is not None}, cache="off")


@FUZZ
@given(st.sampled_from(list(TABLES)).flatmap(lambda suffix: st.tuples(st.just(suffix), damaged(TABLES[suffix]))), names, names)
def test_damaged_tables(table, text, label):
    suffix, data = table
    Path(f"table{suffix}").write_bytes(data)
    read(f"table{suffix}", text=text, label=label)


@FUZZ
@given(
    st.sampled_from([",", "\t", ";"]),
    st.lists(st.lists(cells, max_size=4), max_size=30),
    st.sampled_from(["csv", "tsv"]),
    st.sampled_from(["utf-8", "utf-16", "latin-1"]),
    names,
)
def test_tables_of_anything(delimiter, rows, suffix, encoding, label):
    text = io.StringIO()
    with_header = [["text", "label"], *rows]
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(with_header)
    Path(f"table.{suffix}").write_bytes(text.getvalue().encode(encoding, "replace"))
    read(f"table.{suffix}", label=label)


@FUZZ
@given(st.lists(st.one_of(values, st.fixed_dictionaries({"text": scalars, "label": values})), max_size=20), st.binary(max_size=5))
def test_lines_of_anything(lines, between):
    Path("table.jsonl").write_bytes((between + b"\n").join(as_json(line) for line in lines))
    read("table.jsonl")


@FUZZ
@given(st.lists(st.tuples(scalars, scalars), max_size=20))
def test_samples_of_a_program(samples):
    read([*samples, *ROWS])


@FUZZ
@given(st.lists(odd, max_size=5))
def test_anything_as_data(data):
    read(data)


@FUZZ
@given(
    st.lists(
        st.sampled_from([name for name in NASTY if name and "\0" not in name and "/" not in name and len(name) < 200]), max_size=4
    ),
    st.binary(max_size=30),
)
def test_folders_of_anything(classes, data):
    shutil.rmtree("photos", ignore_errors=True)
    for name in ["cat", "dog", *classes]:
        folder = Path(os.fsdecode(b"photos/" + name.encode("utf-8", "surrogateescape" if "\udce9" in name else "replace")))
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "1.png").write_bytes(data)
        (folder / "2.txt").write_bytes(data)
    read("photos")
    read("photos", max_unreadable=1.0)


@pytest.mark.parametrize("name", [name for name in NASTY if "\0" not in name])
def test_places_of_any_name(name):
    read(name or ".")


@FUZZ
@given(st.lists(st.one_of(texts, odd), min_size=2, max_size=4), st.one_of(st.none(), st.lists(odd, max_size=3)))
def test_label_names(labels, label_names):
    rows = [(text, labels[index % len(labels)]) for index, (text, _) in enumerate(ROWS)]
    with only_zoo_errors():
        zoo.inspect(rows, label_names=label_names, cache="off")
