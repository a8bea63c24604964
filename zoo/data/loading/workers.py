"""What runs where samples are read, be that this process or one that was started for it: reading, collating, and what went wrong.

torch notices at once when a worker of a DataLoader dies, and raises wherever the program is at that moment. Here that is heard of only
where a batch is awaited, so that it can be told in one line, and nothing else is torn. And since our workers pass over the signal by
which multiprocessing ends what is left when a program ends, they are killed before it waits for them.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import gc
import linecache
import multiprocessing
import os
import random
import signal
import sys
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from zoo import interrupts, registry
from zoo.backbones import generator
from zoo.backbones.backbone import Preprocess
from zoo.data.augmentation import train_transform
from zoo.data.loading.samplers import batch_seed, sample_seed
from zoo.data.sets import DatasetSet, SampleSet
from zoo.errors import ConfigError, DataError, ZooError

Key = tuple[int, int]
"""(epoch, index)"""
Read = tuple[int, "Tensor | Failure"]
"""The index of a batch's first sample, and the batch."""
_NOTHING = -1
Handler = Callable[[int, FrameType | None], Any]
PATIENCE = 1.0
"""Seconds until a worker that has closed its connection has ended."""
_ours: weakref.WeakSet[BaseProcess] = weakref.WeakSet()
_awaited: Sequence[BaseProcess] = ()
"""Whose batch the main thread waits for."""


@dataclass(frozen=True)
class Failure:
    """Why a batch could not be read: sent as a value, since an exception would arrive with its message changed."""

    message: str
    trace: str
    kind: type[ZooError] = DataError

    def error(self) -> ZooError:
        """To be raised; the trace is for --debug."""
        problem = self.kind(self.message)
        problem.add_note(self.trace)
        return problem


