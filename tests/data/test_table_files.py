"""What a table file may hold beside its texts: plain quotation marks, columns that nobody reads, other forms of Arrow, no file at all."""

import bz2
import csv
import gzip
import lzma
import os
import socket
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import feather, parquet

from zoo.config import DataConfig
from zoo.data.sources import open_source
from zoo.data.sources.source import Request
from zoo.data.sources.tables.gathering import Columns, Table, choose_columns, read_rows, read_table
from zoo.errors import DataError, UnknownName

TEXTS = [f"a remark of number {number}" for number in range(200)]
LABELS = ["xy"[number % 2] for number in range(200)]


def read(path: Path, max_unreadable: float = 0.01, **columns: Any) -> Table:
    return read_table(path, Columns(**columns), max_unreadable=max_unreadable)


def lines_of(texts: list[str], delimiter: str) -> str:
    rows = [f"{text}{delimiter}{label}" for text, label in zip(texts, LABELS, strict=True)]
    return "\n".join([f"text{delimiter}label", *rows]) + "\n"


def whole(table: Table, texts: list[str] = TEXTS) -> bool:
    return table.inputs[0].tolist() == texts and not table.unreadable


# ---------------------------------------------------------------------------------------------------------- quotation marks


def test_a_mark_at_the_begin_of_one_text_and_at_the_end_of_another(tmp_path: Path) -> None:
    """Between them, CSV's grammar takes all for one field: even rows, but few."""
    texts = [*TEXTS[:20], f'"{TEXTS[20]}', *TEXTS[21:189], f'{TEXTS[189]}"', *TEXTS[190:]]
    path = tmp_path / "rows.tsv"
    path.write_text(lines_of(texts, "\t"))
    table = read(path)
    assert whole(table, texts)
    assert not any("quotation" in notice for notice in table.notices)


def test_quoted_fields_stay_quoted(tmp_path: Path) -> None:
    """Of several lines, with delimiters in them, or all of a file but a row that is broken."""
    texts = [f"{text}\nof two\tlines" if number % 3 else text for number, text in enumerate(TEXTS)]
    path = tmp_path / "rows.tsv"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n").writerows([("text", "label"), *zip(texts, LABELS, strict=True)])
    assert whole(read(path), texts)
    path.write_text(lines_of([f'"{text}"' for text in TEXTS[:199]] + ['"a "broken" one"'], "\t"))
    table = read(path)
    assert table.inputs[0].tolist() == TEXTS[:199]
    assert "a quotation mark within a quoted field" in table.unreadable[0]


def test_csv_that_swallows_rows_says_so(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    texts = [*TEXTS[:20], f'"{TEXTS[20]}', *TEXTS[21:]]
    lines = lines_of(texts, ",").splitlines()
    lines[60] += '"'
    path.write_text("\n".join(lines) + "\n")
    table = read(path, max_unreadable=0.1)
    (notice,) = [notice for notice in table.notices if "many lines" in notice]
    assert "row 21, lines 22 to 61" in notice
    assert "write it twice, and quote the text" in notice


def test_long_texts_of_many_lines_are_no_news(tmp_path: Path) -> None:
    path = tmp_path / "mails.csv"
    texts = [f"{text}\n" + "a line, perhaps two, or more\nwithout\n" * 30 for text in TEXTS]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *zip(texts, LABELS, strict=True)])
    table = read(path)
    assert whole(table, texts)
    assert not any("many lines" in notice for notice in table.notices)


# ------------------------------------------------------------------------------------------------------ columns nobody reads


def with_rest(**rest: Any) -> pa.Table:
    columns = {"text": pa.array(TEXTS), "label": pa.array(LABELS), **rest}
    return pa.table(list(columns.values()), names=list(columns))


def twice(kind: pa.DataType) -> pa.Array:
    """A struct with two fields of one name."""
    one = pa.array(range(200), kind)
    return pa.StructArray.from_arrays([one, one], names=["same", "same"])


def invalid() -> pa.Array:
    """Texts of which one is not UTF-8."""
    return pa.array([text.encode() for text in TEXTS[:199]] + [b"caf\xe9 noir"], pa.binary()).view(pa.string())


REST = {
    "a date past 9999": pa.array([3_000_000] * 200, pa.int32()).cast(pa.date32()),
    "a long duration": pa.array([2**62] * 200, pa.int64()).cast(pa.duration("s")),
    "a time zone": pa.array([0] * 200, pa.timestamp("us", "Mars/Olympus")),
    "two fields of one name": twice(pa.int64()),
    "not UTF-8": invalid(),
    "a timestamp": pa.array([2**62] * 200, pa.timestamp("us")),
    "bytes": pa.array([b"\xff"] * 200),
    "a map": pa.array([[("a", 1)]] * 200, pa.map_(pa.string(), pa.int64())),
}


