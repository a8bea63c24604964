"""Processes beside each other: what one works in is not removed by another, and what killed ones left goes."""

import subprocess
import sys
import time
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

from zoo import cache
from zoo.cache import KEY, Space

_FILLS = """
import sys, time
from pathlib import Path
import numpy as np
from zoo import cache
from zoo.cache import KEY, Space
root, pause = Path(sys.argv[1]), float(sys.argv[2])
for round in range(int(sys.argv[3])):
    keys = np.array([f"{round:032x}{number:032x}" for number in range(8)], KEY)
    rows = np.full((8, 3), round, np.float32)
    space = Space(cache.folder(root, "features", {"round": round % 3}), (3,), "<f4")
    def compute(mine):
        for index in mine:
            space.append(keys[index : index + 1], rows[index : index + 1])
            print("wrote", flush=True)
            time.sleep(pause)
    space.fill(keys, compute)
    assert np.array_equal(space.rows(keys).read(), rows)
print("done", flush=True)
"""

_PASSES = """
import time
from zoo import cache
path = cache.passing()
(path / "rows.npy").write_bytes(b"1")
print(path, flush=True)
time.sleep(600)
"""


@pytest.fixture
def python(monkeypatch, tmp_path):
    """Starts a script with arguments."""
    (tmp_path / "passing").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "passing"))
    monkeypatch.setattr("tempfile.tempdir", None)
    started = []

    def start(script, *arguments):
        process = subprocess.Popen([sys.executable, "-c", script, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_clear_leaves_what_a_living_process_fills(python, tmp_path):
    process = python(_FILLS, tmp_path / "cache", 0.2, 1)
    assert process.stdout.readline() == "wrote\n"
    assert cache.clear(tmp_path / "cache") == []
    assert process.communicate(timeout=60)[0].endswith("done\n")
    assert [entry.rows for entry in cache.clear(tmp_path / "cache")] == [8]
    assert cache.entries(tmp_path / "cache") == []


def test_clear_takes_what_a_killed_process_was_filling(python, tmp_path):
    process = python(_FILLS, tmp_path / "cache", 60, 1)
    assert process.stdout.readline() == "wrote\n"
    process.kill()
    process.wait()
    assert [entry.kind for entry in cache.clear(tmp_path / "cache")] == ["features"]


def test_clearing_all_the_time_ends_no_run_and_leaves_no_folder(python, tmp_path):
    process, removed = python(_FILLS, tmp_path / "cache", 0.0, 40), 0
    until = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < until:
        removed += len(cache.clear(tmp_path / "cache")) if cache.entries(tmp_path / "cache") else 0
    assert process.communicate(timeout=60)[0].endswith("done\n")
    assert removed
    cache.clear(tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").glob("*/*")] == []


_CLEARED_AS_IT_IS_MADE = """
import re, shutil, sys
from pathlib import Path
from zoo import cache

def clear(event, arguments):
    folder = Path(str(arguments[0])).parent if event == "open" else None
    if folder and "facts.json" in str(arguments[0]) and re.fullmatch("[0-9a-f]{32}", folder.name) and folder.exists():
        shutil.rmtree(folder)

sys.addaudithook(clear)
print(cache.folder(Path(sys.argv[1]), "features", {"a": 1}), flush=True)
"""


def test_a_folder_that_is_cleared_as_soon_as_it_is_there_has_its_facts_from_its_first_moment(python, tmp_path):
    made = python(_CLEARED_AS_IT_IS_MADE, tmp_path / "cache").communicate(timeout=60)[0].strip()
    assert cache.read_facts(Path(made)) == {"a": 1}


def test_clear_takes_what_a_process_was_making_when_it_was_killed(python, tmp_path):
    process = python("import sys; from zoo import folders; from pathlib import Path\nwith folders.whole(Path(sys.argv[1])): "
                     "print(1, flush=True); __import__('time').sleep(600)", tmp_path / "cache" / "features" / "a")  # fmt: skip
    assert process.stdout.readline() == "1\n"
    process.kill()
    process.wait()
    assert list((tmp_path / "cache" / "features").iterdir())
    cache.clear(tmp_path / "cache")
    assert not list((tmp_path / "cache" / "features").iterdir())


def test_what_a_killed_process_kept_for_itself_goes_with_the_next(python, tmp_path):
    killed, living = python(_PASSES), python(_PASSES)
    left, used = (Path(process.stdout.readline().strip()) for process in (killed, living))
    killed.kill()
    killed.wait()
    own = cache.passing()
    assert sorted((tmp_path / "passing").iterdir()) == sorted([used, own])
    cache.release(own)
    assert not own.exists()
    assert not left.exists()


def test_what_a_process_kept_for_itself_goes_when_it_ends(python, tmp_path):
    process = python(_PASSES.replace("time.sleep(600)", ""))
    process.communicate(timeout=60)
    assert list((tmp_path / "passing").iterdir()) == []


def test_a_space_can_be_sent_to_another_process(tmp_path):
    keys, rows = np.array([f"{number:064x}" for number in range(4)], KEY), np.ones((4, 3), np.float32)
    space = Space(cache.folder(tmp_path, "features", {}), (3,), "<f4")
    space.append(keys, rows)
    sent = ForkingPickler.dumps(space)
    assert len(sent) < 2000
    assert np.array_equal(ForkingPickler.loads(sent).rows(keys)[:], rows)
