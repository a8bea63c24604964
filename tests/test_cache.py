"""Rows come back as they were put in, whoever put them; damage and kills cost what is damaged alone."""

import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from zoo import cache
from zoo.cache import KEY, Shards, Space
from zoo.errors import ConfigError, OutputError


def keys(*numbers):
    return np.array([hashlib.sha256(str(number).encode()).hexdigest() for number in numbers], KEY)


def rows(*numbers):
    return np.stack([np.full((2, 3), number, np.float32) for number in numbers])


@pytest.fixture
def space(tmp_path):
    return Space(cache.folder(tmp_path, "features", {"weights": "abc"}), (2, 3), "<f4")


def reopened(space):
    return Space(space.path, (2, 3), "<f4")


def test_rows_come_back_in_the_order_asked_for(space):
    space.append(keys(5, 1, 9), rows(5, 1, 9))
    space.append(keys(7, 0), rows(7, 0))
    again = reopened(space)
    assert len(again) == 5
    found = again.rows(keys(0, 9, 5, 0, 7))
    assert found.shape == (5, 2, 3)
    assert np.array_equal(found[:], rows(0, 9, 5, 0, 7))
    assert np.array_equal(found[1:3], rows(9, 5))
    assert np.array_equal(found[np.array([4, 0])], rows(7, 0))
    with pytest.raises(KeyError):
        again.rows(keys(0, 3))


def test_missing_names_the_first_of_each(space):
    space.append(keys(1, 2), rows(1, 2))
    assert reopened(space).missing(keys(3, 1, 4, 3, 2)).tolist() == [0, 2]
    assert space.missing(keys(1, 2)).tolist() == []


def test_a_space_belongs_to_its_facts(tmp_path):
    first = cache.folder(tmp_path, "features", {"weights": "abc", "size": 8})
    assert cache.folder(tmp_path, "features", {"size": 8, "weights": "abc"}) == first
    others = [{"weights": "abd", "size": 8}, {"weights": "abc", "size": 9}, {"weights": "abc"}]
    assert len({first, *(cache.folder(tmp_path, "features", other) for other in others)}) == 4
    assert json.loads((first / cache.FACTS).read_text()) == {"weights": "abc", "size": 8}


def test_what_is_not_a_shard_is_left_out_and_said(space, caplog):
    space.append(keys(1), rows(1))
    (space.path / "cut.npy").write_bytes(next(space.path.glob("*.npy")).read_bytes()[:100])
    np.save(space.path / "other.npy", np.zeros(3))
    (space.path / "text.npy").write_text("not numbers")
    with caplog.at_level("WARNING", "zoo"):
        again = reopened(space)
    assert len(again) == 1
    assert sorted(record.getMessage().partition(": ")[0].rpartition("/")[2] for record in caplog.records) == [
        "cut.npy",
        "other.npy",
        "text.npy",
    ]


def test_a_flipped_bit_is_found_and_the_shard_removed(space, tmp_path):
    space.append(keys(1), rows(1))
    space.append(keys(2), rows(2))
    assert cache.verify(tmp_path) == []
    shard = sorted(space.path.glob("*.npy"))[0]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    assert cache.verify(tmp_path) == [shard]
    assert len(reopened(space)) == 1


def test_shards_keep_what_was_collected_before_an_error(space):
    def work():
        with Shards(space) as shards:
            shards.add(keys(1), rows(1))
            shards.add(keys(2), rows(2))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert reopened(space).has(keys(1, 2, 3)).tolist() == [True, True, False]


def test_a_shard_is_closed_by_size(space, monkeypatch):
    monkeypatch.setattr(Shards, "BYTES", 50)
    with Shards(space) as shards:
        for number in range(6):
            shards.add(keys(number), rows(number))
        assert len(list(space.path.glob("*.npy"))) == 2
    assert len(reopened(space)) == 6


_WRITER = """
import os, sys, time
import numpy as np
from zoo.cache import KEY, Space
space = Space(__import__("pathlib").Path(sys.argv[1]), (1000,), "<f4")
for number in range(10_000):
    space.append(np.array([f"{number:064d}"], KEY), np.full((1, 1000), number, np.float32))
    print(number, flush=True)
"""


def test_a_kill_leaves_whole_shards(tmp_path):
    path = cache.folder(tmp_path, "features", {})
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE) as process:
            for _ in range(20):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
    space = Space(path, (1000,), "<f4")
    assert len(space) >= 20
    found = space.rows(np.array([f"{number:064d}" for number in range(len(space))], KEY))
    assert np.array_equal(found[:], np.tile(np.arange(len(space), dtype=np.float32)[:, None], 1000))
    assert cache.verify(tmp_path) == []


def _hold(path, numbers, ready, seconds):
    """Claim the keys, and compute them after a while."""
    space = Space(path, (2, 3), "<f4")

    def compute(mine):
        ready.set()
        time.sleep(seconds)
        space.append(keys(*numbers)[mine], rows(*numbers)[mine])

    space.fill(keys(*numbers), compute)


@pytest.fixture
def holding(space):
    """Starts processes that claim keys, and gives them back when they have."""
    context, started = multiprocessing.get_context("spawn"), []

    def start(numbers, seconds):
        ready = context.Event()
        process = context.Process(target=_hold, args=(space.path, numbers, ready, seconds))
        process.start()
        started.append(process)
        assert ready.wait(60)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()


