"""Signals that ask to stop: when each acts, and what is said."""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from zoo import interrupts
from zoo.errors import EngineFailed, RunFailed
from zoo.interrupts import Stopped
from zoo.runtimes.process import RuntimeProcess
from zoo.training import launch

# What is stopped has to be in the block that is expected to stop.
# ruff: noqa: PT012
NUMBERS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def send(number: int) -> None:
    """To this process; Python runs the handler before the next line."""
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(("number", "status"), NUMBERS.items())
def test_the_first_acts_at_once_where_nothing_is_to_be_brought_to_its_end(number: int, status: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Stopped) as caught, interrupts.handled(), interrupts.hinting("go on with `zoo resume x`"):
        send(number)
        pytest.fail("it was passed over")
    assert caught.value.exit_status == status
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    assert str(caught.value) == f"stopped{by}; go on with `zoo resume x`"
    assert signal.getsignal(number) is before


def test_the_first_waits_where_work_is_deferred_and_the_second_does_not() -> None:
    done = []
    with pytest.raises(Stopped) as caught, interrupts.handled(), interrupts.deferred():
        send(signal.SIGTERM)
        done.append("step")
        assert interrupts.pending() == signal.SIGTERM
        send(signal.SIGINT)
        done.append("never")
    assert (done, caught.value.number) == (["step"], signal.SIGINT)


def test_what_was_deferred_is_not_forgotten() -> None:
    with pytest.raises(Stopped, match="^stopped by SIGHUP$"), interrupts.handled():
        with interrupts.deferred():
            send(signal.SIGHUP)
        pytest.fail("it was forgotten at the end of what deferred it")
    with pytest.raises(Stopped), interrupts.handled(), interrupts.deferred():
        send(signal.SIGTERM)
        interrupts.check()
        pytest.fail("it was passed over")


def test_to_a_patient_process_the_second_is_nothing() -> None:
    """It was told by whoever started it, and by the terminal."""
    with pytest.raises(Stopped, match="^stopped by SIGTERM$"), interrupts.handled(patient=True), interrupts.deferred():
        send(signal.SIGTERM)
        send(signal.SIGTERM)
        send(signal.SIGINT)
        interrupts.check()


