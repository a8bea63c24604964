"""Cards of every kind of sample and every task: their words fit, their numbers are the report's, and their figures are there."""

import csv
import json
import re

import numpy as np
import pytest
from huggingface_hub import ModelCard
from sklearn.metrics import f1_score
from sounding import TINY_SOUND
from tiny import BY_FAMILY, TINY_TEXT, WORDS, text_folder
from written import facts, report

import zoo
from zoo import backbones, registry
from zoo.evaluation.calibration import best_thresholds
from zoo.evaluation.outputs import MultilabelOutputs
from zoo.evaluation.report import evaluate
from zoo.jobs.shipping import choose_thresholds
from zoo.publishing import figures
from zoo.publishing.card import render, write_card
from zoo.types import Kind, Labels, Task

NAMES = ("cat", "dog", "$fox$")
SHA = "12" * 32
SPECS = {Kind.IMAGE: BY_FAMILY["vit"], Kind.TEXT: TINY_TEXT[0], Kind.AUDIO: TINY_SOUND["wav2vec2"]}
OTHERS = {Kind.IMAGE: ("text", "recording"), Kind.TEXT: ("picture", "recording"), Kind.AUDIO: ("picture", "text")}


def drawn(task, samples=60, seed=0):
    """(targets, logits) of three columns."""
    generator = np.random.default_rng(seed)
    if task is Task.CLASSIFICATION:
        targets = np.arange(samples) % 3
        return targets, generator.normal(size=(samples, 3)) + 2 * np.eye(3)[targets]
    if task is Task.MULTILABEL:
        targets = (generator.uniform(size=(samples, 3)) < (0.5, 0.3, 0.1)).astype(np.float32)
        return targets, generator.normal(size=(samples, 3)) + 2 * targets - 1
    targets = generator.normal(size=(samples, 3)) * (1, 10, 100)
    return targets, targets + generator.normal(size=(samples, 3))


def of(kind, task, **config):
    """The facts of a card of that kind and task, with the preprocessing of a real, tiny backbone."""
    spec = SPECS[kind]
    preprocess = backbones.load(spec, "random").preprocess.to_dict()
    place = ("timm/" if kind is Kind.IMAGE else "") + spec.id
    base = {"name": spec.name, "id": spec.id, "family": spec.family.name, "loader": spec.loader, "source": f"Hub {place}"}
    measured = evaluate(*drawn(task), Labels(NAMES), task=task, thresholds=config.get("thresholds"))
    layout = "timm" if kind is Kind.IMAGE else "adapter"
    return facts(NAMES, report=measured, config={"base": base, "preprocess": preprocess, "layout": layout, **config})


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("kind", Kind)
def test_a_card_speaks_of_its_own_kind_and_task(kind, task):
    own = of(kind, task)
    text = render(own, SHA)
    card = ModelCard(text)
    assert card.data.pipeline_tag == {"image": "image", "text": "text", "audio": "audio"}[kind] + "-classification"
    assert (task.value in card.data.tags) == (task is not Task.CLASSIFICATION)
    assert card.data.base_model == ("timm/" if kind is Kind.IMAGE else "") + SPECS[kind].id
    measured = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert measured == pytest.approx(
        {name: value.value for name, value in own.report.values.items() if value.value is not None}, abs=1e-6
    )
    body = text.partition("\n---\n")[2].partition("Of the backbone")[0]
    body = re.sub(r"text-classification|on the validation images", "", body)  # a step's own words, which `facts` wrote
    assert f"60 {kind.nouns}" in body
    assert not [word for word in OTHERS[kind] if re.search(rf"\b{word}s?\b", body)]
    assert ("### What is confused most often" in body) == (task is Task.CLASSIFICATION)
    against = own.report.baseline
    assert f"{against.answer} gives {against.value:.4f}" in body


@pytest.mark.parametrize("task", Task)
def test_the_figures_that_a_card_shows_are_those_that_are_written(task, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    write_card(tmp_path, of(Kind.TEXT, task))
    shown = re.findall(r"!\[[^]]+\]\(([^)]+)\)", (tmp_path / "README.md").read_text(encoding="utf-8"))
    written = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png"))
    assert written == sorted(shown)
    assert all((tmp_path / path).read_bytes().startswith(b"\x89PNG") for path in written)


@pytest.mark.parametrize(("task", "columns"), [(Task.MULTILABEL, 250), (Task.REGRESSION, 14), (Task.REGRESSION, 1)])
def test_figures_hold_many_outputs_and_few(task, columns, tmp_path):
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, size=(8, columns)).astype(float)
    names = Labels(tuple(f"label {number}" for number in range(columns)))
    targets[:, 0] = 1  # no spread, and a label without an absence
    measured = evaluate(targets, targets * 2 - 1, names, task=task, intervals=False)
    paths = figures.write_figures(tmp_path, measured, Kind.TEXT)
    assert [(tmp_path / path).stat().st_size < 200_000 for path in paths] == [True]


