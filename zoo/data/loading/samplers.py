"""Which samples each process sees at each step: functions of (seed, epoch, step, rank), with no state to save.

numpy promises the same raw bits of a seeded generator in every version, and no more; so only those are used here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from zoo.data.sets import Integers
from zoo.errors import ConfigError

ORDER, SUBSET, FOLDS = 1, 4, 5
_AUGMENT, _COLLATE = 2, 3
"""Set the streams of random numbers apart that one seed gives."""

Draw = Callable[[int], list[Integers]]
"""From an epoch to the indices of each of its steps."""


def order(count: int, seed: int, epoch: int) -> Integers:
    """The order of an epoch: a permutation `[count] int64`, each equally likely."""
    return permutation(bits_of(ORDER, seed, epoch), count)


def sample_seed(seed: int, epoch: int, index: int) -> int:
    """Seed of everything random about one sample in one epoch; below 2**63."""
    return _seed(_AUGMENT, seed, epoch, index)


def batch_seed(seed: int, epoch: int, first: int) -> int:
    """Seed of what is random in making a batch of samples, whose first is `first`; below 2**63."""
    return _seed(_COLLATE, seed, epoch, first)


def _seed(*parts: int) -> int:
    words = np.random.SeedSequence(parts).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


def bits_of(*parts: int) -> np.random.PCG64:
    """A source of random bits for a stream, a seed and an epoch."""
    return np.random.PCG64(np.random.SeedSequence(parts))


def permutation(bits: np.random.PCG64, count: int) -> Integers:
    """`[count] int64`, each equally likely."""
    return np.argsort(bits.random_raw(count), kind="stable").astype(np.int64)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Optimiser steps in a pass over `count` samples; the last may have fewer than `batch_size`, and is kept."""
    return -(-count // batch_size)


def cut(rows: Integers, batch_size: int, *, drop_last: bool = False, least: int = 1) -> list[Integers]:
    """An order in batches; the last may have fewer than `batch_size`, or is left out then. One of fewer than `least` joins the one
    before it."""
    stop = len(rows) - len(rows) % batch_size if drop_last else len(rows)
    starts = list(range(0, stop, batch_size))
    if len(starts) > 1 and stop - starts[-1] < least:
        starts.pop()
    return [rows[start:end] for start, end in zip(starts, [*starts[1:], stop], strict=True)]


@dataclass(frozen=True)
class Share:
    """One micro-batch of one rank: indices of samples, and what each counts."""

    indices: Integers
    """`[b] int64`"""
    weights: NDArray[np.float32]
    """`[b]`: 1, or 0 for a sample that only fills a place."""


@dataclass(frozen=True)
class StepPlan:
    """Cuts the epochs into steps, the steps into the ranks' chunks, the chunks into micro-batches.

    Step `s` of an epoch takes places `s * batch_size` to `(s + 1) * batch_size` of its order, unless `draw` says otherwise. Each rank
    takes an adjoining chunk, larger by one for the first ranks where the division leaves a rest, so that the ranks' chunks in turn are
    the whole batch in order. Every rank has as many micro-batches as any other in the same step, else one would wait for ever for the
    other's gradients. Where a micro-batch needs more than one sample, a tail too short for that joins the step before it.
    """

    count: int
    """Samples in the whole."""
    batch_size: int
    """Samples in a step, over all ranks."""
    seed: int
    rank: int = 0
    world: int = 1
    accumulate: int = 1
    """Largest number of micro-batches that a rank's chunk is split into."""
    draw: Draw | None = None
    """None: every sample once, at random."""
    least: int = 1
    """Samples that every micro-batch has at least."""
    _epochs: dict[int, list[Integers]] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in an epoch. Raises: ConfigError from a user's sampler, or if a step has too few samples."""
        return len(self._batches(0))

    def epoch(self, step: int) -> int:
        """The epoch that a step (counted from the start of training) belongs to, from 0."""
        return step // self.steps_per_epoch

    def batch(self, step: int) -> Integers:
        """Indices of all the samples of a step, over all ranks, `[n] int64`. Raises: ConfigError as `steps_per_epoch`."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch not in self._epochs:
            while len(self._epochs) > 1:  # workers read ahead into the next epoch: two are in use at its end
                self._epochs.pop(min(self._epochs))
            batches = self._batches(epoch)
            if len(batches) != self.steps_per_epoch:
                said = f"{len(batches):,} steps, and the first {self.steps_per_epoch:,}"
                raise ConfigError(f"by the sampler, epoch {epoch} has {said}; give as many in each")
            self._epochs[epoch] = batches
        return self._epochs[epoch][place]

    def _batches(self, epoch: int) -> list[Integers]:
        least = self.least * self.world if self.least > 1 else 1
        batches = self.draw(epoch) if self.draw else cut(order(self.count, self.seed, epoch), self.batch_size, least=least)
        shortest = min(map(len, batches), default=least)
        if shortest < least:
            each = f"{self.least} samples in each of {self.world} processes" if self.world > 1 else f"{self.least} samples"
            raise ConfigError(
                f"a step of epoch {epoch} has {shortest:,} of {self.count:,} training samples, and batch norm, whose statistics are those "
                f"of a micro-batch, needs {each}; give more samples or larger batches, or use a strategy that leaves it at rest (partial:N)"
            )
        return batches

    def step_size(self, step: int) -> int:
        """Number of samples of a step, over all ranks."""
        return len(self.batch(step))

    def shares(self, step: int) -> list[Share]:
        """This rank's micro-batches of a step. One that has no sample left gets the step's first, at weight 0."""
        batch = self.batch(step)
        chunks = np.array_split(batch, self.world)
        fewest = len(chunks[0]) if self.least == 1 else len(chunks[-1]) // self.least
        micro_batches = min(self.accumulate, fewest)
        return [
            Share(part, np.ones(len(part), np.float32)) if len(part) else Share(batch[:1], np.zeros(1, np.float32))
            for part in np.array_split(chunks[self.rank], micro_batches)
        ]


def evaluation_shares(count: int, batch_size: int, rank: int = 0, world: int = 1) -> list[Share]:
    """A rank's batches of all samples once, in order: those at `rank`, `rank + world`, ...

    Every rank has as many batches of the same sizes; where its samples run out, the last sample of all stands in at weight 0:
    whoever gathers the outputs keeps one for each index.
    """
    length = -(-count // world)
    places = np.arange(length, dtype=np.int64) * world + rank
    indices, weights = np.minimum(places, count - 1), (places < count).astype(np.float32)
    starts = range(0, length, batch_size)
    return [Share(indices[start : start + batch_size], weights[start : start + batch_size]) for start in starts]
