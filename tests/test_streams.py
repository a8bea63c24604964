"""A terminal that goes while a program still has something to say."""

import contextlib
import os
import pty
import re
import signal
import sys
import threading

import pytest
from waiting import wait_for

from zoo import streams
from zoo.runs import Run
from zoo.streams import Bar
from zoo.training.trackers.terminal import Terminal

VALUES = {"loss": 1.0, "samples_per_second": 10.0, "waiting": 0.5}
RECORD = {"metrics": {"accuracy": 0.5}, "best": True, "train_loss": 1.0, "epoch": 1, "seconds": 1.0, **VALUES}


@pytest.fixture
def gone(monkeypatch):
    """A terminal that nobody sees any more."""
    monkeypatch.setenv("TERM", "xterm")
    master, slave = pty.openpty()
    with contextlib.ExitStack() as after:
        stream = after.enter_context(open(slave, "w"))  # noqa: PTH123 - a descriptor
        after.callback(streams.silence, stream)

        def hang_up():
            os.close(master)

        yield stream, hang_up


def test_the_fixture_is_as_a_terminal_that_went(gone):
    stream, hang_up = gone
    assert stream.isatty()
    hang_up()
    with pytest.raises(OSError, match="Input/output error"):
        print("?", file=stream, flush=True)


def test_what_cannot_be_shown_is_not(gone):
    stream, hang_up = gone
    lasting = streams.lasting(stream)
    assert lasting.isatty()
    assert lasting.fileno() == stream.fileno()
    hang_up()
    print("a line", file=lasting, flush=True)
    streams.silence(stream)
    stream.flush()


def test_progress_outlives_its_terminal(gone):
    stream, hang_up = gone
    with contextlib.closing(Terminal(10, 0, "accuracy", stream)) as terminal, Bar(10, "features", stream) as bar:
        assert terminal.progress
        terminal.step(1, VALUES)
        hang_up()
        terminal.step(2, VALUES)
        terminal.evaluation(2, RECORD)
        bar.advance(5)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_training_whose_terminal_goes_writes_a_checkpoint(tmp_path, processes):
    run = Run(tmp_path / "run")
    words = f"""-m zoo finetune timm/test_vit.r160_in1k --weights random --freeze full --image-size 32 --batch-size 100 --precision no
        --epochs 500 --checkpoint-every 1000 --num-workers 0 --processes {processes} --out {run.path}""".split()
    child, master = pty.fork()
    if not child:
        os.environ["TERM"] = "xterm"
        os.execv(sys.executable, [sys.executable, *words])
    shown: list[bytes] = []

    def read():
        with contextlib.suppress(OSError):
            while seen := os.read(master, 1 << 16):
                shown.append(seen)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        wait_for(lambda: re.search(rb"loss \d.*samples/s", shown[-1] if shown else b""))
        os.close(master)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    assert status == 128 + signal.SIGHUP, b"".join(shown)[-2000:]
    assert run.status == "resumable"
