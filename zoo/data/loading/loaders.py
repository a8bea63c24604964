"""Batches of samples that depend on (seed, epoch, index) alone: not on workers, processes, or where a run was resumed.

Workers are forked on Linux: a script needs no `if __name__ == "__main__"` and a data set no pickling, they start in
milliseconds, and torch holds them to one thread. A forked worker only runs Pillow and tensor code on the CPU; should one hang all
the same, a timeout names what it was reading. (Tried with four busy threads beside: 240 workers, none hung; but if a thread draws
random numbers by torch at the moment of the fork, a worker can inherit the generator's lock as held.) Other systems start workers
their own way.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, TypedDict, Unpack

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from zoo import imports, registry
from zoo.backbones.backbone import Preprocess
from zoo.config import LoaderConfig
from zoo.data.loading.orders import Sampling, make_plan
from zoo.data.loading.samplers import Share, StepPlan, evaluation_shares
from zoo.data.loading.workers import (
    Failure,
    Key,
    Reader,
    WorkerStart,
    as_it_is,
    awaited,
    check_main,
    exit_codes,
    exit_status,
    expect,
)
from zoo.data.sets import Integers, SampleSet
from zoo.errors import ConfigError, RunFailed, ZooError

TIMEOUT = 300.0
"""Seconds that one batch may take to read."""


@dataclass(frozen=True)
class Batch:
    """Samples for one forward pass, in the main memory."""

    inputs: Tensor
    """`[b, ...]`, as `Preprocess.collate` gives them: of images `[b, 3, S, S] uint8`."""
    targets: Tensor
    """`[b] int64`; of other tasks `[b, C] float32`."""
    weights: Tensor
    """`[b] float32`: 1, or 0 for a sample that only fills a place and must not count."""
    indices: Tensor
    """`[b] int64`, into the sample set."""


class Loading(TypedDict, total=False):
    """Who reads, and how: torch's DataLoader has the same names. None of them changes a byte of what is read."""

    num_workers: int
    """Processes that read; 0, the default, reads in this one."""
    pin_memory: bool
    """For a GPU."""
    timeout: float
    """Seconds that a worker may take for one micro-batch; 0: any time."""
    worker_init_fn: str | None
    """Name of what each worker runs first, with its number."""
    prefetch_factor: int | None
    """Micro-batches that each worker reads ahead; None: 2."""
    persistent_workers: bool
    """Whether those of an `EvalBatches` stay for its next pass."""
    multiprocessing_context: str | None
    """How they start; None: by fork on Linux, else as the system does."""
    in_order: bool
    """Whether an `EvalBatches` gives its batches in order, or each as it comes."""


def loading(options: LoaderConfig, num_workers: int, device: str) -> Loading:
    """What these options say. device: what the batches go to, `cpu` or `cuda`."""
    return {
        "num_workers": num_workers,
        "pin_memory": device == "cuda" if options.pin_memory is None else options.pin_memory,
        "timeout": TIMEOUT if options.timeout is None else options.timeout,
        "worker_init_fn": options.worker_init_fn,
        "prefetch_factor": options.prefetch_factor,
        "persistent_workers": options.persistent_workers is not False,
        "multiprocessing_context": options.multiprocessing_context,
        "in_order": options.in_order,
    }