@pytest.mark.parametrize("form", ["parquet", "arrow", "stream", "feather"])
@pytest.mark.parametrize("rest", REST)
def test_a_column_that_nobody_reads_may_hold_anything(tmp_path: Path, rest: str, form: str) -> None:
    path = write(tmp_path, with_rest(until=REST[rest]), form)
    table = read(path)
    assert whole(table)
    assert (table.columns.inputs, table.columns.labels) == (("text",), ("label",))


def write(folder: Path, table: pa.Table, form: str) -> Path:
    path = folder / f"rows.{'arrow' if form == 'stream' else form}"
    if form == "parquet":
        parquet.write_table(table, path, store_schema=True)
    elif form == "feather":
        feather.write_feather(table, path)
    else:
        make = pa.ipc.new_stream if form == "stream" else pa.ipc.new_file
        with make(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=70)
    return path


@pytest.mark.parametrize("form", ["parquet", "arrow", "stream", "feather"])
def test_a_text_that_is_not_utf8_is_named_by_row(tmp_path: Path, form: str) -> None:
    """As it is in CSV."""
    table = read(write(tmp_path, pa.table({"text": invalid(), "label": LABELS}), form), text=("text",))
    assert table.inputs[0].tolist() == TEXTS[:199]
    name = "rows.arrow" if form == "stream" else f"rows.{form}"
    assert table.unreadable == [
        f"{name}, row 200: text: not UTF-8 (byte 0xe9); as cp1252 it reads 'caf\xe9 noir': convert the file, iconv -f cp1252 -t utf-8"
    ]


def test_a_column_that_was_asked_for_is_read_whatever_it_holds(tmp_path: Path) -> None:
    path = write(tmp_path, with_rest(until=REST["a date past 9999"]), "parquet")
    with pytest.raises(DataError, match=r"row 1: until: cannot be read: date value out of range"):
        read(path, text=("text",), label=("until",))
    days = pa.array([1, 2] * 100, pa.int32()).cast(pa.date32())
    assert read(write(tmp_path, with_rest(day=days), "parquet"), label=("day",)).names == ("1970-01-02", "1970-01-03")
    with pytest.raises(UnknownName, match="no column 'untill'"):
        read(path, text=("untill",))


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(TEXTS), pa.array(LABELS), *[pa.array(range(200))] * 2], ["text", "label", "n", "n"])
    path = write(tmp_path, table, "parquet")
    assert whole(read(path))
    with pytest.raises(DataError, match="two columns are called 'n'"):
        read(path, label=("n",))


def test_values_as_parquet_has_them(tmp_path: Path) -> None:
    """Dictionaries, large and small strings, numbers, lists, nulls, and a NUL in a text."""
    columns = {
        "text": pa.array(TEXTS).dictionary_encode(),
        "large": pa.array(TEXTS, pa.large_string()),
        "view": pa.array(TEXTS, pa.string_view()),
        "n": pa.array(range(200), pa.int16()),
        "list": pa.array([["a", None], []] * 100),
        "nothing": pa.nulls(200),
        "nul": pa.array(["a\0b", *TEXTS[1:]]),
    }
    for form in ("parquet", "arrow"):
        path = write(tmp_path, pa.table(columns), form)
        number, first = next(read_rows(path))
        rest = {"n": 0, "list": ["a", None], "nothing": None}
        assert (number, first) == (1, {**dict.fromkeys(("text", "large", "view"), TEXTS[0]), **rest, "nul": None})
        rows = list(read_rows(path, ["nul", "n"]))
        assert "row 1: nul: a NUL character; remove it" in str(rows[0][1])
        assert rows[1] == (2, {"n": 1, "nul": TEXTS[1]})


def test_damaged_arrow(tmp_path: Path) -> None:
    """Its offsets are not checked by who reads it, and would end the process."""
    path = write(tmp_path, with_rest(), "arrow")
    content = path.read_bytes()
    offsets = np.cumsum([0, *(len(text) for text in TEXTS[:70])], dtype=np.int32).tobytes()
    assert offsets in content
    path.write_bytes(content.replace(offsets, b"\xff\xff\xff\x7f" * 71))
    with pytest.raises(DataError, match="cut off, damaged, or not Arrow"):
        read(path)
    path.write_bytes(content[:-300])
    with pytest.raises(DataError, match="cut off, damaged, or not Arrow"):
        read(path)
    path.write_bytes(b"text,label\n")
    with pytest.raises(DataError, match="cut off, damaged, or not Arrow"):
        read(path)


