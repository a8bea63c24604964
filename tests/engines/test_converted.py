"""A converted network is made once, checked each time, and held while it is read."""

import multiprocessing
import time

import pytest

from zoo import cache
from zoo.engines.conversions import converted_files


def convert(into):
    (into / "model.xml").write_text("a network")


def never(into):
    raise AssertionError("it was there")


def read(parent, convert):
    with converted_files(parent, "title", convert) as found:
        return (found / "model.xml").read_text()


@pytest.fixture
def parent(tmp_path):
    return cache.folder(tmp_path / "cache", "engines", {})


@pytest.mark.parametrize("name", ["model.xml", "manifest.json"])
@pytest.mark.parametrize("content", [b"another", b"a networK", b"", b"{}", b"[]", b"null", None])
def test_damage_is_said_and_converted_again(parent, name, content, caplog):
    read(parent, convert)
    assert read(parent, never) == "a network"
    file = parent / "title" / name
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    assert read(parent, convert) == "a network"
    (record,) = caplog.records
    assert "damaged; the network is converted again" in record.getMessage()
    assert read(parent, never) == "a network"


def test_where_the_cache_cannot_be_written_it_passes(parent, tmp_path, monkeypatch):
    (tmp_path / "passing").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "passing"))
    parent.rename(tmp_path / "elsewhere")
    parent.write_text("in its place")
    assert read(parent, convert) == read(None, convert) == "a network"
    assert list((tmp_path / "passing").iterdir()) == []


def _hold(parent, log, ready):
    def slowly(into):
        ready.set()
        time.sleep(0.5)
        with log.open("a") as file:
            file.write("converted\n")
        convert(into)

    with converted_files(parent, "title", slowly):
        time.sleep(0.5)


def test_two_processes_convert_once_and_nobody_removes_what_is_read(parent, tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    processes = [context.Process(target=_hold, args=(parent, tmp_path / "log", ready)) for _ in range(2)]
    for process in processes:
        process.start()
    assert ready.wait(60)
    assert cache.clear(tmp_path / "cache") == []
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert (tmp_path / "log").read_text() == "converted\n"
    assert len(cache.clear(tmp_path / "cache")) == 1
