"""Batches of pictures that depend on (seed, epoch, index) alone: not on workers, processes, or where a run was resumed.

Workers are forked on Linux: a script needs no `if __name__ == "__main__"` and a data set no pickling, they start in
milliseconds, and torch holds them to one thread. A forked worker only runs Pillow and tensor code on the CPU; should one hang all
the same, a timeout names what it was reading. (Tried with four busy threads beside: 240 workers, none hung; but if a thread draws
random numbers by torch at the moment of the fork, a worker can inherit the generator's lock as held.) Other systems start workers
their own way.
"""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from zoo.data.samplers import Share, StepPlan, evaluation_shares, sample_seed
from zoo.data.sets import Integers, PictureSet
from zoo.data.transforms import Transform
from zoo.errors import DataError, RunFailed

TIMEOUT = 300.0
"""Seconds that one batch may take to read."""

_Key = tuple[int, int]
"""(epoch, index)"""


@dataclass(frozen=True)
class Batch:
    """Pictures for one forward pass, in the main memory."""

    images: Tensor
    """`[b, 3, S, S] uint8`, or float32 where a user's data set gives pictures that are normalised already."""
    targets: Tensor
    """`[b] int64`"""
    weights: Tensor
    """`[b] float32`: 1, or 0 for a picture that only fills a place and must not count."""
    indices: Tensor
    """`[b] int64`, into the picture set."""


