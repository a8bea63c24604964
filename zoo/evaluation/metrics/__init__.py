"""Metrics by name. All that ship with zoo work without a network; a user's own are functions, `evaluate` modules or come by a
package (entry points `zoo.metrics`).

    zoo finetune ... --metric macro_f1
    zoo finetune ... --metric evaluate:./my_metric          a module of the evaluate library in a local folder
    zoo.finetune(..., metric=my_function)                   (targets [N], predictions [N]) -> number, with `higher_is_better` set

Each has a declared direction; an undefined value is None with a reason, never 0 and never NaN. A name means what it means for the
task: `macro_f1` is a mean over the classes of a classification, and over the labels of a multilabel one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from zoo import plugins
from zoo.errors import ConfigError, UnknownName
from zoo.evaluation.metrics import classification, modules, multilabel, regression
from zoo.evaluation.metrics.metric import Metric
from zoo.evaluation.outputs import AnyOutputs, Outputs, Undefined
from zoo.types import Task

__all__ = ["Metric", "Outputs", "Undefined", "as_evaluate", "default", "get", "names", "of", "resolve"]

_SHIPPED = {
    Task.CLASSIFICATION: classification.SHIPPED,
    Task.MULTILABEL: multilabel.SHIPPED,
    Task.REGRESSION: regression.SHIPPED,
}
_DEFAULTS = {Task.CLASSIFICATION: "accuracy", Task.MULTILABEL: "mean_average_precision", Task.REGRESSION: "rmse"}


def of(task: Task) -> dict[str, Metric]:
    """The metrics of a task that come with zoo, by name, in the order of reports."""
    return dict(_SHIPPED[task])


def known(task: Task) -> dict[str, Metric]:
    """The same, and those of plug-ins, which are computed where they are asked for."""
    return _SHIPPED[task] | _added(task)


def names(task: Task = Task.CLASSIFICATION) -> list[str]:
    """Names of the metrics of a task that come with zoo, in the order of reports."""
    return list(_SHIPPED[task])


def default(task: Task) -> str:
    """The name of the metric that says which model is best, unless another is asked for.

    Accuracy. Mean average precision, as in PASCAL VOC (Everingham et al. 2010, doi.org/10.1007/s11263-009-0275-4) and in Ben-Baruch et
    al. 2020 (arxiv.org/abs/2009.14119): it needs no thresholds, while at 0.5 a model that is not sure of any label yet has an F1 of 0.
    Root mean squared error, which goes down where the squared loss of the training does.
    """
    return _DEFAULTS[task]


def get(name: str, task: Task = Task.CLASSIFICATION) -> Metric:
    """The metric of this name and task, of zoo's or of a plug-in's.

    Raises: UnknownName, with the nearest names; ConfigError if it is a metric of other tasks.
    """
    own = _SHIPPED[task] if name in _SHIPPED[task] else known(task)
    if name in own:
        return own[name]
    others = [other for other in Task if name in known(other)]
    if others:
        raise ConfigError(
            f"metric {name!r} is for {' and '.join(others)}, and the task is {task}; choose one of {', '.join(own)}, or evaluate:FOLDER"
        )
    raise UnknownName("metric", name, own, f"(metrics: {', '.join(own)}, or evaluate:FOLDER)")


def _added(task: Task) -> dict[str, Metric]:
    """Those of plug-ins for a task: each a `Metric` by an entry point of the group `zoo.metrics`."""
    taken = {name for metrics in _SHIPPED.values() for name in metrics}
    found = plugins.load_all("zoo.metrics", lambda value: None if isinstance(value, Metric) else "is not a Metric", taken)
    return {one.name: one for one in found.values() if one.task in (None, task) and one.name not in taken}


def resolve(
    metric: Any,
    *,
    task: Task = Task.CLASSIFICATION,
    higher_is_better: bool | None = None,
    needs: Literal["predictions", "probabilities"] = "predictions",
    key: str | None = None,
) -> Metric:
    """The metric that a name, an `evaluate:...` spelling, an `evaluate` module or a function stands for.

    A function gets `(targets [N] int64, predictions [N] int64)`, or probabilities `[N, C] float64` in their place if `needs` (or
    its attribute `needs`) says so; for multilabel, targets and predictions are `[N, C] int64` of 0 and 1; for regression `[N] float64`,
    or `[N, K]` of several values. scikit-learn's functions fit. Its direction, and a module's, is its attribute `higher_is_better` or
    the argument here. `key` picks one of several values of a module.

    Raises: UnknownName; ConfigError if the direction is not known, the name is taken by one of zoo's metrics, a module cannot be
    loaded (nothing is ever fetched), or the metric is of another task.

    >>> resolve("macro_f1").higher_is_better
    True
    >>> resolve("rmse", task=Task.REGRESSION).higher_is_better
    False
    """
    if isinstance(metric, Metric):
        return metric if metric.task in (None, task) else get(metric.name, task)
    if isinstance(metric, str):
        return modules.from_spelling(metric) if metric.startswith("evaluate:") else get(metric, task)
    if modules.is_module(metric):
        return modules.from_module(metric, key=key, higher_is_better=higher_is_better, name=f"evaluate:{metric.name}")
    if not callable(metric):
        raise ConfigError(f"metric {metric!r}: expected a name, a function or a module of the evaluate library")
    return _from_function(metric, higher_is_better, getattr(metric, "needs", needs))


def _from_function(function: Callable[..., Any], higher_is_better: bool | None, needs: str) -> Metric:
    own = getattr(function, "__name__", "")
    name = own if own.isidentifier() else "custom"
    if any(name in metrics for metrics in _SHIPPED.values()):
        raise ConfigError(f"metric {name!r}: zoo has a metric of this name; rename the function")
    direction = getattr(function, "higher_is_better", None) if higher_is_better is None else higher_is_better
    if not isinstance(direction, bool):
        raise ConfigError(f"metric {name!r}: which way is better? Set `{name}.higher_is_better = True` or False")
    if needs not in ("predictions", "probabilities"):
        raise ConfigError(f"metric {name!r}: needs is {needs!r}; expected 'predictions' or 'probabilities'")

    def compute(outputs: AnyOutputs) -> Any:
        return function(*modules.arrays(outputs, needs, name))

    return Metric(
        name, f"{name}, a function of the user", direction, modules.guarded(name, compute),
        needs="probabilities" if needs == "probabilities" else "predictions",
        low=float("-inf"), high=float("inf"), resamples=modules.user_resamples,
    )  # fmt: skip


def as_evaluate(name: str, num_classes: int | None = None, task: Task = Task.CLASSIFICATION) -> Any:
    """One of zoo's metrics as an `evaluate.Metric`, for other people's tools. Needs no network.

    `compute(predictions=..., references=...)` with class indices; metrics on probabilities take `prediction_scores`, rows of
    probabilities `[N, C]` that sum to 1. Gives `{name: value}`; the value is None where undefined, with the reason beside it.
    Without `num_classes`, the classes that occur are all there are. For multilabel, references and predictions are rows of 0 and 1,
    and the scores are each label's own; for regression they are numbers, or rows of them. Raises: UnknownName, ConfigError.
    """
    return modules.as_evaluate(get(name, task), num_classes)