def test_a_process_begun_with_nohup_outlives_its_terminal() -> None:
    code = "import os, signal; from zoo import interrupts\nwith interrupts.handled(): os.kill(os.getpid(), signal.SIGHUP); print('lives')"
    done = subprocess.run(["nohup", sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "lives\n")


def test_the_third_of_a_kind_is_the_system_s() -> None:
    code = """
import os, signal
from zoo import interrupts
with interrupts.handled():
    for _ in range(3):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except BaseException as error:
            print(error, flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "stopped by SIGTERM\n" * 2)


@pytest.mark.parametrize(("words", "imported"), [("zoo list", "cyclopts"), ("zoo.jobs.worker run folder 1", "torch")])
def test_ctrl_c_while_the_command_is_imported_leaves_no_traceback(tmp_path, words, imported):
    """What it imports first asks for it."""
    (tmp_path / f"{imported}.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    search = os.pathsep.join([str(tmp_path), *sys.path])
    done = subprocess.run(
        [sys.executable, "-m", *words.split()], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": search}
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def sent_at_start(folder: Path, module: str, number: int) -> None:
    """Have a process of a module send itself a signal before it imports anything of ours."""
    code = f"import os, sys\nif {module!r} in sys.orig_argv: os.kill(os.getpid(), {int(number)})\n"
    (folder / "sitecustomize.py").write_text(code)


@pytest.mark.parametrize("number", NUMBERS)
def test_an_engine_outlives_a_signal_that_comes_before_its_first_import(tmp_path, monkeypatch, number):
    """Its run decides, which may have to save something."""
    sent_at_start(tmp_path, "zoo.runtimes", number)
    monkeypatch.syspath_prepend(tmp_path)
    with RuntimeProcess("onnxruntime") as runtime, pytest.raises(EngineFailed, match="onnxruntime failed: 0"):
        runtime.ask("nothing", session=0)


def test_a_training_process_that_is_starting_leaves_no_traceback_of_ctrl_c(tmp_path, monkeypatch, capfd):
    sent_at_start(tmp_path, "zoo.jobs.worker", signal.SIGINT)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    with pytest.raises(RunFailed, match="process 1 of 1 was killed by SIGINT"):
        launch.run_workers(tmp_path, 1, None)
    assert capfd.readouterr() == ("", "")


def test_a_signal_that_comes_while_a_process_is_started_is_not_lost() -> None:
    with pytest.raises(Stopped, match="^stopped by SIGTERM$"), interrupts.handled(), interrupts.withheld():
        send(signal.SIGTERM)
        assert interrupts.pending() == 0


def test_other_threads_and_forked_children_hear_nothing() -> None:
    heard = []
    with pytest.raises(Stopped), interrupts.handled(), interrupts.deferred():
        send(signal.SIGTERM)
        thread = threading.Thread(target=lambda: heard.append(interrupts.pending()))
        thread.start()
        thread.join()
        child = os.fork()
        if not child:
            send(signal.SIGTERM)
            os._exit(interrupts.pending())
        heard.append(os.waitpid(child, 0)[1])
    assert heard == [0, 0]


def test_an_import_is_brought_to_its_end_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An extension's C++ that is being initialised turns an exception into an abort of the process."""
    monkeypatch.syspath_prepend(tmp_path)
    text = "import os, pathlib, signal\nos.kill(os.getpid(), signal.SIGTERM)\npathlib.Path(__file__).with_name('whole').touch()\n"
    (tmp_path / "slow_to_import.py").write_text(text)
    with pytest.raises(Stopped, match="^stopped by SIGTERM$"), interrupts.handled():
        importlib.import_module("slow_to_import")
        time.sleep(60)
        pytest.fail("it was forgotten at the end of the import")
    assert (tmp_path / "whole").is_file()


def test_a_second_signal_does_not_wait_for_an_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    text = "import os, signal\nfor _ in range(2): os.kill(os.getpid(), signal.SIGTERM)\nraise AssertionError\n"
    (tmp_path / "hangs_in_import.py").write_text(text)
    with pytest.raises(Stopped), interrupts.handled():
        importlib.import_module("hangs_in_import")


def test_a_module_that_trains_while_it_is_imported_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    text = "import os, signal\nfrom zoo import interrupts\n"
    text += "with interrupts.handled():\n    os.kill(os.getpid(), signal.SIGTERM)\n    raise AssertionError\n"
    (tmp_path / "trains_in_import.py").write_text(text)
    with pytest.raises(Stopped):
        importlib.import_module("trains_in_import")


def test_a_signal_while_handlers_are_put_back_is_for_those_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would raise in the midst of that: handlers of ours stayed for ever, and took the next signal for the second."""
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    put = signal.signal

    def interrupted(number: int, handler: Any) -> Any:
        monkeypatch.setattr(signal, "signal", put)
        send(signal.SIGTERM)
        return put(number, handler)

    try:
        try:
            with interrupts.handled():
                monkeypatch.setattr(signal, "signal", interrupted)
        except Stopped:
            pytest.fail("zoo's own handler heard it")
        assert heard == [signal.SIGTERM]
        with pytest.raises(Stopped), interrupts.handled(), interrupts.deferred():
            send(signal.SIGTERM)
            heard.append(interrupts.pending())
        assert heard == [signal.SIGTERM, signal.SIGTERM]
    finally:
        put(signal.SIGTERM, before)


def test_a_signal_that_waited_for_an_import_is_not_for_what_is_begun_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one ended the first call; what waits for the end of the import has nothing more to send."""
    monkeypatch.syspath_prepend(tmp_path)
    text = "import os, signal\nfor _ in range(2): os.kill(os.getpid(), signal.SIGTERM)\nraise AssertionError\n"
    (tmp_path / "stops_twice_in_import.py").write_text(text)
    with pytest.raises(Stopped), interrupts.handled():
        importlib.import_module("stops_twice_in_import")
    with interrupts.handled(), interrupts.deferred():
        time.sleep(0.2)
        assert interrupts.pending() == 0
