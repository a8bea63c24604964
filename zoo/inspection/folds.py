"""Predictions of a linear probe for every sample, each by a head that has seen neither it nor its duplicates."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.adaptation import boundary
from zoo.config import Resolved
from zoo.data.sets import Integers
from zoo.data.splits import Splits
from zoo.errors import ConfigError
from zoo.evaluation import metrics
from zoo.evaluation.outputs import Outputs
from zoo.inspection.opening import Raw
from zoo.training import job, launch, solving
from zoo.training.collect import prepare
from zoo.training.features import Extractor, Wanted
from zoo.training.solving_design import Scaling
from zoo.types import Task

log = logging.getLogger("zoo")

FOLDS = 5
"""As cleanlab's default, and scikit-learn's."""
SCALING: Scaling = "standardised"
"""Of the features."""


def features(raw: Raw, resolved: Resolved) -> tuple[NDArray[np.float32], str]:
    """`[N, D]`: what the backbone gives for every sample, computed once and kept in the cache; and where its weights came from.

    Raises: ZooError.
    """
    config = launch.settle(resolved).config
    device = torch.device(config.machine.device)
    model = prepare(job.build_model(config, _whole(raw)), device)
    cut = boundary.behind(model)
    with Extractor(cut.prefix, cut.where, model.backbone, config, device, expected=len(raw)) as extractor:
        found = extractor.all_rows([Wanted(samples) for samples in raw.parts.values() if len(samples)])
        rows = [one[:] for one in found]
        log.info("%s", extractor.work)
    return np.concatenate(rows), model.backbone.origin.source


def check_task(raw: Raw) -> None:
    """Raises: ConfigError where the samples have no classes to mistake for each other."""
    if raw.facts.task is not Task.CLASSIFICATION:
        raise ConfigError(
            f"likely label errors are found in classifications, and this is {raw.facts.task.value}; leave out the backbone"
        )


def assign(labels: Integers, names: list[str], groups: Iterable[Integers], seed: int) -> Integers:
    """`[N]`: the fold of each sample, every class spread evenly; the members of a group share one.

    A function of the seed and the names. -1 for the samples of a class with fewer members (groups count once) than there are folds:
    a fold without it would find it nowhere.
    """
    leader = np.arange(len(labels))
    for group in groups:
        leader[group] = leader[group].min()
    leaders = np.unique(leader)
    ranks = {int(one): hashlib.sha256(f"{seed}\0{names[one]}".encode(errors="surrogateescape")).digest() for one in leaders}
    folds = np.full(len(labels), -1, np.int64)
    for label in np.unique(labels):
        own = sorted((int(one) for one in leaders[labels[leaders] == label]), key=ranks.__getitem__)
        if len(own) >= FOLDS:
            folds[own] = np.arange(len(own)) % FOLDS
    folds = folds[leader]
    spread = [label for label in np.unique(labels) if (folds[leaders[labels[leaders] == label]] >= 0).any()]
    folds[~np.isin(labels, spread)] = -1
    return folds


def out_of_fold(rows: NDArray[np.float32], labels: Integers, folds: Integers) -> NDArray[np.float64]:
    """`[N, C]`: class probabilities of each sample by a head solved on the other folds. Every class is in two folds at least.

    The strength of the L2 penalty is the one of lowest log-loss on the first fold.
    """
    classes = int(labels.max()) + 1
    held = folds == 0
    losses, log_loss = {}, metrics.get("log_loss").function
    for candidate in solving.sweep(rows[~held], labels[~held], classes, scalings=(SCALING,)):
        losses[candidate.strength] = log_loss(Outputs.from_logits(labels[held], solving.logits(candidate, rows[held])))
    strength = min(losses, key=losses.__getitem__)
    probabilities = np.empty((len(labels), classes))
    for fold in range(FOLDS):
        held = folds == fold
        (candidate,) = solving.sweep(rows[~held], labels[~held], classes, scalings=(SCALING,), strengths=(strength,))
        probabilities[held] = Outputs.from_logits(labels[held], solving.logits(candidate, rows[held])).probabilities
    return probabilities


def _whole(raw: Raw) -> Splits:
    """Every sample, as the model is built for."""
    first = next(samples for samples in raw.parts.values() if len(samples))
    return Splits(first, first, None, raw.labels, raw.facts)
