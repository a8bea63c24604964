"""What is remembered of a file is forgotten as soon as the file is another."""

import os
import time

import numpy as np
import pytest
from PIL import Image

from zoo import cache
from zoo.config import build
from zoo.data import open_splits
from zoo.data.decoding.image_files import check_file
from zoo.data.sources.class_folders import file_checks
from zoo.data.sources.class_folders.file_checks import check_all
from zoo.errors import DataError


def age(path, seconds=100.0):
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


@pytest.fixture
def root(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        path = folder / f"{number}.png"
        Image.fromarray(rng.integers(0, 256, (12, 10 + number, 3), dtype=np.uint8)).save(path)
        age(path)
    return folder


class Counted:
    """Checks files, and counts them."""

    def __init__(self, root):
        self.root, self.names = root, []

    def __call__(self, name):
        self.names.append(name)
        try:
            return check_file(self.root / name, name)
        except DataError as error:
            return error


def run(root, place, names=None):
    check = Counted(root)
    found = check_all(root, names or [f"{number}.png" for number in range(6)], check, place)
    return found, sorted(check.names)


def test_what_was_checked_is_remembered_whole(root, tmp_path):
    first, names = run(root, tmp_path / "cache")
    assert len(names) == 6
    again, names = run(root, tmp_path / "cache")
    assert names == []
    assert again == first == [check_file(root / f"{number}.png") for number in range(6)]


def test_without_a_cache_everything_is_checked(root):
    assert len(run(root, None)[1]) == len(run(root, None)[1]) == 6


@pytest.mark.parametrize("change", ["content", "time", "inode"])
def test_a_changed_file_is_checked_again(root, tmp_path, change):
    first, _ = run(root, tmp_path / "cache")
    path = root / "3.png"
    before = path.stat()
    if change == "content":
        Image.new("RGB", (99, 99)).save(path)
        age(path)
    elif change == "time":
        age(path, 1.0)
    else:
        (root / "copy.png").write_bytes(path.read_bytes())
        (root / "copy.png").replace(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again, names = run(root, tmp_path / "cache")
    assert names == ["3.png"]
    assert (again[3] != first[3]) == (change == "content")
    assert run(root, tmp_path / "cache")[1] == []


def test_a_file_that_has_just_changed_is_not_remembered(root, tmp_path):
    os.utime(root / "2.png", (time.time(), time.time()))
    run(root, tmp_path / "cache")
    assert run(root, tmp_path / "cache")[1] == ["2.png"]


def test_unreadable_and_missing_files_are_looked_at_each_time(root, tmp_path):
    (root / "1.png").write_bytes(b"no image")
    age(root / "1.png")
    (root / "4.png").unlink()
    for _ in range(2):
        found, names = run(root, tmp_path / "cache")
        assert isinstance(found[1], DataError)
        assert isinstance(found[4], DataError)
    assert names == ["1.png", "4.png"]


def test_splits_are_the_same_from_memory(root, tmp_path):
    for name in ("a", "b"):
        (root / name).mkdir()
    for number in range(6):
        (root / f"{number}.png").rename(root / "ab"[number % 2] / f"{number}.png")
    config = build({"data": str(root), "cache": str(tmp_path / "cache")})
    assert open_splits(config).record() == open_splits(config).record()
    assert [entry.kind for entry in cache.entries(tmp_path / "cache")] == ["checked"]
    assert cache.entries(tmp_path / "cache")[0].rows == 6
    assert file_checks._RECORD.itemsize == 76