class Reader(Dataset[Any]):
    """Reads batches, each sample as it is in one epoch."""

    broken: Failure | None = None
    """Why this process cannot read at all."""

    def __init__(
        self, samples: SampleSet, preprocess: Preprocess, augment: str, seed: int, collate_fn: str | None, num_workers: int
    ) -> None:
        self.samples, self.preprocess, self.augment, self.seed = samples, preprocess, augment, seed
        self.collate_name = collate_fn
        self.collate: Callable[[list[Tensor]], Any] = preprocess.collate
        if collate_fn is not None:
            self.collate = registry.function("collate_fn", collate_fn)
        self.at_work = torch.full((num_workers, 2), _NOTHING).share_memory_()  # type: ignore[no-untyped-call]
        """`[workers, 2] int64`, seen by all processes: the number of each process, and the index that it is reading."""
        self._transform = train_transform(preprocess, augment)

    def __getstate__(self) -> dict[str, Any]:
        """Without what transforms, which may be a function that cannot be sent."""
        return {name: value for name, value in self.__dict__.items() if name != "_transform"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._transform = train_transform(self.preprocess, self.augment)

    def __getitems__(self, keys: list[Key]) -> Read:
        """A batch, or its first failure."""
        epoch, first = keys[0]
        if self.broken:
            return first, self.broken
        tensors = []
        for key in keys:
            found = self._sample(*key)
            if isinstance(found, Failure):
                return first, found
            tensors.append(found)
        return first, self._batch(tensors, batch_seed(self.seed, epoch, first))

    def _sample(self, epoch: int, index: int) -> Tensor | Failure:
        try:
            with self._noting(index), self._drawing(epoch, index):
                return self._transform(self.samples.item(index, self.preprocess.decode_at))
        except DataError as error:
            return Failure(str(error), traceback.format_exc())
        except Exception as error:
            return Failure(f"{self.samples.name(index)}: {reason(error)}", traceback.format_exc())

    def _drawing(self, epoch: int, index: int) -> contextlib.AbstractContextManager[None]:
        """Random numbers of the sample's own, where any are drawn: by what varies it, or by a user's data set."""
        own_code = isinstance(self.samples, DatasetSet)
        if self.augment == "none" and not own_code:
            return contextlib.nullcontext()  # to seed costs more than to tokenise a short text
        return seeded(sample_seed(self.seed, epoch, index), everywhere=own_code)

    def _batch(self, tensors: list[Tensor], seed: int) -> Tensor | Failure:
        if self.collate_name is None:
            try:
                return self.preprocess.collate(tensors)
            except ValueError as error:
                return Failure(str(error), traceback.format_exc())
        place = f"collate_fn {self.collate_name}"
        try:
            with seeded(seed, everywhere=True):
                batch = self.collate(tensors)
        except Exception as error:
            return Failure(f"{place}: {reason(error)}", traceback.format_exc(), ConfigError)
        if isinstance(batch, Tensor) and batch.ndim and len(batch) == len(tensors):
            return batch
        gave = (
            f"a tensor {list(batch.shape)}"
            if isinstance(batch, Tensor)
            else "nothing"
            if batch is None
            else f"a {type(batch).__name__}"
        )
        return Failure(
            f"{place}: it gave {gave} for {len(tensors)} samples; expected a tensor with a row for each", "", ConfigError
        )

    @contextlib.contextmanager
    def _noting(self, index: int) -> Iterator[None]:
        """Leave word of what is being read, for the case that this process does not come back."""
        worker = get_worker_info()
        if worker is not None:
            self.at_work.numpy()[worker.id] = os.getpid(), index
        yield
        if worker is not None:
            self.at_work.numpy()[worker.id, 1] = _NOTHING

    def lost(self, awaited: list[int]) -> list[int]:
        """The indices that workers were reading when they died, or else those among `awaited` that they are reading still."""
        reading = [(process, index) for process, index in self.at_work.tolist() if index != _NOTHING]
        living = {child.pid for child in multiprocessing.active_children()}
        dead = [index for process, index in reading if process not in living]
        return dead or [index for _, index in reading if index in awaited]


def reason(error: Exception) -> str:
    """An exception in one line; its type says more than the text of most."""
    said = str(error).strip().partition("\n")[0]
    return said if said and isinstance(error, ValueError) else f"{type(error).__name__}: {said}".removesuffix(": ")


@contextlib.contextmanager
def seeded(seed: int, *, everywhere: bool = False) -> Iterator[None]:
    """torch's generator for the CPU seeded for a while, then as it was (its state is no business of others).

    everywhere: Python's and numpy's global generators too, which a user's own code may draw from.
    """
    with generator.held():
        state = torch.get_rng_state()
        others = (random.getstate(), np.random.get_state()) if everywhere else None
        torch.default_generator.manual_seed(seed)
        if others:
            random.seed(seed)
            np.random.seed(seed & 0xFFFFFFFF)
        try:
            yield
        finally:
            torch.set_rng_state(state)
            if others:
                random.setstate(others[0])
                np.random.set_state(others[1])


def check_main() -> None:
    """Raises: ConfigError where the user's script would be run again, and come here again, by each worker that is not forked."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__" and "__file__" in frame.f_globals:
            line, file = frame.f_lineno, frame.f_globals["__file__"]
            tree = ast.parse("".join(linecache.getlines(file)))
            for node in tree.body:
                inside = node.lineno <= line <= (node.end_lineno or node.lineno)
                if inside and not (isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)):
                    raise ConfigError(
                        f"{file}, line {line}: workers that are not forked run this script again; put the call under "
                        '`if __name__ == "__main__":`, or use --multiprocessing-context fork'
                    )
        frame = frame.f_back


def as_it_is(batch: Any) -> Any:
    """In the place of a collate function: the reader gives whole batches."""
    return batch


def _pass_over(number: int, frame: FrameType | None) -> None:
    """For a signal that is not for this process. (One that is ignored would be so in every program that it starts, too.)"""


@dataclass(frozen=True)
class WorkerStart:
    """Sets up one worker process."""

    name: str | None = None
    function: Callable[[int], object] | None = None
    """What the user wants done there."""

    def __call__(self, number: int) -> None:
        # They reach every process of the terminal or the service; the trainer decides, and wants its workers until the step is done.
        for name in interrupts.SIGNALS:
            signal.signal(name, _pass_over)
        # What was inherited is left alone: collecting it would copy the parent's memory, and close what belongs to the parent.
        gc.freeze()
        if self.function is None:
            return
        try:
            self.function(number)
        except Exception as error:
            worker = get_worker_info()
            assert worker is not None  # torch calls this in a worker alone
            assert isinstance(worker.dataset, Reader)
            said = f"worker_init_fn {self.name}, worker {number}: {reason(error)}"
            worker.dataset.broken = Failure(said, traceback.format_exc(), ConfigError)


class WorkerEnded(Exception):
    """A worker whose batch is awaited has ended."""


class _Hear:
    """What hears that a child has ended; what was there before hears of those that are not our workers."""

    def __init__(self, before: Handler | None) -> None:
        self.before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _any_ended(_awaited):
            raise WorkerEnded("a worker has ended")
        if self.before is not None and not _any_ended(list(_ours)):
            self.before(number, frame)


def expect(workers: Sequence[BaseProcess]) -> None:
    """See to it that these do not outlive the program, and that nothing is torn where one dies."""
    _ours.update(workers)
    if hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
        found = signal.getsignal(signal.SIGCHLD)
        if not isinstance(found, _Hear):
            signal.signal(signal.SIGCHLD, _Hear(found if callable(found) else None))


@contextlib.contextmanager
def awaited(workers: Sequence[BaseProcess]) -> Iterator[None]:
    """Wait for these in here. Raises: WorkerEnded once one has ended, in the main thread at once, in others after torch's timeout."""
    global _awaited
    if _any_ended(workers):
        raise WorkerEnded("a worker has ended")
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _awaited = workers
    try:
        yield
    finally:
        _awaited = ()


def _any_ended(workers: Sequence[BaseProcess]) -> bool:
    return bool(workers and wait([worker.sentinel for worker in workers], timeout=0))


def exit_codes(workers: Sequence[BaseProcess]) -> dict[int | None, int]:
    """The exit status of each of these that has ended, by its number."""
    gone = wait([worker.sentinel for worker in workers], timeout=PATIENCE)
    for worker in workers:
        if worker.sentinel in gone:
            worker.join(PATIENCE)  # its connection closes a moment before the system has its status
    return {worker.pid: worker.exitcode for worker in workers if worker.exitcode is not None}


def exit_status(code: int) -> str:
    """An exit status for people."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"


@atexit.register
def end_workers() -> None:
    """Kill those that are left."""
    for worker in list(_ours):
        if worker.is_alive():
            worker.kill()
