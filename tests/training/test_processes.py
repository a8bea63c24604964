"""Several processes on one machine: they end with the one that started them, whatever ends it, and are heard by nobody outside."""

import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import psutil
import pytest
from waiting import wait_for

from zoo import api, folders
from zoo.errors import ConfigError, NonFinite, OutputError, RunFailed
from zoo.runs import Run
from zoo.training import launch

OPTIONS = {
    "backbone": "timm/test_vit.r160_in1k",
    "weights": "random",
    "strategy": "full",
    "image_size": 32,
    "augment": "light",
    "drop_path": 0.2,
    "batch_size": 100,
    "precision": "no",
    "checkpoint_every": 3,
    "tensorboard": False,
    "num_workers": 0,
    "processes": 2,
}
SECONDS = 20.0
"""In which processes end that lost what they train for. They take one or two; the rest is for a busy machine."""


def _flag(name):
    return f"--{name.replace('_', '-')}"


class Running:
    """A run of two processes that has written a checkpoint."""

    def __init__(self, out: Path, **changes):
        self.out = out
        options = {**OPTIONS, "epochs": 200, "out": out, **changes}
        words = [sys.executable, "-m", "zoo", "finetune", options.pop("backbone"), "--no-tensorboard"]
        words += [word for name, value in options.items() if name != "tensorboard" for word in (_flag(name), str(value))]
        self.parent = subprocess.Popen(
            words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True
        )
        try:
            wait_for(lambda: self.parent.poll() is not None or list((out / "checkpoints").glob("step-*")))
            assert self.parent.poll() is None
            self.children = psutil.Process(self.parent.pid).children()
            assert len(self.children) == 2
        except BaseException:
            self.end()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.end()

    def end(self):
        for process in [*getattr(self, "children", []), self.parent]:
            if isinstance(process, subprocess.Popen) or process.is_running():
                process.kill()
        self.parent.communicate()

    def says(self):
        """The exit status, and the last line."""
        _, errors = self.parent.communicate(timeout=120)
        return self.parent.returncode, errors.splitlines()[-1]

    def gone(self):
        """Seconds until the children have ended."""
        began = time.monotonic()
        _, alive = psutil.wait_procs(self.children, timeout=SECONDS)
        assert not alive
        return time.monotonic() - began


def listening(number):
    """The addresses that a process listens on."""
    inodes = set()
    for descriptor in Path(f"/proc/{number}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that which lists them
            if found := re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink())):
                inodes.add(found[1])
    addresses = []
    for table, make in (("tcp", _v4), ("tcp6", _v6)):
        for line in Path(f"/proc/{number}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                addresses.append(make(bytes.fromhex(fields[1].partition(":")[0])))
    return addresses


def _v4(raw):
    return IPv4Address(raw[::-1])


def _v6(raw):
    return IPv6Address(struct.pack("!4I", *struct.unpack("<4I", raw)))


def test_listening_sees_what_is_open_to_all():
    with socket.create_server(("", 0)), socket.create_server(("127.0.0.1", 0)):
        assert {"0.0.0.0", "127.0.0.1"} <= {str(address) for address in listening(os.getpid())}


def test_a_run_of_two_processes_is_its_own(tmp_path):
    """Nobody outside can reach it, no other process trains it, and its processes end with the one that started them."""
    with Running(tmp_path / "run") as run:
        heard = [address for child in run.children for address in listening(child.pid)]
        assert heard
        assert all(address.is_loopback for address in heard)

        before = (run.out / "metrics.jsonl").read_bytes()
        with pytest.raises(
            OutputError, match=rf"^{run.out} is being trained by process {run.parent.pid}; wait until it has ended"
        ):
            api.resume(run.out)
        assert (run.out / "metrics.jsonl").read_bytes().startswith(before)

        run.parent.kill()
        run.parent.wait()
        run.gone()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["terminated", "group terminated", "hung up", "one terminated"])
def test_stopped_processes_write_a_checkpoint_first(tmp_path, how):
    with Running(tmp_path / "run", num_workers=2) as run:
        number = signal.SIGHUP if how == "hung up" else signal.SIGTERM
        if how == "group terminated":
            os.killpg(run.parent.pid, number)
        else:
            (run.children[1] if how == "one terminated" else run.parent).send_signal(number)
        status, line = run.says()
        assert status == 128 + number
        assert re.fullmatch(rf"zoo: stopped by {number.name} at step \d+; go on with `zoo resume {run.out}`", line)
        run.gone()
        state = sorted((run.out / "checkpoints").iterdir())[-1] / "state.json"
        assert f"at step {json.loads(state.read_text())['state']['step']};" in line