def filled(space, *numbers):
    """The keys that had to be computed here."""
    computed = []

    def compute(mine):
        computed.extend(np.array(numbers)[mine].tolist())
        space.append(keys(*numbers)[mine], rows(*numbers)[mine])

    assert space.fill(keys(*numbers), compute) == len(computed)
    assert np.array_equal(space.rows(keys(*numbers))[:], rows(*numbers))
    return computed


def test_nothing_is_computed_twice_and_what_others_compute_is_waited_for(space, holding, caplog):
    caplog.set_level("INFO", "zoo")
    other = holding([1, 2, 3], 1.5)
    assert filled(space, 3, 4, 2, 5) == [4, 5]
    assert [record.getMessage() for record in caplog.records] == ["another process is computing the same; waiting for it"]
    other.join(60)
    assert filled(reopened(space), 1, 2, 3, 4, 5) == []


def test_other_keys_wait_for_nobody(space, holding, caplog):
    caplog.set_level("INFO", "zoo")
    other = holding([1, 2, 3], 60)
    assert filled(space, 4, 5) == [4, 5]
    assert other.is_alive()
    assert caplog.records == []


def test_the_claim_of_a_killed_process_goes_with_it(space, holding):
    holding([1, 2, 3], 60).kill()
    assert filled(space, 1, 2) == [1, 2]
    assert not list(space.path.glob(".claim-*"))


def test_a_claim_is_not_inherited_by_a_forked_process(space):
    """Workers that read samples are forked while their parent computes; they may outlive it."""
    ready, end = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with space.claim(keys(1, 2)):
            worker = os.fork()
            if not worker:
                os.write(ready[1], b"1")
                os.read(end[0], 1)
                os._exit(0)
            time.sleep(60)
    os.read(ready[0], 1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    began = time.monotonic()
    assert filled(reopened(space), 1, 2) == [1, 2]
    os.write(end[1], b"1")
    assert time.monotonic() - began < 30


def test_the_option_and_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("ZOO_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache.place("off") is None
    assert cache.place(str(tmp_path)) == tmp_path
    assert cache.place(None) == Path.home() / ".cache" / "zoo"
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    assert cache.place(None) == Path("/elsewhere/zoo")
    monkeypatch.setenv("ZOO_CACHE", "/mine")
    assert cache.place(None) == Path("/mine")


def test_a_folder_that_was_named_and_cannot_be_made_is_an_error_at_the_start(tmp_path):
    (tmp_path / "file").write_text("")
    for option in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=r"--cache .*give another --cache, or --cache off"):
            cache.asked_for(str(option))
    assert cache.asked_for(str(tmp_path / "new")).is_dir()


def test_a_place_that_cannot_be_written_is_one_warning(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    assert cache.folder(tmp_path / "file", "features", {}) is None
    assert cache.folder(tmp_path / "file", "features", {"other": 1}) is None
    (record,) = caplog.records
    assert "cannot be written" in record.getMessage()
    assert cache.folder(None, "features", {}) is None


def test_without_a_home_nothing_is_kept(tmp_path):
    script = "import os, pwd; pwd.getpwuid = lambda n: (_ for _ in ()).throw(KeyError(n)); from zoo import cache; print(cache.place(None))"
    environment = {name: value for name, value in os.environ.items() if name not in ("HOME", "ZOO_CACHE", "XDG_CACHE_HOME")}
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert answer.stdout == "None\n"


@pytest.fixture
def three(tmp_path):
    """Spaces of 10, 20 and 30 rows; the first was used longest ago."""
    for age, count in ((300, 10), (200, 20), (100, 30)):
        path = cache.folder(tmp_path, "features" if count < 30 else "images", {"count": count})
        Space(path, (100,), "<f4").append(keys(*range(count)), np.zeros((count, 100), np.float32))
        then = time.time() - age * 86_400
        os.utime(path / cache.FACTS, (then, then))
    return tmp_path


def test_entries_and_clear(three):
    assert [(entry.kind, entry.rows) for entry in cache.entries(three)] == [("images", 30), ("features", 20), ("features", 10)]
    assert [entry.rows for entry in cache.clear(three, older_than_days=250)] == [10]
    with pytest.raises(ConfigError, match="nothing of the kind 'feature'; there is: features, images"):
        cache.clear(three, "feature")
    assert [entry.rows for entry in cache.clear(three, "features")] == [20]
    assert [entry.rows for entry in cache.clear(three)] == [30]
    assert cache.entries(three) == []


def test_trim_forgets_what_was_unused_for_the_longest(three):
    oldest, middle = (entry for entry in reversed(cache.entries(three)) if entry.kind == "features")
    cache.folder(three, "features", oldest.facts)  # used just now
    cache.trim(three, 20_000)
    assert [entry.rows for entry in cache.entries(three)] == [10, 30]
    assert not middle.path.exists()


def test_trim_spares_what_is_in_use(three):
    newest = cache.entries(three)[0]
    oldest = cache.entries(three)[-1]
    with Space(newest.path, (100,), "<f4").claim(keys(99)):
        cache.trim(three, 1, spare=[oldest.path])
    assert {entry.path for entry in cache.entries(three)} == {newest.path, oldest.path}
