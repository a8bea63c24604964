"""Iterables, read once onto the disk: the rows as they were given, in any order, and one line for what goes wrong."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset

from zoo.config import build
from zoo.data import from_datasets
from zoo.data.on_disk import RowsOnDisk
from zoo.errors import DataError

PICTURE = Image.fromarray(np.arange(5 * 4 * 3, dtype=np.uint8).reshape(5, 4, 3))


class Stream(IterableDataset):
    """Rows without a length."""

    def __init__(self, rows, fail_at=None):
        self.rows, self.fail_at = rows, fail_at

    def __iter__(self):
        for number, row in enumerate(self.rows):
            if number == self.fail_at:
                raise ValueError("the connection is gone")
            yield row


def options(**more):
    return build({"data": "builtin:digits", "streaming": True, **more}).data


def test_every_kind_of_value_comes_back():
    given = [
        ("a text", 3),
        (("one", "two"), np.int64(4)),
        (PICTURE, "name"),
        (np.eye(3, dtype=np.uint8), 1.5),
        (torch.arange(6).reshape(2, 3), None),
        (b"bytes", True),
    ]
    rows = RowsOnDisk("train", iter(given))
    assert len(rows) == 6
    assert rows[0] == ("a text", 3)
    assert rows[1] == (["one", "two"], 4)
    assert np.array_equal(np.asarray(rows[2][0]), np.asarray(PICTURE))
    assert np.array_equal(rows[3][0], np.eye(3))
    assert torch.equal(rows[4][0], torch.arange(6).reshape(2, 3))
    assert rows[5] == (b"bytes", True)
    with pytest.raises(IndexError):
        rows[6]


def test_dictionaries_keep_their_keys():
    (row,) = RowsOnDisk("train", [{"Text": "hello", "Class": 1}])
    assert row == {"Text": "hello", "Class": 1}


def test_an_iterable_gives_the_splits_of_a_list():
    rows = [(f"text {number}", ("ant", "bee")[number % 2]) for number in range(40)]
    streamed, listed = (from_datasets(given, options=options()) for given in (Stream(rows), rows))
    assert streamed.record() == listed.record()
    assert [streamed.train.item(index) for index in range(5)] == [listed.train.item(index) for index in range(5)]


def test_pictures_from_a_generator():
    def rows():
        for number in range(12):
            yield PICTURE.rotate(90 * (number % 4)), number % 2

    splits = from_datasets(rows(), options=options())
    assert splits.train.item(0).size in ((4, 5), (5, 4))
    assert sum(len(part) for part in splits.parts().values()) == 12


def test_without_streaming_the_way_out_is_named():
    with pytest.raises(DataError, match="streaming=True"):
        from_datasets(Stream([("a", 0), ("b", 1)]))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (Stream([("a", 0)] * 20, fail_at=17), r"train\[17\]: the connection is gone"),
        (Stream([("a", 0), (object(), 1)]), r"train\[1\]: a object cannot be kept"),
        (Stream([]), "the data set is empty"),
    ],
)
def test_what_goes_wrong_names_the_row(given, said):
    with pytest.raises(DataError, match=said):
        from_datasets(given, options=options())
