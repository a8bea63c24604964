"""best/: the publishable folder of the best model so far."""

from __future__ import annotations

import numpy as np

from zoo import folders
from zoo.adaptation import saved, saved_config
from zoo.adaptation.model import AdaptedModel
from zoo.errors import CheckpointError
from zoo.runs import Run
from zoo.training.checkpoint import TrainState

CHECKED = 16
"""Validation samples whose logits are kept in best/config.json, to compare with those of the file once it is loaded again."""


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
