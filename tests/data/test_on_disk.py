"""Texts on the disk are the texts in memory: the same items, orders, splits and files, in less memory."""

import csv
import multiprocessing

import numpy as np
import pytest

from zoo.config import build
from zoo.data import open_splits
from zoo.data.on_disk import Spool

TEXTS = ["", "a", "é", "日本語 text", "line\nbreak", "x" * 10_000, "a"]


@pytest.fixture
def spooled():
    spool = Spool()
    spool.add(TEXTS[:3])
    spool.add(iter(TEXTS[3:]))
    return spool.done()


def test_each_text_is_what_was_put_there(spooled):
    assert list(spooled) == TEXTS
    assert spooled[5] == TEXTS[5]
    assert spooled[np.int64(2)] == "é"
    assert spooled.lengths().tolist() == [len(text.encode()) for text in TEXTS]


def test_some_of_them_and_some_of_these(spooled):
    some = spooled[np.array([5, 3, 1, 3])]
    assert list(some) == [TEXTS[5], TEXTS[3], TEXTS[1], TEXTS[3]]
    assert list(some[np.array([2, 0])]) == [TEXTS[1], TEXTS[5]]
    assert list(some[1:3]) == [TEXTS[3], TEXTS[1]]


def test_equal_texts_have_equal_hashes_and_others_others(spooled):
    hashes = spooled.hashes().tolist()
    assert hashes[1] == hashes[6]
    assert len(set(hashes)) == len(set(TEXTS))


def test_nothing_at_all():
    assert list(Spool().done()) == []


def test_another_process_reads_them_too(spooled):
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(spooled.__getitem__, (3,)) == TEXTS[3]


@pytest.mark.parametrize("pairs", [False, True])
def test_a_table_is_the_same_either_way(tmp_path, pairs):
    path = tmp_path / "texts.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("first", "second", "kind"))
        writer.writerows((f"text {number % 50} é", f"more {number}", "ab"[number % 2]) for number in range(60))
        writer.writerow(("", "an empty first", "a"))
    options = {
        "data": str(path),
        "text": "first,second" if pairs else "first",
        "label": "kind",
        "max_unreadable": 0.1,
        "cache": "off",
    }
    memory, disk = (open_splits(build({**options, "streaming": streaming})) for streaming in (False, True))
    assert memory.record() == disk.record()
    assert memory.facts == disk.facts
    assert any("repeat an earlier one" in line for line in disk.facts.notices) != pairs
    for split, samples in memory.parts().items():
        other = disk.parts()[split]
        assert [samples.item(index) for index in range(len(samples))] == [other.item(index) for index in range(len(other))]
        assert len(other.sizes) == len(other)
