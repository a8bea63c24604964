"""`zoo finetune`: a new run, from its options to its card."""

from __future__ import annotations

import contextlib
import json
import shutil
from contextlib import ExitStack
from typing import Any

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from zoo import runs
from zoo.config import Resolved
from zoo.data import notices
from zoo.data.splits import Splits
from zoo.errors import ZooError
from zoo.jobs import runner
from zoo.jobs.preparing import Extras, Prepared, announce, prepare, say
from zoo.jobs.shipping import Trained, shipped
from zoo.runs import Run
from zoo.training import launch


def finetune(resolved: Resolved, given: Extras) -> Run:
    """Train a new run and finish it. Raises: ZooError; Stopped."""
    with launch.one_run(), ExitStack() as held:
        return shipped(_train(prepare(resolved, given), held))


def _train(prepared: Prepared, held: ExitStack) -> Trained:
    """Raises: ZooError; what was set up only to fail is removed again. held: takes the lock of the run, for whoever finishes it."""
    config, splits = prepared.config, prepared.splits
    if prepared.resolved.origins["data"] == "default":
        say(f"no --data: training on the built-in digits; give a folder to train on your own {splits.facts.kind.nouns}")
    announce(splits)
    machine = None if prepared.own_workers else launch.accelerator(config)
    run = _create(prepared.resolved, splits, machine)
    is_main = machine is None or machine.is_main_process
    lock = held.enter_context(runs.alone(run)) if is_main else None
    try:
        with runs.resumable(run):
            if machine is not None:
                return runner.train_run(run, prepared, machine)
            launch.run_workers(run.path, config.machine.processes, lock)
            return Trained(run, splits, prepared.metric, is_main)
    except (ZooError, OSError):
        if is_main and run.status == "empty":
            shutil.rmtree(run.path, ignore_errors=True)
            if config.output.out is None:
                with contextlib.suppress(OSError):  # other runs lie in it
                    run.path.parent.rmdir()
        raise


def _create(resolved: Resolved, splits: Splits, machine: Accelerator | None) -> Run:
    """Make the run's directory, once for all ranks."""
    paths: list[Any] = [None]
    if machine is None or machine.is_main_process:
        try:
            files = {"splits.json": json.dumps(splits.record(), indent=1), runs.NOTICES: notices.as_csv(splits.facts.notices)}
            run, _ = runs.create(resolved, files)
            paths = [str(run.path)]
        except ZooError as error:
            paths = [error]
    if machine is not None and machine.num_processes > 1:
        broadcast_object_list(paths)
    if isinstance(paths[0], ZooError):
        raise paths[0]
    return runs.open_run(paths[0])
