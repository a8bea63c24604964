"""Metrics of the `evaluate` library: a user's function or module of it as a metric of ours, and ours as such a module.

The import of that library takes seconds, so it happens only when one of these functions is called. Modules come from this machine alone: a
folder, a script, or what `evaluate` has in its cache. Such a script is the user's own code and runs as that.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import ConfigError, DataError
from zoo.evaluation import array_checks
from zoo.evaluation.metrics.metric import Metric
from zoo.evaluation.outputs import AnyOutputs, MultilabelOutputs, Outputs, Undefined, ValueOutputs
from zoo.folders import expanded, is_file, is_folder
from zoo.types import Task

_REFERENCES = {
    Task.CLASSIFICATION: "references are the indices of the true classes",
    Task.MULTILABEL: "references are rows of 1 where a label holds, else 0",
    Task.REGRESSION: "references are the true values",
}
USER_RESAMPLES = 100
"""Resamples for the interval of a metric that is called once for each: the fewest that Efron and Tibshirani 1993 (section 19.3)
see used; the report states the number."""
_DIRECTIONS = {"max": True, "min": False}


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


def is_module(value: object) -> bool:
    """Whether this is an `evaluate` module (if that library was never imported, it cannot be)."""
    library = sys.modules.get("evaluate")
    return library is not None and isinstance(value, library.EvaluationModule)


def from_spelling(text: str) -> Metric:
    """The metric that `evaluate:PATH`, `evaluate:PATH:KEY` or `evaluate:PATH:KEY:max|min` names, without the network.

    PATH is a folder with a script of its name, a script, or the name of a module in evaluate's cache; KEY is the value to take
    where the module gives several; `max` or `min` says which way is better where the module does not (as an attribute
    `higher_is_better` of its class). `evaluate:PATH:max` is understood too. Raises: ConfigError.
    """
    path, *rest = text.removeprefix("evaluate:").split(":")
    direction = _DIRECTIONS[rest.pop()] if rest and rest[-1] in _DIRECTIONS else None
    if not path or len(rest) > 1:
        raise ConfigError(f"metric {text!r}: expected evaluate:PATH, evaluate:PATH:KEY or evaluate:PATH:KEY:max|min")
    return from_module(_load(path), key=rest[0] if rest else None, higher_is_better=direction, name=text)


def from_module(module: Any, *, key: str | None = None, higher_is_better: bool | None = None, name: str | None = None) -> Metric:
    """A metric that calls `module.compute` with `references` and `predictions` (or `prediction_scores`, where it wants these).

    Raises: ConfigError if its direction is not known, or it wants other inputs.
    """
    title = name or str(module.name)
    direction = getattr(module, "higher_is_better", None) if higher_is_better is None else higher_is_better
    if not isinstance(direction, bool):
        raise ConfigError(
            f"metric {title!r}: which way is better? Set `higher_is_better = True` or False in the class of the module, "
            f"or end the metric in :max or :min"
        )
    inputs, needs = _inputs(module, title)

    def compute(outputs: AnyOutputs) -> Any:
        result = module.compute(**inputs(outputs))
        if not isinstance(result, dict):
            return result
        chosen = key if key is not None else next(iter(result)) if len(result) == 1 else None
        if chosen not in result:
            raise ConfigError(f"metric {title!r} gives {', '.join(map(repr, result))}; name one of them: evaluate:PATH:KEY")
        return result[chosen]

    return Metric(
        title, f"{title}, a module of the evaluate library", direction, guarded(title, compute),
        needs="probabilities" if needs else "predictions", low=-np.inf, high=np.inf, resamples=user_resamples,
    )  # fmt: skip


def user_resamples(outputs: AnyOutputs) -> int:
    """How many resamples a user's metric gets, whatever the outputs."""
    return USER_RESAMPLES


