"""What a resumed run needs, and the folders that hold it; and `best/`, the publishable folder of the best model so far.

Tensors are in safetensors, the rest in JSON; no pickle. Order and augmentation are functions of (seed, epoch, sample), the learning rate
of the step, and torch is seeded from (seed, step, rank) before each forward: nothing random is stored, so nothing random can be restored
wrongly.
"""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from zoo import config, folders
from zoo.adaptation import saved, saved_config
from zoo.adaptation.model import AdaptedModel
from zoo.errors import CheckpointError, shown
from zoo.runs import Run

log = logging.getLogger("zoo")

MODEL = "model.safetensors"
OPTIMIZER = "optimizer.safetensors"
STATE = "state.json"
OPTIONS = "options"
"""The part of an identity that holds values, not digests."""
CHECKED = 8
"""Validation samples whose logits are kept in best/config.json, to compare with those of the file once it is loaded again."""


@dataclass
class Best:
    """The best evaluation so far. It is part of the checkpoint, so a resumed run remembers it."""

    metric: str
    higher_is_better: bool
    value: float | None = None
    step: int | None = None

    def better(self, value: float | None) -> bool:
        """Whether `value` beats the best. NaN, infinities and None never do; a tie keeps the earlier."""
        if value is None or not math.isfinite(value):
            return False
        return self.value is None or (value > self.value if self.higher_is_better else value < self.value)


@dataclass
class Patience:
    """Early stopping. Small gains add up: a value is compared with the one that last reset the count, not with the last best."""

    limit: int | None
    """Evaluations without a sufficient gain after which to stop; None: never."""
    min_delta: float
    higher_is_better: bool
    reference: float | None = None
    waited: int = 0

    def update(self, value: float | None) -> bool:
        """Count one evaluation; True when it is time to stop."""
        gain = math.nan
        if value is not None and math.isfinite(value):
            gain = math.inf if self.reference is None else (value - self.reference) * (1 if self.higher_is_better else -1)
        if gain > self.min_delta:
            self.reference, self.waited = value, 0
        else:
            self.waited += 1
        return self.limit is not None and self.waited >= self.limit


@dataclass
class TrainState:
    """Where a run stands, apart from its tensors."""

    best: Best
    patience: Patience
    step: int = 0
    """Optimiser steps taken (skipped ones included)."""
    evaluations: int = 0
    """Lines of metrics.jsonl that belong to this state."""
    seconds: float = 0.0
    """Wall time of training so far."""
    loss_sum: float = 0.0
    """Sum of the losses of the samples since the last evaluation."""
    samples: int = 0
    """How many samples those were."""
    done: bool = False
    """Whether training has ended, by its last step, its patience or its time."""
    scaler: dict[str, Any] = field(default_factory=dict)
    """State of the fp16 gradient scaler."""
    split: int = 1
    """Parts into which each micro-batch is split, as it did not fit into memory."""

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> TrainState:
        """The inverse of `dataclasses.asdict`."""
        return cls(**{**values, "best": Best(**values["best"]), "patience": Patience(**values["patience"])})


@dataclass(frozen=True)
class Checkpoint:
    """One whole checkpoint, read back."""

    state: TrainState
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]


def name(step: int) -> str:
    """Folder of the checkpoint after `step` steps."""
    return f"step-{step:08d}"


def steps(parent: Path) -> list[int]:
    """Steps of the checkpoints in a folder, whole or not, ascending."""
    matches = (re.fullmatch(r"step-(\d+)", path.name) for path in parent.glob("step-*"))
    return sorted(int(match[1]) for match in matches if match)


def write(
    parent: Path, state: TrainState, model: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], identity: Mapping[str, Any]
) -> Path:
    """Write one checkpoint, whole or not at all. `identity` has the digests of what it belongs to, and the `options`. Raises: OutputError.

    A checkpoint of the same step, left by an interrupted run, is replaced.
    """
    target = parent / name(state.step)
    with folders.whole(target, replace=True) as folder:
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in model.items()}, folder / MODEL)
        save_file(dict(optimizer), folder / OPTIMIZER)
        text = json.dumps({"state": asdict(state), "identity": dict(identity)}, indent=1)
        (folder / STATE).write_text(text, encoding="utf-8")
    return target