class TrainBatches:
    """Training batches by step; `StepPlan` says which pictures, `sample_seed` how each is varied."""

    def __init__(
        self,
        pictures: PictureSet,
        transform: Transform,
        *,
        batch_size: int,
        accumulate: int = 1,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        at_least: int | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """
        Args:
            pictures: at least one.
            transform: RGB picture to `[3, S, S] uint8`; what it draws from torch's global generator is reproducible.
            batch_size: pictures in a step, over all ranks and micro-batches.
            accumulate: micro-batches that a rank splits its chunk of a step into.
            num_workers: processes that read; 0 reads in this one, and gives the same bytes.
            pin_memory: for a GPU.
            at_least: sides in pixels below which no JPEG is decoded (`Preprocess.decode_at`); None: in full.
            timeout: seconds that a worker may take for one micro-batch.
        """
        self.plan = StepPlan(len(pictures), batch_size, seed, rank, world, accumulate)
        self._reader = _Reader(pictures, transform, seed, at_least)
        self._options: dict[str, Any] = {"num_workers": num_workers, "pin_memory": pin_memory, "timeout": timeout}

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in a pass over the pictures."""
        return self.plan.steps_per_epoch

    def step_size(self, step: int) -> int:
        """Pictures of a step, over all ranks: what the sum of its losses is divided by."""
        return self.plan.step_size(step)

    def name(self, index: int) -> str:
        """What people call a picture."""
        return self._reader.pictures.name(index)

    def steps(self, start: int, stop: int) -> Iterator[tuple[int, list[Batch]]]:
        """Each step from `start` to before `stop`, counted over all epochs, with this rank's micro-batches.

        One set of workers serves all of them, so that an epoch's end costs nothing, and resuming is but another start.

        Raises: DataError naming the picture that cannot be read; RunFailed if a worker died or hangs.
        """
        loader = _loader(self._reader, _TrainKeys(self.plan, start, stop), **self._options)
        with contextlib.closing(_Feed(loader, self._reader)) as feed:
            for step in range(start, stop):
                yield step, [feed.next(share) for share in self.plan.shares(step)]


class EvalBatches:
    """Every picture (or some) once, in batches of equal number and sizes on all ranks; see `evaluation_shares` for the padding."""

    def __init__(
        self,
        pictures: PictureSet,
        transform: Transform,
        *,
        batch_size: int,
        only: Integers | None = None,
        epoch: int = 0,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
        at_least: int | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """
        Args:
            batch_size: counts the pictures of one rank.
            only: indices of the pictures to read, in this order; None: all.
            epoch, seed: where `transform` draws, it draws what training's epoch draws.

        The rest is as of `TrainBatches`.
        """
        chosen = np.arange(len(pictures), dtype=np.int64) if only is None else only
        self.count = len(chosen)
        """Number of different pictures, over all ranks."""
        shares = evaluation_shares(len(chosen), batch_size, rank, world)
        self._shares = [Share(chosen[share.indices], share.weights) for share in shares]
        self._reader = _Reader(pictures, transform, seed, at_least)
        keys = [[(epoch, int(index)) for index in share.indices] for share in self._shares]
        options: dict[str, Any] = {"num_workers": num_workers, "pin_memory": pin_memory, "timeout": timeout}
        self._loader = _loader(self._reader, keys, **options, persistent=True)

    def __len__(self) -> int:
        """Number of batches, the same on every rank."""
        return len(self._shares)

    def __iter__(self) -> Iterator[Batch]:
        """Raises: DataError, RunFailed, as `TrainBatches.steps`."""
        with contextlib.closing(_Feed(self._loader, self._reader)) as feed:
            for share in self._shares:
                yield feed.next(share)


@dataclass(frozen=True)
class _Failure:
    """Why a picture could not be read: sent as a value, since an exception would arrive with its message changed."""

    message: str
    trace: str


class _Reader(Dataset[Tensor | _Failure]):
    """Reads one picture, as it is in one epoch."""

    def __init__(self, pictures: PictureSet, transform: Transform, seed: int, at_least: int | None) -> None:
        self.pictures, self.transform, self.seed, self.at_least = pictures, transform, seed, at_least

    def __getitem__(self, key: _Key) -> Tensor | _Failure:
        try:
            return self._read(*key)
        except DataError as error:
            return _Failure(str(error), traceback.format_exc())
        except Exception as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            return _Failure(f"{self.pictures.name(key[1])}: {reason}", traceback.format_exc())

    def _read(self, epoch: int, index: int) -> Tensor:
        with _seeded(sample_seed(self.seed, epoch, index)):
            picture = self.pictures.picture(index, self.at_least)
            if not isinstance(picture, Tensor):
                return self.transform(picture)
        if picture.shape != self._shape:
            expected = f"{list(self._shape)}, preprocessed (or give a PIL picture or uint8)"
            raise DataError(f"{self.pictures.name(index)}: a float tensor {list(picture.shape)}; expected {expected}")
        return picture

    @cached_property
    def _shape(self) -> torch.Size:
        """What the transform gives, `[3, S, S]`."""
        with _seeded(0):
            return self.transform(Image.new("RGB", (8, 8))).shape


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """torch's generator for the CPU seeded for a while, then as it was (its state is no business of others)."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


@dataclass(frozen=True)
class _TrainKeys:
    """The keys of each micro-batch from one step to before another; worked out as they are asked for."""

    plan: StepPlan
    start: int
    stop: int

    def __iter__(self) -> Iterator[list[_Key]]:
        for step in range(self.start, self.stop):
            epoch = self.plan.epoch(step)
            for share in self.plan.shares(step):
                yield [(epoch, int(index)) for index in share.indices]


def _loader(
    reader: _Reader, keys: Iterable[list[_Key]], *, num_workers: int, pin_memory: bool, timeout: float, persistent: bool = False
) -> DataLoader[Any]:
    return DataLoader(
        reader,
        batch_sampler=keys,  # (epoch, index) pairs, which only the reader sees
        num_workers=num_workers,
        collate_fn=_collate,
        pin_memory=pin_memory,
        timeout=timeout if num_workers else 0,
        worker_init_fn=_start_worker,
        multiprocessing_context="fork" if num_workers and sys.platform == "linux" else None,
        persistent_workers=persistent and num_workers > 0,
        generator=torch.Generator(),  # else each pass would draw a number from the global one
    )


def _collate(items: list[Tensor | _Failure]) -> Tensor | _Failure:
    """`[b, 3, S, S]`, or the first failure."""
    failures = [item for item in items if isinstance(item, _Failure)]
    if failures:
        return failures[0]
    if len({item.dtype for item in items if isinstance(item, Tensor)}) > 1:
        return _Failure("some pictures of one data set are normalised already (float) and others are not; give one kind", "")
    images: Tensor = default_collate(items)
    return images


def _start_worker(number: int) -> None:
    """Set up one worker process."""
    # Ctrl-C reaches every process of the terminal; the trainer decides, and wants its workers until the step is done.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What was inherited is left alone: collecting it would copy the parent's memory, and close what belongs to the parent.
    gc.freeze()


class _Feed:
    """A pass over a loader: joins what the workers read with what this process knows, and words their failures."""

    def __init__(self, loader: DataLoader[Any], reader: _Reader) -> None:
        self.pictures, self.iterator = reader.pictures, iter(loader)

    def next(self, share: Share) -> Batch:
        try:
            images = next(self.iterator)
        except (RuntimeError, OSError, EOFError) as error:  # the latter two: a worker died while handing over a batch
            names = ", ".join(self.pictures.name(int(index)) for index in share.indices[:3])
            raise RunFailed(f"reading {names}, ... failed: {_worker_failure(error)}") from error
        if isinstance(images, _Failure):
            problem = DataError(images.message)
            problem.add_note(images.trace)
            raise problem
        indices = torch.from_numpy(share.indices)
        targets = torch.from_numpy(self.pictures.targets[share.indices])
        return Batch(images, targets, torch.from_numpy(share.weights), indices)

    def close(self) -> None:
        """Let go of the workers (those of a loader that keeps its own stay for the next pass)."""
        del self.iterator


def _worker_failure(error: Exception) -> str:
    said = (str(error) or "a worker closed its connection").splitlines()[0].strip(" .")
    if "timed out" in said:
        return f"{said}; is the disk slow, or gone? --num-workers 0 reads without workers"
    return f"{said}; most often memory (or /dev/shm) ran out: use a smaller --num-workers"
