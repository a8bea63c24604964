"""A metric of ours as a module of the `evaluate` library, for other people's tools (`modules` is the other way).

The import of that library takes seconds, so it happens only when one of these functions is called.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from zoo.errors import DataError
from zoo.evaluation.outputs import AnyOutputs, MultilabelOutputs, Outputs, Undefined, ValueOutputs
from zoo.evaluation.shipped import Metric
from zoo.types import Task

_REFERENCES = {
    Task.CLASSIFICATION: "references are the indices of the true classes",
    Task.MULTILABEL: "references are rows of 1 where a label holds, else 0",
    Task.REGRESSION: "references are the true values",
}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """For importing `evaluate`: the warnings of its dependencies are nobody's here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def as_evaluate(metric: Metric, num_classes: int | None = None) -> Any:
    """One of zoo's metrics as an `evaluate.Metric`; see `zoo.evaluation.metrics.as_evaluate`."""
    with quiet():
        import evaluate

    task = metric.task or Task.CLASSIFICATION
    column = "prediction_scores" if metric.needs == "probabilities" else "predictions"

    class ZooMetric(evaluate.Metric):  # type: ignore[misc]
        higher_is_better = metric.higher_is_better

        def _info(self) -> Any:
            return evaluate.MetricInfo(
                description=f"{metric.title} (zoo)",
                citation="",
                inputs_description=f"{column} and references; {_REFERENCES[task]}",
                features=_features(task, column),
            )

        def _compute(self, **inputs: Any) -> dict[str, Any]:
            outputs = _outputs(task, column, inputs["references"], inputs[column], num_classes)
            try:
                return {metric.name: metric.function(outputs)}
            except Undefined as reason:
                return {metric.name: None, f"{metric.name}_undefined": str(reason)}

    ZooMetric.__name__ = ZooMetric.__qualname__ = metric.name
    return ZooMetric(keep_in_memory=True)


def _features(task: Task, column: str) -> Any:
    """What the module takes: a number or a row of numbers for each sample."""
    with quiet():
        import datasets

    # Not int64, into which evaluate would silently cut 1.5 to 1: whole numbers are checked below.
    number, row = datasets.Value("float64"), datasets.Sequence(datasets.Value("float64"))
    if task is Task.MULTILABEL:
        return datasets.Features({column: row, "references": row})
    if task is Task.REGRESSION:
        return [datasets.Features({column: kind, "references": kind}) for kind in (number, row)]
    return datasets.Features({column: row if column == "prediction_scores" else number, "references": number})


def _outputs(task: Task, column: str, references: Any, said: Any, num_classes: int | None) -> AnyOutputs:
    if task is Task.REGRESSION:
        return ValueOutputs.from_logits(references, said)
    if task is Task.MULTILABEL:
        build = MultilabelOutputs.from_probabilities if column == "prediction_scores" else MultilabelOutputs.from_predictions
        return build(references, said)
    targets = _whole(references, "references")
    if column == "prediction_scores":
        return Outputs.from_probabilities(targets, said)
    return _classes(targets, _whole(said, column), num_classes)


def _classes(targets: Any, predictions: Any, num_classes: int | None) -> Outputs:
    """Without a number of classes, those that occur are all there are, as in scikit-learn."""
    if num_classes is not None:
        return Outputs.from_predictions(targets, predictions, num_classes)
    classes, numbers = np.unique(np.concatenate([targets, predictions]), return_inverse=True)
    return Outputs.from_predictions(numbers[: len(targets)], numbers[len(targets) :], len(classes))


def _whole(values: Any, what: str) -> Any:
    array = np.asarray([np.nan if value is None else value for value in values], dtype=np.float64)
    if not (np.isfinite(array).all() and (array == np.round(array)).all()):
        raise DataError(f"{what} are not all whole numbers; expected the index of each class")
    return array.astype(np.int64)