def read(folder: Path, identity: Mapping[str, Any]) -> Checkpoint:
    """A checkpoint whose every byte is as written, and which belongs to this run.

    Raises: CheckpointError if it is incomplete or damaged, or naming the first part of `identity` that differs.
    """
    folders.verify(folder, (MODEL, OPTIMIZER, STATE))
    try:
        values = json.loads((folder / STATE).read_text(encoding="utf-8"))
        for key, wanted in identity.items():
            found = values["identity"].get(key)
            if key == OPTIONS:
                _check_options(folder, found, wanted)
            elif found != wanted:
                raise CheckpointError(f"{folder}: belongs to another {key}; nothing can be resumed from it")
        state = TrainState.from_dict(values["state"])
        return Checkpoint(state, load_file(folder / MODEL), load_file(folder / OPTIMIZER))
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{folder}: not a checkpoint of this version: {error}") from error


def _check_options(folder: Path, found: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> None:
    """Raises: CheckpointError naming options that are not those of the checkpoint, in which a newer option had its default."""
    if found is None:
        raise CheckpointError(f"{folder}: written by an earlier version of zoo; go on with that version, or start a new run")
    then = {name: option.default for name, option in config.options().items()} | {**found}
    other = [
        f"{name} is {shown(then[name])} there and {shown(value)} here" for name, value in wanted.items() if then[name] != value
    ]
    if other:
        raise CheckpointError(
            f"{folder}: made with other options than config.yaml now has: {', '.join(other[:3])}{', ...' if other[3:] else ''}; "
            f"put {'them' if other[1:] else 'it'} back, or start a new run"
        )


def of_step(parent: Path, step: int, identity: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint after `step` steps. Raises: CheckpointError, as `read`."""
    return read(parent / name(step), identity)


def newest(parent: Path, identity: Mapping[str, Any], *, say: bool = True) -> Checkpoint | None:
    """The newest whole checkpoint; damaged ones are passed over, and (`say`) named. None if there is none at all.

    Raises: CheckpointError if there are checkpoints and none of them can be used.
    """
    problems = []
    for step in reversed(steps(parent)):
        try:
            found = read(parent / name(step), identity)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        for problem in problems if say else []:
            log.warning("passed over: %s", problem)
        return found
    if problems:
        raise CheckpointError(f"{parent}: no checkpoint can be used; the newest: {problems[0]}")
    return None


def kept(all_steps: Sequence[int], keep: int) -> set[int]:
    """The steps to retain: the `keep` newest."""
    return set(sorted(all_steps)[-keep:])


def prune(parent: Path, keep: int, best: int | None = None) -> None:
    """Remove what `kept` does not retain, but for that of the best step: `best/` can be made again from it.

    Called after a new checkpoint is whole, never before.
    """
    present = steps(parent)
    for step in set(present) - kept(present, keep) - {best}:
        folders.discard(parent / name(step))


def write_best(run: Run, model: AdaptedModel, state: TrainState, logits: np.ndarray) -> None:
    """Write `best/` anew from the model as it stands. `logits` are those of the validation samples. Raises: OutputError."""
    facts = {
        "step": state.best.step,
        "metric": state.best.metric,
        "higher_is_better": state.best.higher_is_better,
        "validation_value": state.best.value,
        "check_logits": np.asarray(logits[:CHECKED], dtype=np.float64).tolist(),
    }
    with folders.whole(run.best, replace=True) as folder:
        saved.save(folder, model, facts)


def best_step(run: Run) -> int | None:
    """The step of the model in `best/`; None if there is none, or a damaged one."""
    try:
        saved.verify(run.best)
        return int(saved_config.read(run.best)["facts"]["step"])
    except (CheckpointError, KeyError, TypeError, ValueError):
        return None
