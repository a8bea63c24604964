"""Which pictures each process sees at each step: functions of (seed, epoch, step, rank), with no state to save.

numpy promises the same raw bits of a seeded generator in every version, and no more; so only those are used here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from zoo.data.sets import Integers

_ORDER, _AUGMENT = 1, 2
"""Set the streams of random numbers apart that one seed gives."""


def order(count: int, seed: int, epoch: int) -> Integers:
    """The order of an epoch: a permutation `[count] int64`, each equally likely."""
    bits = np.random.PCG64(np.random.SeedSequence([_ORDER, seed, epoch])).random_raw(count)
    return np.argsort(bits, kind="stable").astype(np.int64)


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """Seed of everything random about one picture in one epoch; below 2**63."""
    words = np.random.SeedSequence([_AUGMENT, seed, epoch, index]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Optimiser steps in a pass over `count` pictures; the last may have fewer than `batch_size`, and is kept."""
    return -(-count // batch_size)


@dataclass(frozen=True)
class Share:
    """One micro-batch of one rank: indices of pictures, and what each counts."""

    indices: Integers
    """`[b] int64`"""
    weights: NDArray[np.float32]
    """`[b]`: 1, or 0 for a picture that only fills a place."""


@dataclass(frozen=True)
class StepPlan:
    """Cuts the epochs into steps, the steps into the ranks' chunks, the chunks into micro-batches.

    Step `s` of an epoch takes places `s * batch_size` to `(s + 1) * batch_size` of its order. Each rank takes an adjoining chunk,
    larger by one for the first ranks where the division leaves a rest, so that the ranks' chunks in turn are the whole batch in
    order. Every rank has as many micro-batches as any other in the same step, else one would wait for ever for the other's
    gradients.
    """

    count: int
    """Pictures in an epoch."""
    batch_size: int
    """Pictures in a step, over all ranks."""
    seed: int
    rank: int = 0
    world: int = 1
    accumulate: int = 1
    """Largest number of micro-batches that a rank's chunk is split into."""
    _orders: dict[int, Integers] = field(default_factory=dict, repr=False, compare=False)

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in an epoch."""
        return steps_per_epoch(self.count, self.batch_size)

    def epoch(self, step: int) -> int:
        """The epoch that a step (counted from the start of training) belongs to, from 0."""
        return step // self.steps_per_epoch

    def batch(self, step: int) -> Integers:
        """Indices of all the pictures of a step, over all ranks, `[n] int64`."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch not in self._orders:
            self._orders.clear()
            self._orders[epoch] = order(self.count, self.seed, epoch)
        return self._orders[epoch][place * self.batch_size : (place + 1) * self.batch_size]

    def step_size(self, step: int) -> int:
        """Number of pictures of a step, over all ranks."""
        start = step % self.steps_per_epoch * self.batch_size
        return min(self.batch_size, self.count - start)

    def shares(self, step: int) -> list[Share]:
        """This rank's micro-batches of a step. One that has no picture left gets the step's first, at weight 0."""
        batch = self.batch(step)
        chunks = np.array_split(batch, self.world)
        micro_batches = min(self.accumulate, len(chunks[0]))
        return [
            Share(part, np.ones(len(part), np.float32)) if len(part) else Share(batch[:1], np.zeros(1, np.float32))
            for part in np.array_split(chunks[self.rank], micro_batches)
        ]


def evaluation_shares(count: int, batch_size: int, rank: int = 0, world: int = 1) -> list[Share]:
    """A rank's batches of all pictures once, in order: those at `rank`, `rank + world`, ...

    Every rank has as many batches of the same sizes; where its pictures run out, the last picture of all stands in at weight 0:
    whoever gathers the answers keeps one for each index.
    """
    length = -(-count // world)
    places = np.arange(length, dtype=np.int64) * world + rank
    indices, weights = np.minimum(places, count - 1), (places < count).astype(np.float32)
    cuts = range(0, length, batch_size)
    return [Share(indices[cut : cut + batch_size], weights[cut : cut + batch_size]) for cut in cuts]
