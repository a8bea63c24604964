"""Texts from a table to a published folder: each way of training, each task, on tiny networks of the real classes."""

import csv
import random

import datasets
import pytest
import torch
from closeness import assert_close, tolerance
from tiny import TINY_TEXT, text_folder

import zoo
from zoo import registry
from zoo.errors import ConfigError, DataError, UnknownName
from zoo.inference import load

SPEC = next(spec for spec in TINY_TEXT if spec.family and spec.family.name == "bert")
WORDS = {"cat": ["meow", "purr", "whisker", "kitten"], "dog": ["bark", "bone", "leash", "puppy"]}
QUICK = {"tensorboard": False, "epochs": 1, "num_workers": 0, "cache": "cache"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    if SPEC.name not in {spec.name for spec in registry.backbones()}:
        registry.register_backbone(SPEC)
    return str(text_folder(tmp_path_factory.mktemp("weights"), SPEC))


@pytest.fixture
def table(tmp_path):
    """Forty texts of one to thirty words; the words say the class."""
    draw = random.Random(0)
    rows = []
    for number in range(40):
        label = ("cat", "dog")[number % 2]
        words = [draw.choice([*WORDS[label], "the", "a", "and"]) for _ in range(draw.randint(1, 30))]
        rows.append({"body": " ".join([WORDS[label][0], *words]) + f" {number}", "kind": label, "length": len(words) + 0.5})
    path = tmp_path / "texts.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ("body", "kind", "length"))
        writer.writeheader()
        writer.writerows(rows)
    return path


def run(table, weights, label="kind", **options):
    return zoo.finetune(SPEC.name, data=table, text="body", label=label, weights=weights, **{**QUICK, **options})


@pytest.mark.parametrize(
    ("strategy", "method"),
    [
        ("linear-probe", "the head is solved"),
        ("full", "so nothing can be computed once"),
        ("partial:1", "only pooled features are kept"),
        ("lora:2", "so nothing can be computed once"),
    ],
)
def test_every_way_of_training(table, weights, tmp_path, strategy, method, caplog):
    caplog.set_level("INFO", logger="zoo")
    found = run(table, weights, strategy=strategy, out=str(tmp_path / "run"))
    assert method in caplog.text
    model = zoo.load(found.best)
    texts = ["meow purr", "bark " * 40, "the"]
    together, alone = model.predict(texts, batch_size=3), [model.predict(text)[0] for text in texts]
    assert [one.input for one in together] == texts
    for one, other in zip(together, alone, strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=tolerance())
    assert zoo.evaluate(found.best, table, metric="accuracy").values["accuracy"].value is not None


def test_the_folder_needs_nothing_but_itself_and_its_base_weights(table, weights, tmp_path):
    found = run(table, weights, strategy="full", out=str(tmp_path / "run"))
    moved = tmp_path / "moved"
    zoo.publish(found.best, moved)
    assert zoo.load(moved).predict("purr")[0] == zoo.load(found.best).predict("purr")[0]


def test_a_published_folder_is_measured_on_columns_that_are_named(table, weights, tmp_path, caplog):
    found = run(table, weights, strategy="full", out=str(tmp_path / "run"))
    moved = tmp_path / "moved"
    zoo.publish(found.best, moved)
    lines = [f"{number},{line}" for number, line in enumerate(table.read_text().splitlines()[1:])]
    other = tmp_path / "other.csv"
    other.write_text("category,what it says,animal,length\n" + "\n".join(lines))
    caplog.set_level("INFO", logger="zoo")
    with pytest.raises(DataError, match="the model has no class '0'"):
        zoo.evaluate(found.best, other)
    assert "label 'category' in place of 'body', 'kind', which training read" in caplog.text
    expected = zoo.evaluate(moved, table, text="body", label="kind").values["accuracy"]
    assert zoo.evaluate(moved, other, text="what it says", label="animal").values["accuracy"] == expected
    assert zoo.evaluate(found.best, other, text="what it says", label="animal").values["accuracy"] == expected
    with pytest.raises(ConfigError, match="label: of data that are read from a place"):
        zoo.evaluate(found.best, label="animal")
    with pytest.raises(UnknownName, match="of evaluate"):
        zoo.evaluate(found.best, other, epochs=3)


def test_a_saved_data_set_is_measured_as_its_table_is(table, weights, tmp_path):
    found = run(table, weights, out=str(tmp_path / "run"))
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    datasets.Dataset.from_list(rows).save_to_disk(tmp_path / "saved")
    expected = zoo.evaluate(found.best, table).to_dict()
    assert zoo.evaluate(found.best, tmp_path / "saved").to_dict() == expected
    assert zoo.evaluate(found.best, f"hf:{tmp_path / 'saved'}").to_dict() == expected


def test_the_kind_is_looked_at_before_the_weights(table, tmp_path):
    unreadable = tmp_path / "weights.safetensors"
    unreadable.write_text("not weights")
    with pytest.raises(ConfigError, match="takes images"):
        zoo.finetune(
            "resnet50", data=table, text="body", label="kind", weights=str(unreadable), out=str(tmp_path / "run"), **QUICK
        )


def test_features_are_computed_once_and_a_new_text_alone_later(table, weights, tmp_path, caplog):
    caplog.set_level("INFO", logger="zoo")
    run(table, weights, out=str(tmp_path / "a"))
    with table.open("a") as file:
        file.write("whisker and kitten,cat,1.5\n")
    caplog.clear()
    run(table, weights, out=str(tmp_path / "b"))
    assert "1 computed" in caplog.text
    assert "40 were there" in caplog.text


def test_values_are_predicted_in_their_own_unit(table, weights, tmp_path):
    for options in ({}, {"head": "mlp"}, {"strategy": "full"}):
        found = run(table, weights, label="length", out=str(tmp_path / f"run-{len(list(tmp_path.iterdir()))}"), **options)
        assert found.metric == "rmse"
        values = [one.values["length"] for one in zoo.load(found.best).predict(["meow", "bark " * 20])]
        assert all(-20 < value < 60 for value in values)


def test_windows_see_the_end_of_a_long_text(table, weights, tmp_path):
    found = run(table, weights, truncation="window", max_length=16, out=str(tmp_path / "run"))
    model = load(found.best)
    start = "the " * 40
    one, other = (model.predict(start + end)[0].probabilities["cat"] for end in ("meow", "bark"))
    assert one != pytest.approx(other, abs=tolerance())
    cut = load(run(table, weights, max_length=16, out=str(tmp_path / "head")).best)
    first, second = (cut.predict(start + end)[0].probabilities["cat"] for end in ("meow", "bark"))
    assert first == pytest.approx(second, abs=tolerance())


def test_attention_over_tokens(table, weights, tmp_path):
    found = run(table, weights, head="attention-pool", out=str(tmp_path / "run"))
    model = load(found.best)
    texts = ["meow", "bark " * 30]
    for one, text in zip(model.predict(texts, batch_size=2), texts, strict=True):
        assert one.probabilities == pytest.approx(model.predict(text)[0].probabilities, abs=tolerance())


def test_a_solved_head_equals_the_features_times_its_weights(table, weights, tmp_path):
    model = load(run(table, weights, out=str(tmp_path / "run")).best)
    batch = model.preprocess.collate([model.preprocess.prepare(text) for text in ("meow purr", "bark " * 9)])
    with torch.no_grad():
        features = model.model.backbone(batch)
        expected = features @ model.model.head.weight.T + model.model.head.bias
        assert_close(model(batch), expected)


def test_pictures_for_a_text_backbone_and_the_reverse(table, weights, tmp_path):
    with pytest.raises(ConfigError, match="takes texts"):
        zoo.finetune(SPEC.name, data="builtin:digits", weights=weights, out=str(tmp_path / "a"), **QUICK)
    with pytest.raises(ConfigError, match="takes images"):
        zoo.finetune("timm/test_vit.r160_in1k", data=table, text="body", label="kind", weights="random", out=str(tmp_path / "b"))


def test_an_empty_text_has_no_answer(table, weights, tmp_path):
    model = load(run(table, weights, out=str(tmp_path / "run")).best)
    with pytest.raises(DataError, match="empty"):
        model.predict(["meow", "  "])
    assert [one.error is None for one in model.predict(["meow", "  "], skip_unreadable=True)] == [True, False]
