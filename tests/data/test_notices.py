"""Each sample, file and row that was left out, or that is worth a word, is among what the notices are about: none behind the first five."""

import csv
import io
import os
import shutil
import socket
import wave
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from zoo.config import DataConfig, build
from zoo.data import open_splits
from zoo.data.decoding.image_files import open_image
from zoo.data.notices import Line, Notice, NoticeEntry, as_csv, lines
from zoo.data.sources.class_folders.listing import find_files
from zoo.data.splits import from_datasets
from zoo.errors import DataError
from zoo.types import Kind, Task

ROWS = [(f"a text number {number}", "cat" if number % 2 else "dog") for number in range(60)]


def noticed(data: Path, **options: object) -> list[Line]:
    """All lines, of which the notices name no more than five each."""
    return list(lines(open_splits(build({"data": str(data), "max_unreadable": 0.5, **options})).facts.notices))


def table(path: Path, rows: list[tuple[str, ...]], header: str = "text,label") -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])
    return path


def names(found: list[Line], done: str, reason: str = "") -> list[str]:
    return [one.name for one in found if one.done == done and reason in one.reason]


def test_every_file_of_a_folder(make_folder):
    root = make_folder({"train/cat": 12, "train/dog": 12, "val/cat": 4, "val/dog": 4})
    for number in range(7):
        (root / f"train/cat/broken{number}.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(number))
        (root / f"train/dog/notes{number}.txt").touch()
        (root / f"val/cat/loop{number}").symlink_to(root)
        Image.new("RGB", (4, 20), (number, 0, 0)).save(root / f"train/dog/narrow{number}.png")
        frames = [Image.new("RGB", (9, 9), (number, 100 * one, 0)) for one in (0, 1)]
        frames[0].save(root / f"val/dog/film{number}.gif", save_all=True, append_images=frames[1:])
        os.mkfifo(root / f"train/cat/pipe{number}.png")
    found = noticed(root)
    assert names(found, "left out", "cannot be read: ") == [f"train/cat/broken{number}.png" for number in range(7)]
    assert not [one for one in found if one.reason.count(one.name)]
    assert names(found, "ignored") == [f"train/dog/notes{number}.txt" for number in range(7)]
    assert names(found, "not followed") == [f"val/cat/loop{number}" for number in range(7)]
    assert names(found, "kept", "a side under 8 pixels") == [f"train/dog/narrow{number}.png" for number in range(7)]
    assert names(found, "only the first is used") == [f"val/dog/film{number}.gif" for number in range(7)]
    assert names(found, "left out", "a pipe") == [f"train/cat/pipe{number}.png" for number in range(7)]
    assert Counter(one.set for one in found) == {"train": 14, "val": 7, "": 21}


def test_every_recording(tmp_path):
    for number in range(14):
        path = tmp_path / "sounds" / ("one" if number % 2 else "two") / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setparams((2, 2, 16_000, 0, "NONE", "NONE"))
            file.writeframes(np.random.default_rng(number).integers(-9000, 9000, 8000, np.int16).tobytes())
    assert len(names(noticed(tmp_path / "sounds"), "averaged")) == 14


def test_every_row_of_a_table(tmp_path):
    empty, unlabelled = [("", "cat")] * 6, [(f"nothing said of {number}", "") for number in range(7)]
    found = noticed(
        table(tmp_path / "rows.csv", [*ROWS, *empty, *unlabelled, *ROWS[:8], *((text, "bird") for text, _ in ROWS[:9])])
    )
    assert names(found, "left out") == [f"rows.csv, row {number}" for number in range(61, 74)]
    assert [one.reason for one in found if one.done == "left out"] == ["cannot be read: text is empty"] * 6 + [
        "cannot be read: label is empty"
    ] * 7
    assert names(found, "kept", "with the same label") == [f"rows.csv, row {number}" for number in range(74, 82)]
    assert found[-1].what == "row"
    assert [one.reason for one in found if "another label" in one.reason][-1].endswith(" ('dog') = rows.csv, row 90 ('bird')")


def test_every_row_of_a_table_of_images(make_folder):
    root = make_folder({"cat": 20, "dog": 20})
    rows = [(f"{one}/{number}.png", one, "val" if number < 8 else "train") for one in ("cat", "dog") for number in range(20)]
    for name, _, _ in rows[:6]:
        (root / name).write_bytes(b"no image")
    rows += [(f"cat/none{number}.png", "cat", "train") for number in range(6)]
    found = noticed(table(root / "rows.csv", rows, "image,label,split"))
    assert [one.name for one in found if one.set == "val"] == [f"cat/{number}.png" for number in range(6)]
    assert names(found, "left out", "no such file") == [f"rows.csv, row {number}" for number in range(41, 47)]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "frame", "list", "dataset"])
