"""Folds of samples: parts of equal size and like classes, each of which is left out in turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zoo.data.samplers import FOLDS, bits_of, permutation
from zoo.data.sets import Integers, SampleSet
from zoo.data.targets import Targets


def groups_of(sets: Sequence[SampleSet]) -> Integers:
    """`[N]`: the number of the group of each sample of these sets, one after another: identical samples are one."""
    keys = np.concatenate([samples.digests for samples in sets])
    known = keys.astype(bool)
    keys = np.where(known, keys, np.arange(len(keys)).astype(keys.dtype))  # no sha256 is so short
    return np.unique(keys, return_inverse=True)[1].astype(np.int64)


def assign(targets: Targets, groups: Integers, count: int, seed: int) -> Integers:
    """`[N]`: the fold of each sample, 0 to below `count`, or -1 for one that is in none; the members of a group share one.

    Every class is spread evenly, so that each fold has a share of it, or one sample where it has fewer samples than there are folds. A
    class all of whose samples would be in one fold is in none: nothing would be known of it without that fold. A function of the seed.
    """
    _, leaders, members = np.unique(groups, return_index=True, return_inverse=True)
    strata = targets[leaders] if targets.ndim == 1 else np.zeros(len(leaders), np.int64)
    random = permutation(bits_of(FOLDS, seed), len(leaders))
    folds = np.empty(len(leaders), np.int64)
    folds[np.lexsort((random, strata))] = np.arange(len(leaders)) % count
    found = folds[members]
    if targets.ndim == 1:
        pairs = np.unique(np.stack([targets, found], 1), axis=0)
        classes, spread = np.unique(pairs[:, 0], return_counts=True)
        found[np.isin(targets, classes[spread < 2])] = -1
    return found
