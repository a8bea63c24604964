"""A process that has a library for itself: it ends with its parent, whatever ends that, and leaves nothing; it imports no torch."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from zoo.errors import EngineFailed
from zoo.runtimes import process
from zoo.runtimes.libraries import Shared
from zoo.runtimes.process import RuntimeProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

PARENT = """
import sys, time
from zoo.runtimes.process import RuntimeProcess
runtime = RuntimeProcess("onnxruntime")
try:
    runtime.ask("nothing", session=0)
except Exception as error:
    print(runtime.pid, error, flush=True)
{then}
"""


@contextlib.contextmanager
def parent(then: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A program with an engine's process, and the latter's number, once it has answered."""
    code = PARENT.format(then=then)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as program:
        assert program.stdout is not None
        yield program, int(program.stdout.readline().split()[0])
        program.wait(30)


def gone(pid: int, seconds: float = 30) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_ends_with_its_parent(number, stopped):
    """Also while it cannot hear of it."""
    before = set(Path("/dev/shm").iterdir())
    with parent("time.sleep(600)") as (program, pid):
        if stopped:
            os.kill(pid, signal.SIGSTOP)
        program.send_signal(number)
    assert gone(pid)
    assert set(Path("/dev/shm").iterdir()) <= before


@pytest.mark.parametrize("then", ["", "del runtime", "runtime.close()", "1 / 0", "import os; os._exit(0)"])
def test_it_ends_with_the_program(then):
    with parent(then) as (_, pid):
        pass
    assert gone(pid)


IN_A_THREAD = """
import threading
made = []
thread = threading.Thread(target=lambda: made.append(RuntimeProcess("onnxruntime")))
thread.start(); thread.join()
try:
    made[0].ask("nothing", session=0)
except Exception as error:
    print(made[0].pid, error, flush=True)
time.sleep(600)
"""


def test_it_outlives_a_thread_that_started_it_but_not_the_process():
    with parent(IN_A_THREAD) as (program, _):
        number, said = program.stdout.readline().split(maxsplit=1)
        assert "failed" in said
        program.kill()
    assert gone(int(number))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_is_sent_to_everybody_leaves_it_to_its_parent(number):
    with RuntimeProcess("onnxruntime") as runtime:
        assert os.getsid(runtime.pid) != os.getsid(0)
        with pytest.raises(EngineFailed, match="failed"):
            runtime.ask("nothing", session=0)
        os.kill(runtime.pid, number)
        with pytest.raises(EngineFailed, match="failed"):
            runtime.ask("nothing", session=0)


def test_a_forked_process_does_not_end_it():
    with RuntimeProcess("onnxruntime") as runtime:
        child = os.fork()
        if not child:
            runtime.close()
            os._exit(0)
        os.waitpid(child, 0)
        with pytest.raises(EngineFailed, match="failed"):
            runtime.ask("nothing", session=0)


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_it_imports_no_torch(name):
    with RuntimeProcess(name) as runtime:
        with pytest.raises(EngineFailed, match="failed"):
            runtime.ask("nothing", session=0)
        loaded = Path(f"/proc/{runtime.pid}/maps").read_text()
    assert "libtorch" not in loaded
    assert name in loaded


def test_a_folder_of_the_user_s_is_not_imported_from(tmp_path, monkeypatch):
    """It stands on the path where the program's own has it, and nowhere else."""
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    monkeypatch.chdir(tmp_path)
    Path("json.py").write_text("raise SystemExit(7)")
    with RuntimeProcess("onnxruntime") as runtime, pytest.raises(EngineFailed, match="failed"):
        runtime.ask("nothing", session=0)


def test_a_library_that_cannot_be_imported_is_said(tmp_path, monkeypatch):
    (tmp_path / "openvino.py").write_text("raise ImportError('libtbb.so.12: cannot open shared object file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with RuntimeProcess("openvino") as runtime, pytest.raises(EngineFailed, match=r"^the engine openvino failed: libtbb\.so\.12"):
        runtime.load("nowhere", (1, 3, 8, 8), threads=1)


def test_silence_is_waited_for_and_no_longer(monkeypatch):
    runtime = RuntimeProcess("onnxruntime")
    os.kill(runtime.pid, signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(EngineFailed, match="has not responded for 2 s"):
        runtime.ask("nothing", 2.0)
    assert time.monotonic() - began >= 2
    assert gone(runtime.pid)
    with pytest.raises(EngineFailed, match="has ended"):
        runtime.ask("nothing")
    assert process.LEAST >= 60


def test_shared_memory_grows_and_keeps_what_is_there():
    ours = Shared()
    theirs = Shared(os.dup(ours.file))
    ours.array((4, 3), np.float32)[...] = 7
    assert theirs.array((12,), np.float32).tolist() == [7.0] * 12
    theirs.array((1_000_000,), np.uint8)[-1] = 5
    assert ours.array((1_000_000,), np.uint8)[-1] == 5
    assert ours.array((2,), np.float32).tolist() == [7.0, 7.0]
    assert ours.array((0, 4), np.float32).shape == (0, 4)
    for shared in (ours, theirs):
        os.close(shared.file)


def test_a_small_dev_shm_is_enough():
    """The memory is not of that folder."""
    shared = Shared()
    shared.array((16 << 20,), np.uint8)[...] = 1
    assert str(Path(f"/proc/self/fd/{shared.file}").readlink()).startswith("/memfd:")
    os.close(shared.file)
