"""Samples that belong together, and how they are spread over sets and folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zoo.data.loading.samplers import FOLDS, bits_of, permutation
from zoo.data.sets import Integers, SampleSet
from zoo.data.targets import Targets


def groups_of(sets: Sequence[SampleSet]) -> Integers:
    """`[N]`: the number of the group of each sample of these sets, one after another: those that are identical or of one group by the data
    are in one, and those that are so by way of others."""
    digests = np.concatenate([samples.digests for samples in sets])
    own = np.arange(len(digests))
    known = digests.astype(bool)
    same = np.where(known, np.unique(digests, return_inverse=True)[1], len(own) + own)
    if any(samples.groups is None for samples in sets):
        return np.unique(same, return_inverse=True)[1].astype(np.int64)
    from scipy.sparse import coo_array  # a quarter of a second, and only groups need it
    from scipy.sparse.csgraph import connected_components

    given = np.concatenate([samples.groups for samples in sets if samples.groups is not None])
    ends = (
        np.concatenate([own, own]),
        np.concatenate([len(own) + np.unique(same, return_inverse=True)[1], 2 * len(own) + _numbered(given)]),
    )
    links = coo_array((np.ones(2 * len(own), np.int8), ends), shape=(3 * len(own), 3 * len(own)))
    return _numbered(connected_components(links, directed=False)[1][: len(own)])


def _numbered(values: NDArray[np.int64]) -> Integers:
    """Equal values by one number, from 0."""
    return np.unique(values, return_inverse=True)[1].astype(np.int64)


def spread(strata: Integers, groups: Integers, shares: Sequence[float], order: Integers) -> Integers:
    """`[N]`: the part of each sample, 0 to below `len(shares)`: each part gets its share of every stratum, as nearly as whole groups allow.

    The largest groups are placed first, each where the squares of what is missing or too much, relative to the stratum, grow least (as
    scikit-learn's StratifiedGroupKFold places them by deviations). order: `[G]`, which of the groups of one size come first.
    """
    classes = _numbered(strata)
    sizes = np.bincount(groups)
    counts = np.bincount(classes).astype(np.float64)
    by_group = np.argsort(groups, kind="stable")
    members = np.split(classes[by_group], np.cumsum(sizes)[:-1])
    left = np.asarray(shares)[:, None] * counts  # [parts, classes]
    part = np.empty(len(sizes), np.int64)
    for group in np.lexsort((order, -sizes)):
        own, many = np.unique(members[group], return_counts=True)
        growth = ((many * (many - 2 * left[:, own])) / counts[own]).sum(1)
        part[group] = growth.argmin()
        left[part[group], own] -= many
    return part[groups]


def assign(targets: Targets, groups: Integers, count: int, seed: int) -> Integers:
    """`[N]`: the fold of each sample, 0 to below `count`, or -1 for one that is in none; the members of a group share one.

    Every class is spread evenly, so that each fold has a share of it, or one sample where it has fewer samples than there are folds. A
    class all of whose samples would be in one fold is in none: nothing would be known of it without that fold. A function of the seed.
    """
    groups = _numbered(groups)
    strata = targets if targets.ndim == 1 else np.zeros(len(targets), np.int64)
    random = permutation(bits_of(FOLDS, seed), int(groups.max()) + 1)
    if len(random) == len(groups):  # nothing belongs together: exact, and without a loop
        found = np.empty(len(groups), np.int64)
        found[np.lexsort((random[groups], strata))] = np.arange(len(groups)) % count
    else:
        found = spread(strata, groups, [1 / count] * count, random)
    if targets.ndim == 1:
        pairs = np.unique(np.stack([targets, found], 1), axis=0)
        classes, times = np.unique(pairs[:, 0], return_counts=True)
        found[np.isin(targets, classes[times < 2])] = -1
    return found
