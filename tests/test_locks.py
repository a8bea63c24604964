"""One process holds a lock, and it goes with that process alone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zoo import locks
from zoo.errors import OutputError

HOLDER = """
import os, sys, time
from pathlib import Path
from zoo import locks
with locks.alone(Path("lock"), "x is being written"):
    if "fork" not in sys.argv or os.fork() == 0:  # who has been forked says so, once it runs
        print(os.getpid(), flush=True)
    time.sleep(600)
"""


def holder(*words):
    """A process that holds the lock, and the number of its child, or its own."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, *words], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_the_second_process_is_refused_in_one_line_that_names_the_first():
    process, _ = holder()
    try:
        with (
            pytest.raises(
                OutputError, match=f"^x is being written by process {process.pid}; wait until it has ended, or stop it$"
            ),
            locks.alone(Path("lock"), "x is being written"),
        ):
            pass
    finally:
        process.kill()
        process.communicate()


def test_a_killed_holder_s_lock_is_free_though_its_forked_child_lives():
    process, child = holder("fork")
    try:
        process.kill()
        process.wait()
        os.kill(int(child), 0)  # it lives
        with locks.alone(Path("lock"), "x is being written") as descriptor:
            assert Path("lock").read_text() == f"{os.getpid()}\n"
            assert descriptor is not None
            assert not os.get_inheritable(descriptor)
    finally:
        os.kill(int(child), signal.SIGKILL)
        process.communicate()


def test_two_threads_of_one_process_exclude_each_other_and_nothing_is_left_behind():
    with (
        locks.alone(Path("lock"), "x"),
        pytest.raises(OutputError, match=f"process {os.getpid()}"),
        locks.alone(Path("lock"), "x"),
    ):
        pass
    assert not Path("lock").exists()
    with locks.alone(Path("lock"), "x"):
        pass


def test_what_was_handed_over_is_held_after_the_first_holder_has_gone():
    code = "import sys, time; from zoo import locks; locks.keep(int(sys.argv[1])); print('ready', flush=True); time.sleep(600)"
    descriptor = locks._take(Path("lock"), "x")
    assert descriptor is not None
    words = [sys.executable, "-c", code, str(descriptor)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, pass_fds=[descriptor]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        locks._held.discard(descriptor)
        os.close(descriptor)
        with pytest.raises(OutputError, match="x by process"), locks.alone(Path("lock"), "x"):
            pass
        process.kill()
        process.wait()
        with locks.alone(Path("lock"), "x"):
            pass
