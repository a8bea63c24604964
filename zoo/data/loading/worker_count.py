"""How many processes should read, by timing."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass

import numpy as np

from zoo.backbones.backbone import Preprocess
from zoo.config import FinetuneConfig, LoaderConfig, for_workers
from zoo.data.loading.loaders import EvalBatches, loading
from zoo.data.sets import SampleSet

SAMPLE = 256
"""Samples that are read, or fewer, if they take longer than this:"""
FEW = 4
"""Samples between two looks at the clock."""
ENOUGH = 0.25
"""Seconds. An epoch that takes less to read needs no workers."""
SLOWER = 1.25
"""Workers read while the network computes, so they may take a little longer than this process would."""


@dataclass(frozen=True)
class Workers:
    """How many processes should read."""

    count: int
    why: str
    """In one line, with what was measured."""


def most_workers(processes: int) -> int:
    """How many processes may read for each of the training processes of this machine, where that was not said."""
    return min(max((os.cpu_count() or 1) // processes - 1, 1), 8)


def workers(config: FinetuneConfig) -> int:
    """How many processes read where that is not worth timing: as many as was said, or as may."""
    said = config.data.num_workers
    return most_workers(config.machine.processes) if said is None else said


def choose_workers(
    samples: SampleSet, preprocess: Preprocess, options: LoaderConfig, most: int, augment: str = "none"
) -> Workers:
    """`most` processes, or none where handing samples over takes longer than reading them.

    Takes less than a second, except where a single sample does not. Workers that are not forked take seconds to start, so they are not
    timed, but taken where an epoch takes longer than `ENOUGH`.

    Raises: DataError naming a sample that cannot be read; RunFailed; ConfigError as `TrainBatches`.
    """
    some = np.linspace(0, len(samples) - 1, min(len(samples), SAMPLE)).astype(np.int64)
    read: list[int] = []
    began = time.perf_counter()
    for batch in EvalBatches(samples, preprocess, batch_size=FEW, augment=augment, only=some):
        read += batch.indices.tolist()
        if time.perf_counter() - began > ENOUGH:
            break
    alone = (time.perf_counter() - began) / len(read)
    said = f"reading takes {1e3 * alone:.2g} ms a sample, {alone * len(samples):.2g} s an epoch"
    if asking := for_workers(options):
        return Workers(most, f"{most} workers, as {' and '.join(asking)} asks for some: {said}")
    if alone * len(samples) < ENOUGH:
        return Workers(0, f"0 workers: {said}")
    if sys.platform != "linux":
        return Workers(most, f"{most} workers: {said}")
    how = loading(options, most, "cpu")
    how["persistent_workers"] = True
    size = min(32, -(-len(read) // most))
    batches = EvalBatches(samples, preprocess, batch_size=size, augment=augment, only=np.array(read), **how)
    for _ in batches:  # starts them
        pass
    began = time.perf_counter()
    for _ in batches:
        pass
    theirs = (time.perf_counter() - began) / len(read)
    chosen = most if theirs <= SLOWER * alone else 0
    return Workers(chosen, f"{chosen} workers: {said}, and by {most} workers {1e3 * theirs:.2g} ms a sample")