def test_the_same_rows_are_left_out_in_every_form(tmp_path, form, streaming):
    frame = pd.DataFrame([*ROWS, *[("", "cat")] * 7], columns=["text", "label"])
    if form in ("csv", "jsonl", "parquet"):
        path = tmp_path / f"rows.{form}"
        write = {"csv": frame.to_csv, "parquet": frame.to_parquet}
        frame.to_json(path, orient="records", lines=True) if form == "jsonl" else write[form](path, index=False)
        found, first = noticed(path, streaming=streaming), 61
        expected = [f"rows.{form}, row {number}" for number in range(first, first + 7)]
    else:
        given = {
            "frame": lambda: frame,
            "list": lambda: frame.to_dict("records"),
            "dataset": lambda: datasets.Dataset.from_pandas(frame),
        }
        splits = from_datasets(given[form](), options=DataConfig(max_unreadable=0.5, streaming=streaming))
        found, expected = list(lines(splits.facts.notices)), [f"train[{number}]" for number in range(60, 67)]
        assert {one.set for one in found} == {"train"}
    assert names(found, "left out", "text is empty") == expected


@pytest.mark.parametrize("policy", ["warn", "ignore"])
def test_every_leak(make_folder, policy):
    root = make_folder({f"{split}/{one}": 12 for split in ("train", "val", "test") for one in ("a", "b")})
    for number in range(7):
        shutil.copy(root / f"train/a/{number}.png", root / f"val/a/copy{number}.png")
    shutil.rmtree(root / "test")
    shutil.copytree(root / "train", root / "test")
    found = noticed(root, leaks=policy)
    assert Counter((one.set, one.done) for one in found) == {
        ("val", "left out" if policy == "warn" else "kept"): 7,
        ("test", "left out" if policy == "warn" else "kept"): 24,
    }
    assert Line("sample", "val", "val/a/copy6.png", "is in an earlier split too = train: train/a/6.png", found[0].done) in found


def test_every_sample_of_two_labels(make_folder):
    root = make_folder({"train/a": 9, "train/b": 9, "val/a": 2, "val/b": 2})
    for number in range(7):
        shutil.copy(root / f"train/a/{number}.png", root / f"train/b/same{number}.png")
    found = noticed(root)
    assert [one.name for one in found] == [f"train/a/{number}.png" for number in range(7)]
    assert found[3].reason.endswith(" (a) = train/b/same3.png (b)")


def test_sets_that_are_not_used(tmp_path):
    rows = [(*row, ("train", "val")[number % 5 == 0]) for number, row in enumerate(ROWS)] + [("a new text", "", "test")] * 3
    found = noticed(table(tmp_path / "rows.csv", rows, "text,label,split"))
    assert found == [Line("set", "test", "test", "none of its 3 rows has a label", "left out")]
    made = {
        name: datasets.Dataset.from_dict({"text": [f"{name} {text}" for text, _ in ROWS], "label": [label for _, label in ROWS]})
        for name in ("train", "validation", "validation_matched", "unsupervised")
    }
    datasets.DatasetDict(made).save_to_disk(tmp_path / "saved")
    assert names(noticed(tmp_path / "saved"), "left out") == ["validation_matched", "unsupervised"]


def test_rows_that_swallow_others(tmp_path):
    rows = [f"a text number {number},{'cat' if number % 2 else 'dog'}" for number in range(400)]
    for start in range(10, 200, 40):
        rows[start] = '"' + rows[start]
        rows[start + 20] = rows[start + 20].replace(",", '",')
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    assert len(names(noticed(path), "taken as one row")) == 5


