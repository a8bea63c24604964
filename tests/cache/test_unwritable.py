"""A cache that cannot take what is computed costs a warning, and no run."""

import os
import shutil
import subprocess

import numpy as np
import pytest

from zoo import cache
from zoo.cache import KEY, Shards, Space
from zoo.errors import OutputError

KEYS = np.array([f"{number:064x}" for number in range(64)], KEY)
ROWS = np.random.default_rng(0).random((64, 30_000), np.float32)


@pytest.fixture
def passing(monkeypatch, tmp_path):
    """Where passing folders are made."""
    path = tmp_path / "passing"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    monkeypatch.setattr("tempfile.tempdir", None)
    yield path
    for folder in path.iterdir():
        cache.release(folder)


def filled(space):
    """How many rows had to be computed."""

    def compute(mine):
        with Shards(space) as shards:
            for index in mine:
                shards.add(KEYS[index : index + 1], ROWS[index : index + 1])

    count = space.fill(KEYS, compute)
    assert np.array_equal(space.rows(KEYS).read(), ROWS)
    return count


def opened(root):
    return Space(cache.folder(root, "features", {}), (30_000,), "<f4")


def test_a_folder_that_becomes_a_file_in_the_midst(tmp_path, passing, monkeypatch, caplog):
    monkeypatch.setattr(Shards, "BYTES", 1_000_000)
    space = opened(tmp_path / "cache")
    space.append(KEYS[:8], ROWS[:8])
    shutil.rmtree(space.path)
    space.path.write_text("in its place")
    assert filled(space) == 56
    (record,) = caplog.records
    assert "what is computed is kept for this command alone" in record.getMessage()
    assert len(list(passing.iterdir())) == 1


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 2 MB; the rows take 7.7."""
    path = tmp_path / "disk"
    path.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", path], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_disk_that_fills_up_in_the_midst(small_disk, passing, monkeypatch, caplog):
    monkeypatch.setattr(Shards, "BYTES", 1_000_000)
    assert filled(opened(small_disk / "cache")) == 64
    (record,) = caplog.records
    assert "No space left on device" in record.getMessage()
    assert len(opened(small_disk / "cache")) == 64  # with what this process keeps
    assert list(small_disk.rglob(".aside-*")) == list(small_disk.rglob(".claim-*")) == []


def test_a_read_only_cache_is_read(small_disk, passing, monkeypatch, caplog):
    monkeypatch.setattr(Shards, "BYTES", 500_000)
    opened(small_disk / "cache").append(KEYS[:8], ROWS[:8])
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert filled(opened(small_disk / "cache")) == 56
    assert filled(opened(small_disk / "cache")) == 0
    assert cache.folder(small_disk / "cache", "other", {}) is None
    assert 1 <= len(caplog.records) <= 2
    assert all("Read-only file system" in record.getMessage() for record in caplog.records)


def test_a_damaged_shard_on_a_read_only_disk_is_left_out(small_disk, passing, caplog):
    opened(small_disk / "cache").append(KEYS[:8], ROWS[:8])
    (file,) = small_disk.rglob("*.npy")
    with file.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\xff")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert filled(opened(small_disk / "cache")) == 64
    assert any("damaged" in record.getMessage() for record in caplog.records)


def test_nowhere_to_write_is_an_error(tmp_path, passing, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    space = opened(tmp_path / "cache")
    shutil.rmtree(space.path)
    space.path.write_text("in its place")
    with pytest.raises(OutputError, match="make room, or set TMPDIR"):
        filled(space)
