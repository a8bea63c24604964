"""Batches of what was computed before, in the place of samples: the same order, shares and weights as `zoo.data.loading.loaders` gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from zoo.cache import Rows
from zoo.data.loading.loaders import Batch
from zoo.data.loading.orders import Sampling, make_plan
from zoo.data.loading.samplers import Share, evaluation_shares
from zoo.data.sets import SampleSet


class TrainRows:
    """As `TrainBatches`, from rows `[N, ...] float32`. Epoch e reads `views[e % len(views)]`."""

    def __init__(
        self,
        views: Sequence[Rows],
        samples: SampleSet,
        *,
        batch_size: int,
        accumulate: int = 1,
        least: int = 1,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        sampling: Sampling | None = None,
    ) -> None:
        share = {"rank": rank, "world": world, "accumulate": accumulate, "least": least}
        self.plan = make_plan(samples, batch_size, seed, **share, **(sampling or {}))
        self._views, self._samples = views, samples

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps in a pass over the rows."""
        return self.plan.steps_per_epoch

    def step_size(self, step: int) -> int:
        """Rows of a step, over all ranks."""
        return self.plan.step_size(step)

    def name(self, index: int) -> str:
        """What people call the sample behind a row."""
        return self._samples.name(index)

    def steps(self, start: int, stop: int) -> Iterator[tuple[int, list[Batch]]]:
        """Each step from `start` to before `stop`, with this rank's micro-batches."""
        for step in range(start, stop):
            rows = self._views[self.plan.epoch(step) % len(self._views)]
            yield step, [_batch(rows, self._samples, share) for share in self.plan.shares(step)]


class EvalRows:
    """As `EvalBatches`, from rows `[N, ...] float32`."""

    def __init__(self, rows: Rows, samples: SampleSet, *, batch_size: int, rank: int = 0, world: int = 1) -> None:
        self.count = len(samples)
        """Number of different samples, over all ranks."""
        self._rows, self._samples = rows, samples
        self._shares = evaluation_shares(len(samples), batch_size, rank, world)

    def __len__(self) -> int:
        """Number of batches, the same on every rank."""
        return len(self._shares)

    def __iter__(self) -> Iterator[Batch]:
        for share in self._shares:
            yield _batch(self._rows, self._samples, share)


def _batch(rows: Rows, samples: SampleSet, share: Share) -> Batch:
    return Batch(
        torch.from_numpy(rows[share.indices]),
        torch.from_numpy(samples.targets[share.indices]),
        torch.from_numpy(share.weights),
        torch.from_numpy(share.indices),
    )
