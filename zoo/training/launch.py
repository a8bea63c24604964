"""Processes: one Accelerator each, started by us through torch.distributed.run, or from outside by torchrun or accelerate."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs

from zoo import strategy
from zoo.config import FinetuneConfig
from zoo.errors import ConfigError, RunFailed

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for the others: long enough for rank 0 to write a checkpoint, short enough to notice a hang."""


def launched_processes() -> int:
    """How many processes torchrun or `accelerate launch` has started around this one; 1 if none has."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def accelerator(config: FinetuneConfig) -> Accelerator:
    """The process's Accelerator, of the device, precision and number of processes that `config` states.

    Raises: ConfigError if there are not as many processes as asked (`accelerate launch --cpu` silently starts one).
    """
    machine, kind = config.machine, strategy.parse(config.model.strategy).kind
    # Accelerate keeps its settings in the process; without this, a second run with another precision is refused.
    AcceleratorState._reset_state(reset_partial_state=launched_processes() == 1)
    made = Accelerator(
        cpu=machine.device == "cpu",
        mixed_precision=machine.precision,
        kwargs_handlers=[
            DistributedDataParallelKwargs(find_unused_parameters=kind == "gradual"),
            InitProcessGroupKwargs(timeout=TIMEOUT),
        ],
    )
    if made.num_processes != machine.processes:
        raise ConfigError(
            f"{made.num_processes} processes are running and {machine.processes} were asked for; "
            "start them with --processes, or with torchrun"
        )
    return made


def run_workers(run_path: Path, processes: int) -> None:
    """Train the prepared run in `run_path` with so many processes on this machine; returns when all have finished.

    Raises: ConfigError if there are fewer GPUs than processes; RunFailed naming what the first failing process said.
    """
    if torch.cuda.is_available() and torch.cuda.device_count() < processes:
        raise ConfigError(
            f"--processes {processes}: this machine has {torch.cuda.device_count()} GPUs, and each process needs one"
        )
    threads = max(1, (os.cpu_count() or 1) // processes)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    command += ["-m", "zoo.training.worker", str(run_path)]
    # stdout is the answer's; what workers have to say is for people.
    problem = run_path / "problem.txt"
    problem.unlink(missing_ok=True)
    with subprocess.Popen(command, env=environment, stdout=sys.stderr) as process:  # noqa: S603 - our own
        try:
            status = process.wait()
        except KeyboardInterrupt:  # the workers were told too; they write a checkpoint first
            process.wait()
            raise KeyboardInterrupt(f"stopped; go on with `zoo resume {run_path}`") from None
    if status != 0:
        said = problem.read_text(encoding="utf-8").strip() if problem.is_file() else f"a process ended with status {status}"
        raise RunFailed(f"{said} (go on with `zoo resume {run_path}`)")
