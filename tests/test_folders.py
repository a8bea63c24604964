"""Folders that exist only whole."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zoo import folders
from zoo.errors import CheckpointError, OutputError


def write(target, text, **options):
    with folders.whole(target, **options) as folder:
        (folder / "a.txt").write_text(text)
        (folder / "figures").mkdir()
        (folder / "figures" / "b.txt").write_text("b")


def test_the_manifest_states_every_file(tmp_path):
    write(tmp_path / "x", "one")
    entries = json.loads((tmp_path / "x" / "manifest.json").read_text())
    assert set(entries) == {"a.txt", "figures/b.txt"}
    assert entries["a.txt"] == {"size": 3, "sha256": hashlib.sha256(b"one").hexdigest()}
    assert folders.verify(tmp_path / "x") == entries
    assert [path.name for path in tmp_path.iterdir() if path.name[0] == "."] == []


def test_nothing_is_overwritten_unless_told(tmp_path):
    write(tmp_path / "x", "one")
    with pytest.raises(OutputError, match="exists"):
        write(tmp_path / "x", "two")
    assert (tmp_path / "x" / "a.txt").read_text() == "one"
    write(tmp_path / "x", "two", replace=True)
    assert (tmp_path / "x" / "a.txt").read_text() == "two"


def test_a_failure_leaves_the_old_folder_and_no_litter(tmp_path):
    write(tmp_path / "x", "one")

    def fail():
        with folders.whole(tmp_path / "x", replace=True) as folder:
            (folder / "a.txt").write_text("two")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert (tmp_path / "x" / "a.txt").read_text() == "one"
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir() and path.name != "work") == ["x"]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda x: (x / "a.txt").write_text("eno"), "a.txt: damaged"),
        (lambda x: (x / "a.txt").write_text("longer"), "a.txt: damaged"),
        (lambda x: (x / "a.txt").unlink(), "a.txt: missing"),
        (lambda x: (x / "manifest.json").unlink(), "it has no manifest.json"),
        (lambda x: (x / "manifest.json").write_text("[]"), "not a manifest"),
        (lambda x: (x / "manifest.json").write_text("{"), "not a manifest"),
    ],
)
def test_damage_is_named(tmp_path, damage, words):
    write(tmp_path / "x", "one")
    damage(tmp_path / "x")
    with pytest.raises(CheckpointError, match=words):
        folders.verify(tmp_path / "x")


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A folder with a file that is hashed while it is read, and one that is hashed before."""
    monkeypatch.setattr(folders, "LARGE", 1000)
    monkeypatch.setattr(folders, "CHUNK", 300)
    with folders.whole(tmp_path / "model") as folder:
        (folder / "weights").write_bytes(bytes(range(250)) * 40)
        (folder / "config").write_text("small")
    return tmp_path / "model"


def flip(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def test_what_is_hashed_while_it_is_read_counts_only_if_it_is_whole(large):
    assert folders.sha256(large / "weights") == hashlib.sha256((large / "weights").read_bytes()).hexdigest()
    assert folders.read_whole(large, lambda: "read", ["weights"]) == "read"
    with pytest.raises(KeyError, match="mine"):
        folders.read_whole(large, lambda: {}["mine"], ["weights"])
    flip(large / "weights")
    done = []
    for read in (lambda: done.append("read"), lambda: {}["of the damage"]):
        with pytest.raises(CheckpointError, match="weights: damaged"):
            folders.read_whole(large, read, ["weights"])
    assert done == ["read"]
    with pytest.raises(CheckpointError, match="weights: damaged"):
        folders.verify(large)


def test_what_says_how_to_read_is_hashed_before(large):
    flip(large / "config")
    with pytest.raises(CheckpointError, match="config: damaged"):
        folders.read_whole(large, lambda: pytest.fail("it was read"), ["weights"])


def test_files_are_readable_as_the_umask_says(tmp_path):
    before = os.umask(0o022)
    try:
        with folders.whole(tmp_path / "x") as folder:
            (folder / "a").touch(mode=0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "x" / "a").stat().st_mode & 0o777 == 0o644


def test_a_folder_that_lost_its_successor_comes_back(tmp_path):
    write(tmp_path / "x", "one")
    (tmp_path / "x").rename(tmp_path / ".old-x")
    folders.sweep(tmp_path)
    assert (tmp_path / "x" / "a.txt").read_text() == "one"


WRITERS = {"folder": "with folders.whole(path): pass", "file": "folders.write_bytes(path, b'x')"}


def writer(path, what):
    """A process in the midst of writing `path`: it has said so, and waits."""
    code = (
        "import os, sys, time; from pathlib import Path; from zoo import folders\n"
        "path = Path(sys.argv[1])\n"
        "os.fsync = lambda descriptor: (print('ready', flush=True), time.sleep(600))\n"
    )
    command = [sys.executable, "-c", code + WRITERS[what], str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".aside-")]