class TrainBatches:
    """Training batches by step; `StepPlan` says which samples, `sample_seed` how each is varied."""

    def __init__(
        self,
        samples: SampleSet,
        preprocess: Preprocess,
        *,
        batch_size: int,
        augment: str = "none",
        accumulate: int = 1,
        least: int = 1,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        sampling: Sampling | None = None,
        collate_fn: str | None = None,
        **how: Unpack[Loading],
    ) -> None:
        """
        Args:
            samples: at least one.
            preprocess: the backbone's.
            batch_size: samples in a step, over all ranks and micro-batches.
            augment: how they are varied (`zoo.data.augmentation`).
            accumulate: micro-batches that a rank splits its chunk of a step into.
            least: samples that every micro-batch has at least; a shorter tail of an epoch joins the step before it.
            sampling: which samples, in what order; None: every sample once an epoch, at random.
            collate_fn: name of what makes a batch of prepared samples (`zoo.register_collate`); None: the backbone's own.

        Raises: UnknownName, ConfigError.
        """
        share = {"rank": rank, "world": world, "accumulate": accumulate, "least": least}
        self.plan = make_plan(samples, batch_size, seed, **share, **(sampling or {}))
        self._reader = Reader(samples, preprocess, augment, seed, collate_fn, how.get("num_workers", 0))
        how["persistent_workers"], how["in_order"] = False, True
        self._how = how

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in a pass over the samples."""
        return self.plan.steps_per_epoch

    def step_size(self, step: int) -> int:
        """Samples of a step, over all ranks: what the sum of its losses is divided by."""
        return self.plan.step_size(step)

    def name(self, index: int) -> str:
        """What people call a sample."""
        return self._reader.samples.name(index)

    def steps(self, start: int, stop: int) -> Iterator[tuple[int, list[Batch]]]:
        """Each step from `start` to before `stop`, counted over all epochs, with this rank's micro-batches.

        One set of workers serves all of them, so that an epoch's end costs nothing, and resuming is but another start.

        Raises: DataError naming the sample that cannot be read; RunFailed if a worker died or hangs.
        """
        loader = _loader(self._reader, _TrainKeys(self.plan, start, stop), **self._how)
        with contextlib.closing(_Feed(loader, self._reader)) as feed:
            for step in range(start, stop):
                yield step, [feed.next(share) for share in self.plan.shares(step)]


class EvalBatches:
    """Every sample (or some) once, the largest first where they differ in size, so that batches have little padding; in batches of equal
    number and sizes on all ranks (see `evaluation_shares` for what fills them up)."""

    def __init__(
        self,
        samples: SampleSet,
        preprocess: Preprocess,
        *,
        batch_size: int,
        augment: str = "none",
        only: Integers | None = None,
        epoch: int = 0,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        **how: Unpack[Loading],
    ) -> None:
        """
        Args:
            batch_size: counts the samples of one rank.
            only: indices of the samples to read, in this order where all are of one size; None: all.
            epoch, seed: samples are varied as training's epoch varies them.

        The rest is as of `TrainBatches`.
        """
        chosen = np.arange(len(samples), dtype=np.int64) if only is None else only
        sizes = samples.sizes
        if sizes is not None:
            chosen = chosen[np.argsort(-sizes[chosen], kind="stable")]
        self.count = len(chosen)
        """Number of different samples, over all ranks."""
        shares = evaluation_shares(len(chosen), batch_size, rank, world)
        self._shares = [Share(chosen[share.indices], share.weights) for share in shares]
        self._reader = Reader(samples, preprocess, augment, seed, None, how.get("num_workers", 0))
        keys = [[(epoch, int(index)) for index in share.indices] for share in self._shares]
        self._make = partial(_loader, self._reader, keys, **how)
        self._loader = self._make()

    def __len__(self) -> int:
        """Number of batches, the same on every rank."""
        return len(self._shares)

    def __iter__(self) -> Iterator[Batch]:
        """Raises: DataError, RunFailed, as `TrainBatches.steps`."""
        by_first = None if self._loader.in_order else {int(share.indices[0]): share for share in self._shares}
        try:
            with contextlib.closing(_Feed(self._loader, self._reader)) as feed:
                for share in self._shares:
                    yield feed.next(share, by_first)
        except ZooError:
            # Lets go of the workers at once: found as garbage later, they would not hear of it for seconds.
            self._loader = self._make()
            raise


@dataclass(frozen=True)
class _TrainKeys:
    """The keys of each micro-batch from one step to before another; worked out as they are asked for."""

    plan: StepPlan
    start: int
    stop: int

    def __iter__(self) -> Iterator[list[Key]]:
        for step in range(self.start, self.stop):
            epoch = self.plan.epoch(step)
            for share in self.plan.shares(step):
                yield [(epoch, int(index)) for index in share.indices]


def _loader(reader: Reader, keys: Iterable[list[Key]], **how: Unpack[Loading]) -> DataLoader[Any]:
    """Without workers, what is about them is left out: torch refuses it."""
    name = how.get("worker_init_fn")
    start = WorkerStart(name, None if name is None else registry.function("worker_init_fn", name))
    workers: dict[str, Any] = {}
    if how.get("num_workers"):
        context = how.get("multiprocessing_context") or ("fork" if sys.platform == "linux" else None)
        if context != "fork":
            check_main()
        workers = {
            "num_workers": how["num_workers"],
            "timeout": how.get("timeout", TIMEOUT),
            "worker_init_fn": start,
            "prefetch_factor": how.get("prefetch_factor"),
            "persistent_workers": how.get("persistent_workers", True),
            "multiprocessing_context": context,
            "in_order": how.get("in_order", True),
        }
    try:
        return DataLoader(
            reader,
            batch_sampler=keys,  # (epoch, index) pairs, which only the reader sees
            collate_fn=as_it_is,
            pin_memory=how.get("pin_memory", False),
            generator=torch.Generator(),  # else each pass would draw a number from the global one
            **workers,
        )
    except ValueError as error:  # of another system's ways to start processes
        raise ConfigError(str(error).splitlines()[0]) from error


class _Feed:
    """A pass over a loader: joins what the workers read with what this process knows, and words their failures."""

    def __init__(self, loader: DataLoader[Any], reader: Reader) -> None:
        self.reader, self.samples = reader, reader.samples
        imports.wait()
        try:
            self.iterator = iter(loader)
        except Exception as error:  # what is sent to a process that is not forked may raise anything
            raise _not_started(loader, reader, error) from error
        self.workers: list[BaseProcess] = list(getattr(self.iterator, "_workers", ()))
        if self.workers:
            expect(self.workers)

    def next(self, share: Share, by_first: Mapping[int, Share] | None = None) -> Batch:
        """The batch of a share; or whichever is read first, of those that `by_first` has by their first index."""
        try:
            with awaited(self.workers) if self.workers else contextlib.nullcontext():
                first, inputs = next(self.iterator)
        except Exception as error:  # a worker that dies while it hands over a batch may leave anything
            if not self.workers:
                raise
            # A value, not a cause: the frames behind it would keep the workers until they are found as garbage.
            first, inputs = 0, self._lost(error, share)
            for worker in self.workers:
                worker.kill()
        if isinstance(inputs, Failure):
            raise inputs.error()
        if by_first is not None:
            share = by_first[first]
        indices = torch.from_numpy(share.indices)
        targets = torch.from_numpy(self.samples.targets[share.indices])
        return Batch(inputs, targets, torch.from_numpy(share.weights), indices)

    def _lost(self, error: Exception, share: Share) -> Failure:
        """A worker that died or hangs: what it was reading, and what may help."""
        ended = exit_codes(self.workers)
        said = "; ".join(f"worker process {number} {exit_status(code)}" for number, code in ended.items())
        said = said or str(error).partition("\n")[0].strip(" .")
        lost = self.reader.lost(share.indices.tolist())
        names = [self.samples.name(index) for index in lost or share.indices[:3].tolist()]
        reading = f"reading {', '.join(names)}{'' if lost else ', ...'} failed: {said}"
        if "timed out" in said:
            hint = "is the disk slow, or gone? --num-workers 0 reads without workers, --timeout 0 waits for ever"
        else:
            hint = "most often memory (or /dev/shm) ran out: use a smaller --num-workers"
        return Failure(f"{reading}; {hint}", traceback.format_exc(), RunFailed)

    def close(self) -> None:
        """Let go of the workers (those of a loader that keeps its own stay for the next pass)."""
        del self.iterator


def _not_started(loader: DataLoader[Any], reader: Reader, error: Exception) -> ZooError:
    """Why no worker could be started: what could not be sent to it, or what the system says."""
    start = loader.worker_init_fn
    parts = {
        f"worker_init_fn {getattr(start, 'name', '')}": start,
        f"collate_fn {reader.collate_name}": reader.collate,
        f"the data set {reader.samples.name(0)}": reader.samples,
    }
    for what, part in parts.items():
        try:
            ForkingPickler.dumps(part)
        except Exception as problem:
            said = str(problem).partition("\n")[0]
            hint = "define it at the top of a module, or use --multiprocessing-context fork, or --num-workers 0"
            return ConfigError(f"{what} cannot be sent to another process ({said}); {hint}")
    return RunFailed(f"no worker could be started: {str(error).partition(chr(10))[0]}; use a smaller --num-workers")