def test_the_rows_of_labels_are_scikit_learn_s():
    text = render(of(Kind.TEXT, Task.MULTILABEL, thresholds=[0.5, 0.4, 0.2]), SHA)
    targets, logits = drawn(Task.MULTILABEL)
    said = 1 / (1 + np.exp(-logits)) >= (0.5, 0.4, 0.2)
    rows = [line.split(" | ") for line in text.splitlines() if re.match(r"\| \d \|", line)]
    assert [float(cells[4]) for cells in rows] == pytest.approx(f1_score(targets, said, average=None), abs=1e-4)
    assert [float(cells[5]) for cells in rows] == [0.5, 0.4, 0.2]
    assert "the highest F1 on the validation texts" in text
    assert "Every label holds from a probability of 0.5." in render(of(Kind.TEXT, Task.MULTILABEL), SHA)


def test_the_rows_of_values_are_in_their_own_units():
    targets, said = drawn(Task.REGRESSION)
    rows = [
        line.split(" | ") for line in render(of(Kind.AUDIO, Task.REGRESSION), SHA).splitlines() if re.match(r"\| \d \|", line)
    ]
    assert [float(cells[2]) for cells in rows] == pytest.approx(targets.mean(axis=0), rel=1e-3)
    assert [float(cells[6]) for cells in rows] == pytest.approx(np.sqrt(((said - targets) ** 2).mean(axis=0)), rel=1e-3)


def test_samples_are_counted_once_whatever_their_labels():
    own = of(Kind.TEXT, Task.MULTILABEL)
    own.data["counts"] = {"train": dict.fromkeys(NAMES, 90)}
    own.data["sizes"] = {"train": 100}
    text = render(own, SHA)
    assert "| cat | 90 |" in text
    assert "| **all** | **100** |" in text


def test_what_the_network_takes_is_said():
    assert "It sees an image as 32 x 32 pixels in RGB" in render(of(Kind.IMAGE, Task.CLASSIFICATION), SHA)
    text = render(of(Kind.TEXT, Task.CLASSIFICATION), SHA)
    assert "It reads the first 64 tokens of a text, makes one vector of its features by `mean`" in text
    assert re.search(
        r"It hears the first [\d.]+ seconds of an audio clip, as one channel at 16,000 Hz",
        render(of(Kind.AUDIO, Task.CLASSIFICATION), SHA),
    )


@pytest.mark.parametrize("task", Task)
def test_a_model_that_does_not_beat_an_answer_without_looking_is_not_to_be_used(task):
    targets, logits = drawn(task)
    warning = "**Do not use it:**"
    assert warning not in render(of(Kind.TEXT, task), SHA)
    worse = evaluate(targets, -logits, Labels(NAMES), task=task, intervals=False)
    own = of(Kind.TEXT, task)
    assert warning in render(facts(NAMES, report=worse, config=dict(own.config)), SHA)


def test_a_matrix_without_errors_is_called_so_and_other_tasks_have_none():
    perfect = facts(report=report(strength=100.0))
    assert "Nothing: every image was classified rightly." in render(perfect, SHA)
    assert "classified rightly" not in render(of(Kind.TEXT, Task.REGRESSION), SHA)


def test_thresholds_are_those_of_the_best_f1_where_enough_samples_say_so():
    targets, logits = drawn(Task.MULTILABEL)
    targets[20:, 2] = 0
    assert [count >= 10 for count in targets.sum(axis=0)] == [True, True, False]
    best = best_thresholds(MultilabelOutputs.from_logits(targets, logits))
    assert best[2] != 0.5
    assert choose_thresholds(targets, logits) == [*best[:2], 0.5]
    assert choose_thresholds(targets[:9], logits[:9]) is None


def written(path, task):
    """A table of 160 texts: what is to be predicted is in their words."""
    generator = np.random.default_rng(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        for _ in range(160):
            chosen = generator.choice(WORDS[30:], 8).tolist()
            good, bad = (generator.uniform(size=2) < 0.5).tolist()
            text = " ".join([*chosen, *["good"] * 3 * good, *["bad"] * 3 * bad])
            labels = "|".join([*["up"] * good, *["down"] * bad])
            rows.writerow(
                [text, {Task.CLASSIFICATION: "up" if good else "other", Task.MULTILABEL: labels}.get(task, 7.5 + 3 * good)]
            )
    return path


@pytest.mark.parametrize("task", Task)
def test_a_run_on_texts_leaves_a_card_whose_numbers_are_measured_again(task, tmp_path, monkeypatch):
    spec = TINY_TEXT[0]
    monkeypatch.setitem(registry._backbones, spec.name, spec)  # as register_backbone does, for this test alone
    run = zoo.finetune(
        spec.name,
        weights=str(text_folder(tmp_path, spec)),
        data=written(tmp_path / "t.csv", task),
        label_delimiter="|" if task is Task.MULTILABEL else None,
        max_length=10,
        engine="torch",
        out=str(tmp_path / "run"),
    )
    card = (run.best / "README.md").read_text(encoding="utf-8")
    assert "texts have more than 10 tokens" in card
    again = zoo.evaluate(run.best)
    result = run.result()
    assert again.n == result["samples"] > 20
    known = {name: value for name, value in result["metrics"].items() if value is not None}
    assert {name: again.values[name].value for name in known} == pytest.approx(known, rel=1e-6)
    assert {name for name, value in again.values.items() if value.value is None} == set(result["metrics"]) - set(known)
    thresholds = json.loads((run.best / "config.json").read_text(encoding="utf-8"))["zoo"].get("thresholds")
    assert (thresholds is not None) == (task is Task.MULTILABEL)
    if task is Task.MULTILABEL:
        assert [row.threshold for row in again.per_label] == thresholds
