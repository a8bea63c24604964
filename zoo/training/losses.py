"""What training makes small, by task."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from zoo.types import Task


def losses(task: Task, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0) -> Tensor:
    """The loss of each sample, `[b] float32`.

    classification: cross-entropy of the logits `[b, C]` and the classes `[b] int64`.
    multilabel: the mean over the labels of the binary cross-entropies of the logits and the targets `[b, C]`, 0 or 1.
    regression: the mean over the values of the squared differences of outputs and targets `[b, K]`, both standardised.

    label_smoothing: share of the target that is spread over all classes (or, of a label, over holding and not holding).
    """
    if task is Task.CLASSIFICATION:
        return F.cross_entropy(outputs, targets, reduction="none", label_smoothing=label_smoothing)
    if task is Task.MULTILABEL:
        smooth = targets * (1 - label_smoothing) + label_smoothing / 2
        return F.binary_cross_entropy_with_logits(outputs, smooth, reduction="none").mean(dim=1)
    return (outputs - targets).square().mean(dim=1)
