"""What the verbs make of real runs, reports and predictions."""

import csv
import io
import json

import numpy as np
import pytest

from zoo.cli.verbs import evaluate, finetune, predict
from zoo.config import resolve
from zoo.evaluation.report import evaluate as measure
from zoo.runs import create
from zoo.types import Labels, Prediction


@pytest.fixture
def run():
    made, _ = create(resolve([("flag", {"backbone": "resnet18", "strategy": "lora:8", "out": "runs/one"})]), {})
    return made


def test_runs_are_listed_and_a_damaged_one_is_named(zoo_cli, run, tmp_path):
    (run.path / "result.json").write_text(json.dumps({"metric": "accuracy", "value": 0.93214, "seconds": 61.2}))
    broken, _ = create(resolve([("flag", {"out": "runs/two"})]), {})
    (broken.path / "config.yaml").write_text("lrr: 1\n")
    row = {"run": "runs/one", "status": "finished", "backbone": "resnet18", "strategy": "lora:8"}
    ran = zoo_cli("runs", "--json")
    assert ran.json == {"runs": [row | {"metric": "accuracy", "value": 0.93214, "seconds": 61.2}]}
    said = ran.err.splitlines()[-1]
    assert said.startswith("zoo: left out: runs/two/config.yaml: ")
    assert "no option is called 'lrr'" in said
    table = zoo_cli("runs")
    assert table.out.splitlines()[2].split() == ["runs/one", "finished", "resnet18", "lora:8", "accuracy", "0.9321", "61.2"]


def test_no_runs(zoo_cli, tmp_path):
    (tmp_path / "work" / "runs").mkdir()
    assert zoo_cli("runs").out == "no runs in runs\n"
    assert zoo_cli("runs", "--json").json == {"runs": []}


def test_a_finished_run_says_where_its_card_is(run, capsys):
    (run.path / "result.json").write_text(json.dumps({"metric": "accuracy", "value": 0.9, "per_class": [1, 2]}))
    run.best.mkdir()
    finetune.finished(run).print(json=False)
    assert "model card" not in capsys.readouterr().out
    (run.best / "README.md").write_text("# card")
    finetune.finished(run).print(json=False)
    out = capsys.readouterr().out
    assert out.endswith("\nmodel card: runs/one/best/README.md\n")
    assert "per class" not in out
    assert [line.split() for line in out.splitlines() if line.startswith("value")][-1] == ["value", "0.9"]


def test_a_report_has_a_key_for_each_metric(capsys):
    report = measure([0, 1, 1, 0], np.eye(2)[[0, 1, 0, 0]], Labels(("cat", "[dog]")), seed=1)
    output = evaluate._output(report)
    output.print(json=True)
    out, err = capsys.readouterr()
    values = json.loads(out)
    assert values["accuracy"] == 0.75
    assert values["top5_accuracy"] is None
    assert values["report"]["per_class"][1]["name"] == "[dog]"
    rows = {line.split()[0]: line for line in err.splitlines() if line.strip()}
    assert rows["accuracy"].split()[1] == "0.75"
    assert "undefined: top-5 accuracy is always 1 with 2 classes" in rows["top5_accuracy"]
    assert rows["[dog]"].split()[1:] == ["1", "0.5", "0.6667", "2"]


def test_predictions_as_values_and_csv():
    output = Prediction("a, b.jpg", "cat", 0.75, {"cat": 0.75, "dog": 0.25})
    assert predict._values(output, None)["probabilities"] == {"cat": 0.75, "dog": 0.25}
    assert predict._values(output, 1)["probabilities"] == {"cat": 0.75}
    text = predict._csv([*predict._rows(output, 2), *predict._rows(output, 1)])
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["input"], row["rank"], row["label"], float(row["probability"])) for row in rows] == [
        ("a, b.jpg", "1", "cat", 0.75),
        ("a, b.jpg", "2", "dog", 0.25),
        ("a, b.jpg", "1", "cat", 0.75),
    ]
