"""Metrics by name. All that ship with zoo work without a network; a user's own are functions or `evaluate` modules.

    zoo finetune ... --metric macro_f1
    zoo finetune ... --metric evaluate:./my_metric          a module of the evaluate library in a local folder
    zoo.finetune(..., metric=my_function)                   (targets [N], predictions [N]) -> number, with `higher_is_better` set

Each has a declared direction; an undefined value is None with a reason, never 0 and never NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from zoo.errors import ConfigError, UnknownName
from zoo.evaluation import modules
from zoo.evaluation.outputs import Outputs, Undefined
from zoo.evaluation.shipped import SHIPPED, Metric

__all__ = ["Metric", "Outputs", "Undefined", "as_evaluate", "get", "names", "resolve"]


def names() -> list[str]:
    """Names of the metrics that come with zoo, in the order of reports."""
    return list(SHIPPED)


def get(name: str) -> Metric:
    """The metric of this name that comes with zoo. Raises: UnknownName, with the nearest names."""
    if name not in SHIPPED:
        raise UnknownName("metric", name, SHIPPED, f"(metrics: {', '.join(SHIPPED)}, or evaluate:FOLDER)")
    return SHIPPED[name]


def resolve(
    metric: Any,
    *,
    higher_is_better: bool | None = None,
    needs: Literal["predictions", "probabilities"] = "predictions",
    key: str | None = None,
) -> Metric:
    """The metric that a name, an `evaluate:...` spelling, an `evaluate` module or a function stands for.

    A function gets `(targets [N] int64, predictions [N] int64)`, or probabilities `[N, C] float64` in their place if `needs` (or
    its attribute `needs`) says so; scikit-learn's functions fit. Its direction, and a module's, is its attribute
    `higher_is_better` or the argument here. `key` picks one of several values of a module.

    Raises: UnknownName; ConfigError if the direction is not known, the name is taken by one of zoo's metrics, or a module cannot
    be loaded (nothing is ever fetched).

    >>> resolve("macro_f1").higher_is_better
    True
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        return modules.from_spelling(metric) if metric.startswith("evaluate:") else get(metric)
    if modules.is_module(metric):
        return modules.from_module(metric, key=key, higher_is_better=higher_is_better, name=f"evaluate:{metric.name}")
    if not callable(metric):
        raise ConfigError(f"metric {metric!r}: expected a name, a function or a module of the evaluate library")
    return _from_function(metric, higher_is_better, getattr(metric, "needs", needs))


def _from_function(function: Callable[..., Any], higher_is_better: bool | None, needs: str) -> Metric:
    own = getattr(function, "__name__", "")
    name = own if own.isidentifier() else "custom"
    if name in SHIPPED:
        raise ConfigError(f"metric {name!r}: zoo has a metric of this name; rename the function")
    direction = getattr(function, "higher_is_better", None) if higher_is_better is None else higher_is_better
    if not isinstance(direction, bool):
        raise ConfigError(f"metric {name!r}: which way is better? Set `{name}.higher_is_better = True` or False")
    if needs not in ("predictions", "probabilities"):
        raise ConfigError(f"metric {name!r}: needs is {needs!r}; expected 'predictions' or 'probabilities'")

    def compute(outputs: Outputs) -> Any:
        return function(outputs.targets, outputs.probabilities if needs == "probabilities" else outputs.predictions)

    return Metric(
        name, f"{name}, a function of the user", direction, modules.guarded(name, compute),
        needs="probabilities" if needs == "probabilities" else "predictions",
        low=float("-inf"), high=float("inf"), resamples=modules.user_resamples,
    )  # fmt: skip


def as_evaluate(name: str, num_classes: int | None = None) -> Any:
    """One of zoo's metrics as an `evaluate.Metric`, for other people's tools. Needs no network.

    `compute(predictions=..., references=...)` with class indices; metrics on probabilities take `prediction_scores`, rows of
    probabilities `[N, C]` that sum to 1. Answers `{name: value}`; the value is None where undefined, with the reason beside it.
    Without `num_classes`, the classes that occur are all there are. Raises: UnknownName.
    """
    return modules.as_evaluate(get(name), num_classes)
