"""`zoo list` and `zoo show` for every kind of sample, and metrics of every task."""

import pytest

from zoo import api, registry
from zoo.cli import flags
from zoo.errors import ConfigError, UnknownName
from zoo.evaluation import metrics
from zoo.evaluation.metrics import Metric
from zoo.jobs import preparing
from zoo.types import Kind, Task


@pytest.mark.parametrize("kind", Kind)
def test_backbones_of_one_kind(zoo_cli, kind):
    rows = zoo_cli("list", "backbones", "--kind", kind, "--json").json["backbones"]
    assert [row["name"] for row in rows] == [spec.name for spec in registry.backbones() if spec.kind is kind] != []
    assert {row["kind"] for row in rows} == {kind}


def test_without_a_kind_all_are_listed(zoo_cli):
    assert {row["kind"] for row in zoo_cli("list", "--json").json["backbones"]} == set(Kind)
    assert zoo_cli("list", "--kind", "text", "--filter", "resnet").out == "no backbones match 'resnet' and kind text\n"


def test_kinds_are_of_backbones_alone(zoo_cli):
    assert "--kind text is for backbones; leave it out to list heads" in zoo_cli("list", "heads", "--kind", "text").refused()
    with pytest.raises(UnknownName, match="no kind 'texts'; did you mean 'text'"):
        api.list_backbones(kind="texts")


def test_metrics_of_every_task_are_listed_and_completed():
    rows = {row["name"]: row for row in api.list_metrics()}
    for task in Task:
        assert [name for name, row in rows.items() if task in row["tasks"].split(", ")] == [
            name for name in rows if name in metrics.names(task)
        ]
    assert set(rows) == {name for task in Task for name in metrics.names(task)}
    assert rows["macro_f1"]["what"] == "macro F1: mean over the classes of F1; multilabel: mean over the labels of F1"
    assert flags.COMPLETERS["metric"](None) == list(rows)


@pytest.mark.parametrize(("name", "parts"), [("all-MiniLM-L6-v2", "[1, 16, 384]"), ("distilhubert", "[1, 49, 768]")])
def test_show_draws_networks_of_texts_and_recordings(zoo_cli, name, parts):
    ran = zoo_cli("show", name, "--strategy", "lora:2", "--json")
    assert ran.json["kind"] == registry.resolve(name).kind
    assert {row["group"] for row in ran.json["plan"]} == {"adapter", "head"}
    assert parts in ran.err


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("metric: rmse", None),
        ("metric: mean_average_precision", None),
        ("metric: rmse\ntask: regression", None),
        ("metric: rmse\ntask: classification", "metric 'rmse' is for regression, and the task is classification"),
        ("metric: rsme", "no metric 'rsme'"),
    ],
)
def test_a_recipe_may_choose_by_a_metric_of_any_task(tmp_path, lines, said):
    path = tmp_path / "own.yaml"
    path.write_text(f"# Own.\nstrategy: full\n{lines}\n", encoding="utf-8")
    if said is None:
        assert api.validate_recipe(str(path))["strategy"] == "full"
    else:
        with pytest.raises(ConfigError, match=said):
            api.validate_recipe(str(path))


def test_a_metric_of_any_task_may_be_an_object():
    from zoo import configure

    rmse = metrics.get("rmse", Task.REGRESSION)
    resolved, given = preparing.extras(configure.configure({}), None, rmse, None)
    assert given.metric is rmse
    assert isinstance(given.metric, Metric)
    assert resolved.config.selection.metric == "rmse"
