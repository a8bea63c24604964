"""Processes: one Accelerator each, started by us, or from outside by torchrun or accelerate; and when all of them stop.

Those that we start meet at a file and talk over the loopback interface alone, whatever the machine's other addresses are; they end with
the process that started them, however that ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs
from torch import distributed

from zoo import interrupts, strategy, upstream
from zoo.config import FinetuneConfig, Resolved
from zoo.engines import precision
from zoo.errors import CheckpointError, ConfigError, DataError, RunFailed, WeightsError, ZooError
from zoo.interrupts import Stopped
from zoo.runs import Run

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others: long enough for rank 0 to write a checkpoint, short enough to notice a hang."""
GRACE = 10.0
"""Seconds that the other processes have to end by themselves once one has."""
_training = threading.Lock()
_MENDABLE: tuple[type[ZooError], ...] = (ConfigError, DataError, WeightsError, CheckpointError)
"""Failures that are told as they are; all others are the run's."""
Reason = Literal["", "time", "interrupt"]


@contextlib.contextmanager
def one_run() -> Iterator[None]:
    """Train (or try a step) in here: signals ask to stop, and no other thread of this process trains.

    Accelerate's state is one a process. (torch's generators are too: `zoo.backbones.generator`.)

    Raises: ConfigError where another thread trains.
    """
    if not _training.acquire(blocking=False):
        raise ConfigError(
            "another thread of this process trains, and Accelerate has one state for both; go on after it, or in a process of its own"
        )
    try:
        with interrupts.handled():
            yield
    finally:
        _training.release()


def is_first() -> bool:
    """Whether this is the process that writes, of those that torchrun has started; true where it has started none."""
    return os.environ.get("RANK", "0") == "0"


def launched_processes() -> int:
    """How many processes torchrun or `accelerate launch` has started around this one; 1 if none has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def accelerator(config: FinetuneConfig) -> Accelerator:
    """The process's Accelerator, of the device, precision and number of processes that `config` states.

    Raises: ConfigError if there are not as many processes as asked (`accelerate launch --cpu` silently starts one).
    """
    machine, asked = config.machine, strategy.parse(config.model.strategy)
    upstream.forget_accelerators(processes_too=launched_processes() == 1)
    made = Accelerator(
        cpu=machine.device == "cpu",
        mixed_precision=machine.precision,
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=asked.phased),
            InitProcessGroupKwargs(timeout=TIMEOUT),
        ],
    )
    if made.num_processes != machine.processes:
        raise ConfigError(
            f"{made.num_processes} processes are running and {machine.processes} were asked for; "
            "start them with --processes, or with torchrun"
        )
    return made


def settle(resolved: Resolved) -> Resolved:
    """Decide what was left to the machine: device, precision, processes. Raises: ConfigError."""
    machine = resolved.config.machine
    device = precision.resolve_device(machine.device)
    if machine.feature_precision == "auto":
        resolved = resolved.settle("precision", feature_precision="no" if machine.precision == "auto" else machine.precision)
    arithmetic = precision.resolve_precision(machine.precision, device)
    launched = launched_processes()
    if launched > 1 and machine.processes not in (1, launched):
        raise ConfigError(f"--processes {machine.processes}, but {launched} processes were launched")
    for name, value in (("device", device.type), ("precision", arithmetic), ("processes", max(launched, machine.processes))):
        if getattr(resolved.config.machine, name) != value:
            resolved = resolved.settle("machine", **{name: value})
    return resolved


def run_workers(run_path: Path, processes: int, lock: int | None) -> None:
    """Train the prepared run in `run_path` with so many processes on this machine; returns when all have finished.

    lock: descriptor of the lock of the run, which all of them hold.

    Raises: ConfigError if there are fewer GPUs than processes; ZooError naming the process that failed first and what it said;
    Stopped once they have written a checkpoint.
    """
    if torch.cuda.is_available() and torch.cuda.device_count() < processes:
        raise ConfigError(
            f"--processes {processes}: this machine has {torch.cuda.device_count()} GPUs, and each process needs one"
        )
    folder = run_path / ".processes"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    children: list[subprocess.Popen[bytes]] = []
    try:
        with interrupts.deferred():
            for rank in range(processes):
                children.append(_start(run_path, folder, rank, processes, lock))
            codes = _wait(children)
            if any(codes):
                raise _failure(codes, folder, Run(run_path))
    finally:
        for child in children:
            child.kill()
            child.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _start(run_path: Path, folder: Path, rank: int, world: int, lock: int | None) -> subprocess.Popen[bytes]:
    numbers = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world}
    loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
    environment = {
        "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // world)),
        **os.environ,
        **{name: str(number) for name, number in numbers.items()},
        "GLOO_SOCKET_IFNAME": loopback,
        "NCCL_SOCKET_IFNAME": loopback,
    }
    command = [sys.executable, "-m", "zoo.jobs.worker", str(run_path), str(folder), str(os.getpid())]
    command += [] if lock is None else [str(lock)]
    handed = () if lock is None else (lock,)
    # stdout is for the result; what workers have to say is for people. (2 is stderr, also where `sys.stderr` is not a file: in a notebook.)
    with interrupts.withheld():
        return subprocess.Popen(command, env=environment, stdout=2, pass_fds=handed)  # noqa: S603 - our own


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> list[int | None]:
    """The exit statuses once all have ended, or some have failed and the others had their time; None: still running.

    A signal is passed on, once: those that it has reached already do not mind.
    """
    told, deadline = False, None
    while True:
        codes = [child.poll() for child in children]
        if interrupts.pending() and not told:
            told = True
            for child in children:
                child.terminate()
        if deadline is None and any(codes):
            deadline = time.monotonic() + GRACE
        if None not in codes or (deadline is not None and time.monotonic() > deadline):
            return codes
        time.sleep(0.02)


def _failure(codes: Sequence[int | None], folder: Path, run: Run) -> ZooError | Stopped:
    """Why processes ended before they had finished, by what each has left (`report`)."""
    world, said = len(codes), {}
    for rank in range(world):
        with contextlib.suppress(OSError, ValueError):
            said[rank] = json.loads((folder / f"{rank}.json").read_text(encoding="utf-8"))
    stopped = [one for one in said.values() if one["signal"]]
    if stopped or interrupts.pending():
        where = next((one["where"] for one in stopped if one["where"]), "")
        return Stopped(interrupts.pending() or stopped[0]["signal"], where)
    # What a process has found fault with would be found again; and without a checkpoint there is nothing to go on from.
    how = f" (go on with `zoo resume {run.path}`)" if run.status == "resumable" else ""
    for rank, code in enumerate(codes):
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            hint = "; most often memory ran out" if -code == signal.SIGKILL else ""
            return RunFailed(f"process {rank + 1} of {world} was killed by {name}{hint}{how}")
    if said:
        rank = min(said, key=lambda rank: said[rank]["time"])
        kind = next((kind for kind in _MENDABLE if kind.__name__ == said[rank]["kind"]), RunFailed)
        failed = kind(f"process {rank + 1} of {world}: {said[rank]['text']}")
        failed.add_note(said[rank]["trace"])
        return failed
    rank, code = next((rank, code) for rank, code in enumerate(codes) if code)
    return RunFailed(f"process {rank + 1} of {world} ended with status {code}{how}")


def report(folder: Path, error: BaseException, trace: str) -> None:
    """In one of the processes: leave word of why it ends."""
    stopped = isinstance(error, Stopped)
    said: dict[str, Any] = {
        "time": time.monotonic(),
        "signal": error.number if isinstance(error, Stopped) else 0,
        "kind": next((kind.__name__ for kind in _MENDABLE if isinstance(error, kind)), ""),
        "where": error.where if isinstance(error, Stopped) else "",
        "text": str(error) if stopped or isinstance(error, ZooError) else f"unexpected {type(error).__name__}: {error}",
        "trace": trace,
    }
    (folder / f"{os.environ['RANK']}.json").write_text(json.dumps(said), encoding="utf-8")


def meet(folder: Path, device: str) -> None:
    """In one of the processes: join the others. No address is looked up, and none but the loopback's is listened on."""
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if device == "cuda":
        torch.cuda.set_device(rank)
    store = distributed.FileStore(str(folder / "store"), world)  # type: ignore[attr-defined]
    distributed.init_process_group(
        "nccl" if device == "cuda" else "gloo", store=store, rank=rank, world_size=world, timeout=TIMEOUT
    )