@pytest.mark.parametrize("what", WRITERS)
def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_stays(tmp_path, what):
    with writer(tmp_path / "x", what) as process:
        folders.sweep(tmp_path)
        assert len(hidden(tmp_path)) == 1
        process.kill()
    assert len(hidden(tmp_path)) == 1
    folders.sweep(tmp_path, "y")
    assert len(hidden(tmp_path)) == 1
    folders.sweep(tmp_path, "x")
    assert hidden(tmp_path) == []


def test_what_this_process_writes_stays_and_what_an_earlier_one_of_its_number_left_goes(tmp_path):
    """In a container, a run that is gone on with often has the number of the one that was killed."""
    with folders.whole(tmp_path / "x") as aside:
        (aside / "a").write_text("a")
        earlier = aside.with_name(aside.name + "0")
        earlier.mkdir()
        folders.sweep(tmp_path)
        assert not earlier.exists()
        assert aside.exists()
    assert (tmp_path / "x" / "a").exists()


def test_what_another_machine_writes_stays_for_a_day(tmp_path):
    with folders.whole(tmp_path / "x") as aside:
        other = tmp_path / aside.name.replace(folders._HOST, "00000000")
    other.write_text("")
    folders.sweep(tmp_path)
    assert other.exists()
    os.utime(other, (0, 0))
    folders.sweep(tmp_path)
    assert not other.exists()


def test_what_is_not_ours_is_not_swept(tmp_path):
    names = [".aside-notes", ".aside-x-1", ".aside-x-deadbeef-y-0", "aside-x-deadbeef-1-0", ".old-letters"]
    for name in names:
        (tmp_path / name).write_text("mine")
    with folders.whole(tmp_path / "x"):
        pass
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == set(names)


def test_the_longest_names_have_room(tmp_path):
    folders.write_text(tmp_path / ("ö" * 127), "x")
    with folders.whole(tmp_path / ("y" * 250)):
        pass
    assert {len(path.name) for path in tmp_path.iterdir() if path.name != "work"} == {127, 250}


def test_kill_at_any_moment_leaves_a_whole_folder(tmp_path):
    code = (
        "import sys; from pathlib import Path; from zoo import folders\n"
        "print('ready', flush=True)\n"
        "for i in range(100000):\n"
        "    with folders.whole(Path(sys.argv[1]), replace=True) as f:\n"
        "        (f / 'a').write_text(str(i)); (f / 'b').write_text(str(i))\n"
    )
    for _ in range(8):
        with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "x")], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            while not (tmp_path / "x").exists():
                pass
            process.send_signal(signal.SIGKILL)
        folders.sweep(tmp_path)
        folders.verify(tmp_path / "x")
        assert (tmp_path / "x" / "a").read_text() == (tmp_path / "x" / "b").read_text()


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write(tmp_path / "file" / "x", "one")
    with pytest.raises(OutputError, match="cannot be written"):
        folders.write_text(Path("/proc/zoo"), "x")


def test_folders_are_flushed_before_they_are_put_and_their_parent_before_the_old_one_goes(tmp_path, monkeypatch):
    """The system's order alone, which a kill does not show: without it, a power cut may leave neither."""
    write(tmp_path / "x", "one")
    flushed, flush = [], os.fsync

    def fsync(descriptor):
        name = Path(f"/proc/self/fd/{descriptor}").readlink().name
        flushed.append(
            (name, (tmp_path / "x" / "a.txt").read_text() if (tmp_path / "x").exists() else "", (tmp_path / ".old-x").exists())
        )
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write(tmp_path / "x", "two", replace=True)
    names = [name for name, _, _ in flushed]
    assert names[:3] == ["a.txt", "b.txt", "manifest.json"]
    assert "figures" in names[3:5]
    assert any(name.startswith(".aside-x") for name in names[3:5])
    assert all(text == "one" for _, text, _ in flushed[:-1])
    assert flushed[-1] == (tmp_path.name, "two", True)


def test_a_shared_file_takes_no_room_where_there_are_links_and_is_a_copy_elsewhere(tmp_path, monkeypatch):
    file, link, copy = tmp_path / "file", tmp_path / "link", tmp_path / "copy"
    file.write_bytes(b"weights")
    folders.share(file, link)
    assert link.stat().st_ino == file.stat().st_ino

    def refused(*_):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", refused)
    folders.share(file, copy)
    assert copy.read_bytes() == b"weights"
    assert copy.stat().st_ino != file.stat().st_ino