def test_memory_is_that_of_what_is_read(tmp_path: Path) -> None:
    """Images beside the texts stay on the disk."""
    images = pa.array([os.urandom(200_000) for _ in range(200)])
    encoded = pa.StructArray.from_arrays([images, pa.nulls(200, pa.string())], names=["bytes", "path"])
    path = write(tmp_path, with_rest(image=encoded, binary=images), "parquet")
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    tracemalloc.start()
    assert whole(read(path))
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert pool.bytes_allocated() - before < 4 << 20


# ---------------------------------------------------------------------------------------------------------- folders, pipes, compression


def test_a_folder_of_parquet_is_one_table(tmp_path: Path) -> None:
    """Parts in natural order; what stands in the names of folders is a column; marks of who wrote them are passed over."""
    root = tmp_path / "rows"
    for number in (10, 9, 1, 0):
        folder = root / f"kind=a%20{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.table({"text": TEXTS[number * 10 : number * 10 + 10]}), folder / f"part-{number}.parquet")
    (root / "_SUCCESS").touch()
    (root / "kind=a%201" / ".part-1.parquet.crc").write_bytes(b"x")
    expected = [*TEXTS[0:10], *TEXTS[100:110], *TEXTS[10:20], *TEXTS[90:100]]
    table = read(root, text=("text",), label=("kind",))
    assert table.inputs[0].tolist() == expected
    assert table.names == ("a 0", "a 1")
    assert table.numbers.tolist() == list(range(1, 41))
    source = open_source(Request(DataConfig(data=str(root), text="text", label="kind")))
    assert len(source.parts["all"]) == 40


def test_a_folder_of_splits_is_not_one_table(tmp_path: Path) -> None:
    for name in ("train-00000-of-00001", "test-00000-of-00001"):
        parquet.write_table(with_rest(), tmp_path / f"{name}.parquet")
    with pytest.raises(DataError, match=r"its files are splits \(test-.*\); `hf:.*` reads them so, or name one of them"):
        open_source(Request(DataConfig(data=str(tmp_path))))


OPENERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


@pytest.mark.parametrize("ending", [*OPENERS, ".zst"])
def test_compressed(tmp_path: Path, ending: str) -> None:
    content = lines_of(TEXTS, ",").encode()
    packed = OPENERS[ending](content) if ending in OPENERS else pa.compress(content, "zstd", asbytes=True)
    path = tmp_path / f"rows.csv{ending}"
    path.write_bytes(packed)
    assert whole(read(path))
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(DataError, match="rows.csv"):
        read(path)
    path.write_bytes(content)
    with pytest.raises(DataError, match="rows.csv"):
        read(path)


@pytest.mark.parametrize("name", ["rows.xlsx", "rows.parquet.gz", "rows.orc", "rows.csv.zip", "photo.jpg", "rows"])
def test_what_is_no_table_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(DataError, match=rf"{name}: not data that can be read; expected .* a table \(\.csv, "):
        open_source(Request(DataConfig(data=str(tmp_path / name))))


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.json", "rows.parquet", "rows.arrow", "rows.csv.gz", "rows"])
def test_nothing_waits_for_a_pipe(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}: a pipe, not a file; write what it gives into a file first"):
        open_source(Request(DataConfig(data=str(tmp_path / name))))


def test_nor_for_a_socket_or_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("rows.csv")
        with pytest.raises(DataError, match=r"rows\.csv: a socket, not a file"):
            choose_columns(Path("rows.csv"), Columns())
    Path("zero.csv").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"zero\.csv: a device, not a file"):
        choose_columns(Path("zero.csv"), Columns())


def test_a_pipe_of_a_model_s_inputs(tmp_path: Path) -> None:
    from zoo.inference import find
    from zoo.types import Kind

    os.mkfifo(tmp_path / "rows.csv")
    with pytest.raises(DataError, match="a pipe, not a file"):
        list(find(Kind.TEXT, [str(tmp_path / "rows.csv")]))


# ---------------------------------------------------------------------------------------------------------------------- wide tables


@pytest.mark.timeout(120)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_work_is_that_of_the_fields(tmp_path: Path, form: str) -> None:
    """A second or two; each name held against each other one would take hours."""
    names = ["text", "label", *(f"n{number}" for number in range(200_000 if form == "csv" else 20_000))]
    path = tmp_path / f"rows.{form}"
    if form == "csv":
        rest = "," * (len(names) - 2)
        rows = [f"{text},{label}{rest}" for text, label in zip(TEXTS[:4], LABELS[:4], strict=True)]
        path.write_text("\n".join([",".join(names), *rows]) + "\n")
    else:
        columns = [pa.array(TEXTS[:4]), pa.array(LABELS[:4]), *[pa.nulls(4, pa.int8())] * (len(names) - 2)]
        parquet.write_table(pa.Table.from_arrays(columns, names), path)
    assert len(read(path)) == 4
