"""Whatever happens to a file of the cache, its rows are those that were computed, or one line says why there are none."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from zoo import cache
from zoo.cache import KEY, Space
from zoo.errors import RunFailed

FACTS = {"weights": "abc"}
KEYS = np.array([f"{number:064x}" for number in range(6)], KEY)
ROWS = np.arange(6 * 40, dtype=np.float32).reshape(6, 40)


def opened(root):
    return Space(cache.folder(root, "features", FACTS), (40,), "<f4")


def fill(space):
    """How many rows had to be computed."""

    def compute(mine):
        for start in range(0, len(mine), 2):
            space.append(KEYS[mine[start : start + 2]], ROWS[mine[start : start + 2]])

    computed = space.fill(KEYS, compute)
    assert np.array_equal(space.rows(KEYS)[:], ROWS)
    return computed


@pytest.fixture
def kept(tmp_path):
    """Three shards of two rows."""
    fill(opened(tmp_path))
    return tmp_path


def shards(root):
    return sorted(root.glob("*/*/*.npy"))


def flip(place):
    def harm(file):
        content = bytearray(file.read_bytes())
        content[place] ^= 0x80
        file.write_bytes(content)

    return harm


def into_nan(file):
    content = bytearray(file.read_bytes())
    content[-4:] = np.float32("nan").tobytes()
    file.write_bytes(content)


HARMS = {
    "number": flip(-1),
    "key": flip(130),
    "header": flip(20),
    "magic": flip(0),
    "shape": lambda file: file.write_bytes(file.read_bytes().replace(b"(2,)", b"(9,)")),
    "nan": into_nan,
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-7]),
    "cut to the header": lambda file: file.write_bytes(file.read_bytes()[:50]),
    "empty": lambda file: file.write_bytes(b""),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"\0"),
    "text": lambda file: file.write_text("not numbers"),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_damaged_shard_is_said_and_computed_again(kept, harm, caplog):
    file = shards(kept)[1]
    HARMS[harm](file)
    assert fill(opened(kept)) == 2
    (record,) = caplog.records
    assert str(file) in record.getMessage()
    assert "computed again" in record.getMessage()
    assert cache.verify(kept) == []
    assert fill(opened(kept)) == 0


def test_a_shard_in_the_place_of_another_gives_no_rows(kept):
    first, second, _ = shards(kept)
    shutil.copy(first, second)
    assert fill(opened(kept)) == 2
    assert cache.verify(kept) == []


def test_many_damaged_shards_are_one_line(kept, caplog):
    for file in shards(kept):
        into_nan(file)
    assert fill(opened(kept)) == 6
    (record,) = caplog.records
    assert "3 shards are damaged" in record.getMessage()


def test_shards_that_nobody_asks_for_are_not_read_through(kept, caplog):
    """A cache may hold a hundred times as much as one run needs."""
    whole, *damaged = shards(kept)
    wanted = np.load(whole)["key"]
    for file in damaged:
        into_nan(file)
    assert opened(kept).has(wanted).all()
    assert caplog.records == []


@pytest.mark.parametrize("text", ["[]", "null", "", '{"weights": "ab', '{"weights": "abd"}', "\x00\x00", "gone", "other bytes"])
def test_damaged_facts_are_written_again(kept, text, caplog):
    (file,) = kept.glob("*/*/facts.json")
    before = file.read_bytes()
    if text == "gone":
        file.unlink()
    else:
        file.write_bytes(b"\xff\xfe" if text == "other bytes" else text.encode())
    assert cache.read_facts(file.parent) is None
    assert [entry.facts for entry in cache.entries(kept)] == [{}]
    assert fill(opened(kept)) == 0
    assert file.read_bytes() == before
    assert [record.getMessage() for record in caplog.records] == [f"{file}: damaged; written anew"] * (text != "gone")


def test_damaged_facts_are_found_by_verify(kept):
    (file,) = kept.glob("*/*/facts.json")
    file.write_text("[]")
    assert cache.verify(kept) == [file]
    assert fill(opened(kept)) == 0


@pytest.mark.parametrize("harm", ["removed", "replaced", "all removed"])
def test_rows_in_use_outlive_their_files(kept, harm):
    rows = opened(kept).rows(KEYS)
    file = shards(kept)[1]
    if harm == "removed":
        file.unlink()
    elif harm == "replaced":
        (kept / "other").write_bytes(b"other")
        (kept / "other").replace(file)
    else:
        shutil.rmtree(kept / "features")
    assert np.array_equal(rows[:], ROWS)
    assert np.array_equal(rows.read(), ROWS)


@pytest.mark.parametrize("harm", sorted(HARMS.keys() - {"longer"}))
def test_a_shard_that_is_damaged_while_it_is_used_is_one_line(kept, harm):
    """To read beyond the end of a file that was cut would end the process by a signal."""
    rows = opened(kept).rows(KEYS)
    file = shards(kept)[1]
    HARMS[harm](file)
    with pytest.raises(RunFailed, match=r"\.npy: changed on the disk while it was in use; start again: it is computed anew"):
        rows.read()
    assert fill(opened(kept)) == 2


def test_a_shard_that_was_only_touched_is_as_good_as_before(kept):
    rows = opened(kept).rows(KEYS)
    for file in shards(kept):
        file.chmod(0o600)
        file.touch()
    assert np.array_equal(rows[:], ROWS)


_MANY = """
import resource, sys
from pathlib import Path
import numpy as np
from zoo import cache
from zoo.cache import KEY, Space
resource.setrlimit(resource.RLIMIT_NOFILE, (60, 300))
keys = np.array([f"{number:064x}" for number in range(120)], KEY)
space = Space(cache.folder(Path(sys.argv[1]), "features", {}), (3,), "<f4")
for number in range(120):
    space.append(keys[number : number + 1], np.full((1, 3), number, np.float32))
print(len(Space(space.path, (3,), "<f4").rows(keys).read()))
"""


def test_more_shards_than_files_that_may_be_open(tmp_path):
    """A process may have 1,024 open files on most systems, and more if it asks."""
    answer = subprocess.run([sys.executable, "-c", _MANY, tmp_path], capture_output=True, text=True, check=False)
    assert (answer.stdout, answer.stderr) == ("120\n", "")


def test_a_folder_that_goes_while_it_is_filled_costs_nothing(tmp_path):
    space = opened(tmp_path)

    def compute(mine):
        for index in mine:
            space.append(KEYS[index : index + 1], ROWS[index : index + 1])
            shutil.rmtree(space.path)

    assert space.fill(KEYS, compute) == 6
    assert np.array_equal(space.rows(KEYS)[:], ROWS)