def end_with(parent: int) -> None:
    """Let this process end as soon as the one that started it does, even by SIGKILL."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)

    # Where there is no such call, and where the parent ended before it was made.
    threading.Thread(target=watch, daemon=True).start()


class Stopper(AbstractContextManager["Stopper"]):
    """Lets the step at hand come to its end when a signal asks to stop.

    Args:
        max_minutes: limit on the training time, that of earlier sittings (`seconds_before`) included.
    """

    def __init__(self, accelerator: Accelerator, max_minutes: float | None, seconds_before: float) -> None:
        self.accelerator = accelerator
        self.limit = None if max_minutes is None else 60 * max_minutes
        self.seconds_before = seconds_before
        self.began = time.perf_counter()
        self.signal = 0
        """Number of the signal for which to stop, the same on all processes."""
        self.contexts = ExitStack()

    def __enter__(self) -> Stopper:
        self.contexts.enter_context(interrupts.handled())
        self.contexts.enter_context(interrupts.deferred())
        return self

    def __exit__(self, *exception: object) -> None:
        self.contexts.__exit__(*exception)  # type: ignore[arg-type]

    @property
    def seconds(self) -> float:
        """Wall time of training, earlier sittings included."""
        return self.seconds_before + time.perf_counter() - self.began

    def reason(self) -> Reason:
        """Why to stop after this step, the same on all processes; empty if there is no reason."""
        late = self.limit is not None and self.seconds >= self.limit
        self.signal, stop = interrupts.pending(), int(late)
        if self.accelerator.num_processes > 1:
            codes = self.accelerator.gather(torch.tensor([[self.signal, stop]], device=self.accelerator.device))
            self.signal, stop = codes.amax(dim=0).tolist()
        return "interrupt" if self.signal else "time" if stop else ""