def test_the_file_names_what_no_text_can(make_folder):
    root = make_folder({"cat": 8, "dog": 8})
    odd = [b"caf\xe9.txt", b"two\nlines.txt", b'a,"b".txt', b"\x1b[31m.txt", "\u202etxt.exe".encode()]
    for name in odd:
        Path(os.fsdecode(os.fsencode(root) + b"/cat/" + name)).touch()
    text = as_csv(open_splits(build({"data": str(root)})).facts.notices)
    assert text.encode().count(b"\n") == 1 + len(odd)
    assert all(sign.isprintable() for line in text.splitlines() for sign in line)
    read = list(csv.DictReader(io.StringIO(text)))
    assert {row["name"] for row in read} == {
        r"cat/caf\udce9.txt", r"cat/two\nlines.txt", 'cat/a,"b".txt', r"cat/\x1b[31m.txt", r"cat/\u202etxt.exe"
    }  # fmt: skip


def test_a_notice_points_at_the_file_where_it_does_not_name_all():
    few, many = (
        Notice.naming("there: ", [NoticeEntry(str(number)) for number in range(count)], what="file", why="odd", done="kept")
        for count in (5, 6)
    )
    assert few.pointing("notices.csv") == "there: 0; 1; 2; 3; 4"
    assert many.pointing("notices.csv") == "there: 0; 1; 2; 3; 4; ... (all in notices.csv)"


def test_what_is_no_file_is_left_out_and_never_opened(make_folder, monkeypatch):
    root = make_folder({"train/cat": 6, "train/dog": 6, "val/cat": 3, "val/dog": 3})
    monkeypatch.chdir(root)  # the name of a socket has a hundred bytes at most
    os.mkfifo("train/cat/pipe.png")
    os.mkfifo("test")
    (root / "val/dog/link.png").symlink_to(root / "train/cat/pipe.png")
    (root / "val/cat/device.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        one.bind("train/dog/socket.png")
        other.bind("socket")
        splits = open_splits(build({"data": str(root), "max_unreadable": 0.0}))
    assert {name: len(samples) for name, samples in splits.parts().items()} == {"train": 12, "val": 6}
    assert splits.task is Task.CLASSIFICATION
    assert splits.facts.ignored == 6
    assert {(one.name, one.reason, one.done) for one in lines(splits.facts.notices)} == {
        ("train/cat/pipe.png", "not a file: a pipe", "left out"),
        ("test", "not a file: a pipe", "left out"),
        ("val/dog/link.png", "not a file: a pipe", "left out"),
        ("val/cat/device.jpg", "not a file: a device", "left out"),
        ("train/dog/socket.png", "not a file: a socket", "left out"),
        ("socket", "not a file: a socket", "left out"),
    }


def test_what_lies_beside_the_files_of_a_partitioned_table(tmp_path):
    for label in ("cat", "dog"):
        (tmp_path / f"rows/label={label}").mkdir(parents=True)
        texts = [text for text, one in ROWS if one == label]
        pd.DataFrame({"text": texts}).to_parquet(tmp_path / f"rows/label={label}/part.parquet")
    for number in range(6):
        (tmp_path / f"rows/notes{number}.txt").touch()
    os.mkfifo(tmp_path / "rows/label=cat/pipe.parquet")
    assert names(noticed(tmp_path / "rows"), "ignored") == [
        "label=cat/pipe.parquet",
        *(f"notes{number}.txt" for number in range(6)),
    ]


def test_what_is_no_file_is_an_input_that_cannot_be_read(make_folder):
    root = make_folder({"a": 3})
    os.mkfifo(root / "a/1b.png")
    (root / "a/1c.png").symlink_to("/dev/zero")
    found = find_files([root], Kind.IMAGE)
    assert [Path(name).name for name in found] == ["0.png", "1.png", "1b.png", "1c.png", "2.png"]
    for name in found[2:4]:
        with pytest.raises(DataError, match="not a file"):
            open_image(Path(name))