def arrays(outputs: AnyOutputs, needs: str, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Targets, and predictions or probabilities, as a user's metric gets them; one value a sample is `[N]`.

    Raises: ConfigError if it needs what a regression does not have.
    """
    if not isinstance(outputs, ValueOutputs):
        return outputs.targets, outputs.probabilities if needs == "probabilities" else outputs.predictions
    if needs == "probabilities":
        raise ConfigError(f"metric {name!r} needs probabilities, and a regression has none; choose another")
    if outputs.num_targets > 1:
        return outputs.targets, outputs.predictions
    return outputs.targets[:, 0], outputs.predictions[:, 0]


def guarded(name: str, function: Callable[[AnyOutputs], Any]) -> Callable[[AnyOutputs], float]:
    """A user's function as a metric's: what it raises becomes one line, and NaN, infinity and None become undefined."""

    def value(outputs: AnyOutputs) -> float:
        try:
            result = function(outputs)
        except (ConfigError, DataError, Undefined):
            raise
        except Exception as error:
            reason = (str(error).splitlines() or [""])[0]
            raise ConfigError(
                f"metric {name!r} failed with {type(error).__name__}: {reason}; mend it or choose another"
            ) from error
        if result is None:
            raise Undefined("the metric gave None")
        if np.ndim(result) != 0 or not isinstance(np.asarray(result).item(), (int, float)):
            raise ConfigError(f"metric {name!r} gave {type(result).__name__}; expected one number")
        if not np.isfinite(result):
            raise Undefined(f"the metric gave {float(result)}")
        return float(result)

    return value


def _inputs(module: Any, title: str) -> tuple[Callable[[AnyOutputs], dict[str, Any]], bool]:
    """The function from outputs to the module's inputs, and whether it needs probabilities of classes.

    Rows of numbers are probabilities of classes; of labels they are what the module's name for them says, predictions or scores.
    """
    features = module.features[0] if isinstance(module.features, list) else module.features
    columns = set(features)
    scores = next((name for name in ("prediction_scores", "predictions") if name in columns), None)
    if scores is None or columns != {scores, "references"}:
        raise ConfigError(f"metric {title!r} wants {', '.join(sorted(columns))}; zoo gives predictions and references")
    wide = not hasattr(features[scores], "dtype")  # a list of numbers a sample, not one number
    if not wide and scores == "prediction_scores":
        raise ConfigError(f"metric {title!r} wants one score a sample; zoo gives one for each class")
    if not wide and str(features[scores].dtype) == "string":
        raise ConfigError(f"metric {title!r} wants texts; zoo gives the numbers of classes")

    def inputs(outputs: AnyOutputs) -> dict[str, Any]:
        probable = scores == "prediction_scores" or (wide and isinstance(outputs, Outputs))
        targets, said = arrays(outputs, "probabilities" if probable else "predictions", title)
        if wide and isinstance(outputs, ValueOutputs):
            targets, said = array_checks.columns(targets), array_checks.columns(said)
        return {"references": targets, scores: said}

    return inputs, wide


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """While in here, `evaluate` refuses to open a connection (a script may name files to download in its comments)."""
    from evaluate import config

    before = config.HF_EVALUATE_OFFLINE
    config.HF_EVALUATE_OFFLINE = True
    try:
        yield
    finally:
        config.HF_EVALUATE_OFFLINE = before


def _load(reference: str) -> Any:
    with quiet():
        import evaluate
    script = _script(reference, Path(evaluate.config.HF_MODULES_CACHE))
    try:
        with _offline():
            # Banned for names, which it would download; this is the path of a file that exists, and it asks nobody.
            return evaluate.load(str(script), keep_in_memory=True)  # noqa: TID251
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise ConfigError(f"metric {script}: cannot be loaded: {type(error).__name__}: {reason}") from error


def _script(reference: str, cache: Path) -> Path:
    """The script that a reference names: a file, a folder that holds one of its name (or just one), or a name in the cache."""
    path = expanded(reference)
    if is_file(path):
        return path.resolve()
    if is_folder(path):
        scripts = sorted(one for one in path.resolve().glob("*.py") if one.name != "__init__.py")
        named = [one for one in scripts if one.stem == path.resolve().name] or scripts
        if len(named) == 1:
            return named[0]
        raise ConfigError(f"metric {reference}: the folder holds {len(scripts)} scripts; expected {path.resolve().name}.py")
    kept = reference.replace("/", "--") if "/" in reference else f"evaluate-metric--{reference}"
    found = list((cache / "evaluate_modules" / "metrics" / kept).glob(f"*/{reference.rpartition('/')[2]}.py"))
    if not found:
        raise ConfigError(
            f"metric evaluate:{reference}: no such folder or script, and evaluate's cache holds none of this name; "
            "nothing is fetched: give the path of a folder, as in evaluate:./my_metric"
        )
    return max(found, key=lambda one: one.stat().st_mtime)
