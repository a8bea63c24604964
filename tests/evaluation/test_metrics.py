"""Metrics by name, by function, by `evaluate` module; and ours as `evaluate` modules. Nothing is ever fetched."""

from __future__ import annotations

import doctest
import os
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
from drawn import draw
from packages import install

from zoo import api
from zoo.errors import ConfigError, DataError, UnknownName
from zoo.evaluation import metrics
from zoo.evaluation.outputs import Outputs, Undefined
from zoo.types import Task

OUTPUTS = Outputs.from_logits(*draw(120, 3, strength=1))

SCRIPT = """
import evaluate
import datasets

class {name}(evaluate.Metric):
{attributes}
    def _info(self):
        features = datasets.Features({{"{column}": {kind}, "references": datasets.Value("int64")}})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, **inputs):
        predictions, references = inputs["{column}"], inputs["references"]
        return {answer}
"""
SHARE = '{"share": sum(a == b for a, b in zip(predictions, references)) / len(references)}'


def script(
    path: Path, answer: str = SHARE, attributes: str = "    higher_is_better = True", column: str = "predictions",
    kind: str = 'datasets.Value("int64")', extra: str = "",
) -> Path:  # fmt: skip
    """Write a metric script for `evaluate`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = SCRIPT.format(name="Mine", answer=answer, attributes=attributes, column=column, kind=kind)
    path.write_text(extra + text)
    return path


def test_every_name_resolves_to_itself():
    assert [metrics.resolve(name).name for name in metrics.names()] == metrics.names()
    assert metrics.resolve(metrics.get("ece")) is metrics.get("ece")


def test_a_misspelt_name_gets_the_nearest():
    with pytest.raises(UnknownName, match=r"no metric 'acuracy'; did you mean 'accuracy'.*evaluate:FOLDER"):
        metrics.resolve("acuracy")


def test_examples_of_the_documentation():
    assert doctest.testmod(metrics).failed == 0


def test_a_function_needs_a_direction():
    def matches(targets, predictions):
        return (targets == predictions).mean()

    with pytest.raises(ConfigError, match=r"Set `matches.higher_is_better = True`"):
        metrics.resolve(matches)
    assert metrics.resolve(matches, higher_is_better=True).function(OUTPUTS) == OUTPUTS.correct.mean()
    matches.higher_is_better = False
    assert metrics.resolve(matches).higher_is_better is False


def test_functions_of_scikit_learn_fit():
    matthews = metrics.resolve(sklearn.metrics.matthews_corrcoef, higher_is_better=True)
    assert matthews.name == "matthews_corrcoef"
    assert matthews.function(OUTPUTS) == sklearn.metrics.matthews_corrcoef(OUTPUTS.targets, OUTPUTS.predictions)


def test_a_function_may_want_probabilities():
    def brier(targets, probabilities):
        return ((probabilities - np.eye(3)[targets]) ** 2).sum(axis=1).mean()

    metric = metrics.resolve(brier, higher_is_better=False, needs="probabilities")
    assert metric.function(OUTPUTS) == pytest.approx(((OUTPUTS.probabilities - np.eye(3)[OUTPUTS.targets]) ** 2).sum() / 120)


@pytest.mark.parametrize("answer", [np.nan, np.inf, None])
def test_a_function_without_an_answer_is_undefined(answer):
    metric = metrics.resolve(lambda targets, predictions: answer, higher_is_better=True)
    with pytest.raises(Undefined):
        metric.function(OUTPUTS)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda targets, predictions: 1 / 0, "failed with ZeroDivisionError"),
        (lambda targets, predictions: np.zeros(3), "expected one number"),
        (lambda targets, predictions: "0.5", "expected one number"),
    ],
)
def test_a_function_that_fails_is_one_line(function, words):
    with pytest.raises(ConfigError, match=words):
        metrics.resolve(function, higher_is_better=True).function(OUTPUTS)


def test_a_function_may_not_take_a_name_of_ours():
    def accuracy(targets, predictions):
        return 1.0

    with pytest.raises(ConfigError, match="rename"):
        metrics.resolve(accuracy, higher_is_better=True)


@pytest.mark.parametrize("thing", [3, None, {"a": 1}])
def test_other_things_are_no_metrics(thing):
    with pytest.raises(ConfigError, match="expected a name, a function or a module"):
        metrics.resolve(thing)


@pytest.mark.parametrize(
    "spelling", ["evaluate:./mine", "evaluate:mine/mine.py", "evaluate:./mine:share", "evaluate:mine:share:max"]
)
def test_a_module_of_a_local_folder(spelling):
    script(Path("mine/mine.py"))
    metric = metrics.resolve(spelling)
    assert metric.name == spelling
    assert metric.higher_is_better is True
    assert metric.function(OUTPUTS) == pytest.approx(OUTPUTS.correct.mean())


def test_a_folder_with_one_script_of_another_name():
    script(Path("folder/other.py"))
    assert metrics.resolve("evaluate:folder").function(OUTPUTS) == pytest.approx(OUTPUTS.correct.mean())


def test_the_direction_of_a_module_is_declared_or_given():
    script(Path("mine/mine.py"), attributes="    pass")
    with pytest.raises(ConfigError, match=r"end the metric in :max or :min"):
        metrics.resolve("evaluate:./mine")
    assert metrics.resolve("evaluate:./mine:min").higher_is_better is False
    assert metrics.resolve("evaluate:./mine:share:max").higher_is_better is True


def test_one_of_several_values_is_picked_by_its_key():
    script(Path("mine/mine.py"), answer='{"a": 1.0, "b": 2.0}')
    assert metrics.resolve("evaluate:mine:b").function(OUTPUTS) == 2.0
    for spelling in ("evaluate:mine", "evaluate:mine:c"):
        with pytest.raises(ConfigError, match="gives 'a', 'b'"):
            metrics.resolve(spelling).function(OUTPUTS)


def test_a_module_may_want_probabilities():
    kind = 'datasets.Sequence(datasets.Value("float64"))'
    script(Path("mine/mine.py"), column="prediction_scores", kind=kind, answer='{"top": max(map(max, predictions))}')
    metric = metrics.resolve("evaluate:mine")
    assert metric.needs == "probabilities"
    assert metric.function(OUTPUTS) == pytest.approx(OUTPUTS.probabilities.max())


def test_a_module_that_fails_is_one_line():
    script(Path("mine/mine.py"), answer='{"a": predictions[10**9]}')
    with pytest.raises(ConfigError, match="failed with IndexError"):
        metrics.resolve("evaluate:mine").function(OUTPUTS)


@pytest.mark.parametrize("kind", ['datasets.Value("string")', "texts"])
def test_a_module_with_other_inputs_is_refused(kind):
    column = "texts" if kind == "texts" else "predictions"
    script(Path("mine/mine.py"), column=column, kind='datasets.Value("string")')
    with pytest.raises(ConfigError, match="wants"):
        metrics.resolve("evaluate:mine")


def test_a_script_that_names_a_file_to_download_is_refused():
    script(Path("mine/mine.py"), extra="from .helper import x  # From: https://example.org/helper.py\n")
    with pytest.raises(ConfigError, match="cannot be loaded: OfflineModeIsEnabled"):
        metrics.resolve("evaluate:mine")


def test_a_broken_script_is_one_line():
    Path("mine").mkdir()
    Path("mine/mine.py").write_text("import evaluate\ndef (\n")
    with pytest.raises(ConfigError, match=r"mine\.py: cannot be loaded: SyntaxError"):
        metrics.resolve("evaluate:mine")


@pytest.mark.parametrize("name", ["accuracy", "owner/name", "./missing", "missing.py"])
def test_a_name_is_never_fetched(name):
    with pytest.raises(ConfigError, match="nothing is fetched"):
        metrics.resolve(f"evaluate:{name}")


def test_what_the_cache_of_evaluate_holds_is_found_newest_first():
    import evaluate

    folder = Path(evaluate.config.HF_MODULES_CACHE) / "evaluate_modules" / "metrics" / "evaluate-metric--kept"
    for age, value in (("a" * 64, 1.0), ("b" * 64, 2.0)):
        path = script(folder / age / "kept.py", answer=f'{{"kept": {value}}}')
        os.utime(path, (value, value))
    assert metrics.resolve("evaluate:kept").function(OUTPUTS) == 2.0


@pytest.mark.parametrize("spelling", ["evaluate:", "evaluate:a:b:c", "evaluate:a:b:c:max"])
def test_a_bad_spelling_is_refused(spelling):
    with pytest.raises(ConfigError, match="expected evaluate:PATH"):
        metrics.resolve(spelling)


def test_a_folder_of_several_scripts_is_ambiguous():
    script(Path("folder/a.py"))
    script(Path("folder/b.py"))
    with pytest.raises(ConfigError, match=r"holds 2 scripts; expected folder\.py"):
        metrics.resolve("evaluate:folder")


@pytest.mark.parametrize("name", metrics.names())
def test_ours_as_an_evaluate_module_agrees(name):
    import evaluate

    outputs = Outputs.from_logits(*draw(120, 7))
    module = metrics.as_evaluate(name, num_classes=7)
    assert isinstance(module, evaluate.Metric)
    if metrics.get(name).needs == "probabilities":
        answer = module.compute(prediction_scores=outputs.probabilities, references=outputs.targets)
    else:
        answer = module.compute(predictions=outputs.predictions, references=outputs.targets)
    assert answer == {name: pytest.approx(metrics.get(name).function(outputs), abs=1e-12)}


def test_ours_goes_there_and_back():
    metric = metrics.resolve(metrics.as_evaluate("macro_f1"))
    assert metric.higher_is_better
    assert metric.function(OUTPUTS) == pytest.approx(metrics.get("macro_f1").function(OUTPUTS))


def test_ours_counts_in_batches_like_any_module():
    module = metrics.as_evaluate("accuracy")
    for start in range(0, 120, 50):
        module.add_batch(predictions=OUTPUTS.predictions[start : start + 50], references=OUTPUTS.targets[start : start + 50])
    assert module.compute() == {"accuracy": pytest.approx(OUTPUTS.correct.mean())}


def test_ours_says_what_is_undefined():
    answer = metrics.as_evaluate("macro_f1").compute(predictions=[0, 2], references=[0, 0])
    assert answer["macro_f1"] is None
    assert "1 of 2 classes" in answer["macro_f1_undefined"]


@pytest.mark.parametrize("predictions", [[0, 1.5], [0, None]])
def test_ours_takes_whole_numbers_only(predictions):
    with pytest.raises(DataError, match="whole numbers"):
        metrics.as_evaluate("accuracy").compute(predictions=predictions, references=[0, 1])


PLUGIN = """
from zoo.evaluation.metrics.classification import Metric
from zoo.types import Task

ERRORS = Metric("errors", "errors: how many", False, lambda outputs: float((~outputs.correct.astype(bool)).sum()), high=1e9,
                task=Task.CLASSIFICATION)
TAKEN = Metric("accuracy", "something else", True, lambda outputs: 0.0)
"""


def test_a_plug_ins_metric_is_found_by_name_and_takes_none_of_zoos(site):
    install(site, "errorspack", PLUGIN, metrics="errors = errorspack:ERRORS\naccuracy = errorspack:TAKEN")
    assert metrics.resolve("errors").title == "errors: how many"
    assert metrics.resolve("accuracy").title != "something else"
    assert "errors" in {row["name"] for row in api.list_metrics()}
    with pytest.raises(ConfigError, match="'errors' is for classification"):
        metrics.resolve("errors", task=Task.REGRESSION)