@pytest.mark.slow
def test_what_its_killed_parent_left_goes_on_to_the_same_bytes(tmp_path):
    out = tmp_path / "run"
    with Running(out, epochs=2, checkpoint_every=1) as run:
        run.parent.kill()
        run.parent.wait()
        run.gone()
    api.resume(out)
    api.finetune(**{**OPTIONS, "epochs": 2, "checkpoint_every": 1}, out=str(tmp_path / "undisturbed"))
    for file in ("best/model.safetensors", "checkpoints/step-00000026/optimizer.safetensors"):
        assert folders.sha256(out / file) == folders.sha256(tmp_path / "undisturbed" / file)


@pytest.mark.slow
def test_a_killed_process_is_named_and_the_others_end(tmp_path):
    with Running(tmp_path / "run") as run:
        run.children[1].kill()
        status, line = run.says()
        assert status == 1
        assert line.startswith("zoo: process 2 of 2 was killed by SIGKILL; most often memory ran out (go on with `zoo resume ")
        run.gone()


@pytest.mark.slow
def test_what_a_process_says_is_said(tmp_path):
    with pytest.raises(
        RunFailed, match=r"^process [12] of 2: the loss is (nan|inf) at step \d+ .*use --precision no \(--detect-anomaly .*\n"
    ):
        api.finetune(**{**OPTIONS, "lr": 100.0, "optimizer": "sgd", "clip": None}, out=str(tmp_path / "run"))


@pytest.mark.parametrize(("kind", "raised"), [(ConfigError, ConfigError), (NonFinite, RunFailed)])
def test_what_would_be_found_again_is_not_to_be_gone_on_with(tmp_path, monkeypatch, kind, raised):
    run = Run(tmp_path)
    (run.checkpoints / "step-00000001").mkdir(parents=True)
    monkeypatch.setenv("RANK", "1")
    launch.report(tmp_path, kind("clip is -1; give a positive one"), "")
    failed = launch._failure([1, 1], tmp_path, run)
    assert (type(failed), str(failed)) == (raised, "process 2 of 2: clip is -1; give a positive one")


@pytest.mark.parametrize("checkpoints", [0, 1])
def test_how_to_go_on_is_said_where_there_is_something_to_go_on_from(tmp_path, checkpoints):
    run = Run(tmp_path)
    if checkpoints:
        (run.checkpoints / "step-00000001").mkdir(parents=True)
    for code, how in ((-signal.SIGKILL, "was killed by SIGKILL; most often memory ran out"), (3, "ended with status 3")):
        failed = launch._failure([0, code], tmp_path, run)
        hint = f" (go on with `zoo resume {tmp_path}`)" if checkpoints else ""
        assert (type(failed), str(failed)) == (RunFailed, f"process 2 of 2 {how}{hint}")


def test_a_process_without_its_parent_does_not_begin():
    code = "from zoo.training import launch; import time; launch.end_with(1); time.sleep(600)"
    done = subprocess.run([sys.executable, "-c", code], timeout=120)
    assert done.returncode == -signal.SIGKILL


def test_another_thread_does_not_train_beside(tmp_path):
    """Both would draw from torch's one generator."""
    inside, leave = threading.Event(), threading.Event()

    def train():
        with launch.one_run():
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        assert inside.wait(60)
        with pytest.raises(ConfigError, match=r"^another thread of this process trains, .*in a process of its own$"):
            api.finetune("timm/test_vit.r160_in1k", weights="random", out=str(tmp_path / "run"))
        assert not (tmp_path / "run").exists()
    finally:
        leave.set()
        thread.join()


SCRIPT = """
import zoo
print("begins")
zoo.finetune(
    "timm/test_vit.r160_in1k", weights="random", strategy="full", image_size=32, epochs=1, num_workers=2,
    multiprocessing_context="spawn", tensorboard=False, out="run", augment="light",
)
"""


def test_a_script_that_workers_would_run_again_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=250)
    assert (done.returncode, done.stdout) == (1, "begins\n")
    said = f"zoo.errors.ConfigError: {script}, line 4: workers that are not forked run this script again; put the call under `if "
    assert done.stderr.splitlines()[-1].startswith(said)
