"""Answers by an engine: those of torch to 1e-5, the same after a stop, and torch where there is little to answer."""

import json

import pytest
from saving import save
from tiny import TINY_TEXT, text_folder

import zoo
from zoo import inference, registry
from zoo.adaptation.model import AdaptedModel
from zoo.engines import installed
from zoo.errors import ConfigError, DataError, UnknownName
from zoo.types import Kind, Labels

pytestmark = pytest.mark.skipif("openvino" not in installed(), reason="OpenVINO is not installed (the extra cpu)")
SPEC = next(spec for spec in TINY_TEXT if spec.family and spec.family.name == "distilbert")
TEXTS = [" ".join(["text"] * (number % 9 + 1)) + f" {number}" for number in range(50)]


@pytest.fixture(scope="module")
def best(tmp_path_factory):
    """A saved model of two classes, whole."""
    folder = tmp_path_factory.mktemp("model")
    weights = text_folder(folder / "weights", SPEC)
    if SPEC.name not in {spec.name for spec in registry.backbones()}:
        registry.register_backbone(SPEC)
    model = AdaptedModel.build(SPEC.name, 2, strategy="full", weights=str(weights), labels=Labels(("a", "b")))
    model.head.weight.data.normal_()
    save(folder / "best", model)
    return folder / "best"


def table(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("text\n" + "".join(f"{text}\n" for text in TEXTS))
    return str(path)


def answers(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_engine_gives_the_answers_of_torch(best, tmp_path):
    for engine in ("torch", "openvino"):
        zoo.predict_to(tmp_path / f"{engine}.jsonl", best, [table(tmp_path)], engine=engine, top=None)
    plain, fast = answers(tmp_path / "torch.jsonl"), answers(tmp_path / "openvino.jsonl")
    assert len(plain) == len(fast) == len(TEXTS)
    for one, other in zip(plain, fast, strict=True):
        assert one["input"] == other["input"]
        assert one["probability of a"] == pytest.approx(other["probability of a"], abs=1e-5)


def test_the_engine_really_runs(best):
    predictor = inference.load(best)
    first = list(inference.find(predictor.kind, TEXTS))
    assert predictor.accelerate(first, engine="openvino", expected=10**6) == "openvino"
    assert predictor._engine is not None
    assert predictor.predict(TEXTS[3])[0].probabilities == pytest.approx(
        inference.load(best).predict(TEXTS[3])[0].probabilities, abs=1e-5
    )


def test_for_few_inputs_nothing_is_converted(best):
    predictor = inference.load(best)
    first = list(inference.find(predictor.kind, TEXTS[:4]))
    assert predictor.accelerate(first, engine="auto", expected=4) == "torch"


def test_engines_of_one_shape_are_refused_for_texts(best):
    predictor = inference.load(best)
    with pytest.raises(ConfigError, match="differ in length"):
        predictor.accelerate(list(inference.find(predictor.kind, TEXTS)), engine="onnxruntime", expected=50)


def test_a_file_that_was_begun_by_one_engine_is_not_gone_on_with_by_another(best, tmp_path):
    out = tmp_path / "answers.jsonl"
    stopped = tmp_path / "later.csv"
    stopped.write_text("text\none\n")
    torn = [*TEXTS * 4, str(stopped)]
    with pytest.raises(UnknownName):  # in the midst: some are answered
        zoo.predict_to(out, best, torn, engine="torch", batch_size=1, column="nothing")
    with pytest.raises(ConfigError, match="begun with another engine"):
        zoo.predict_to(out, best, torn, engine="openvino", batch_size=1, column="nothing")


def test_the_name_of_a_table_that_is_not_there_is_no_text(best):
    with pytest.raises(DataError, match=r"^reviews\.csv: no such file$"):
        zoo.predict(best, ["a text before it", "reviews.csv"])
    assert len(zoo.predict(best, ["I lost my reviews.csv"])) == 1


def test_columns_are_named_by_the_flag_that_predict_has(best, tmp_path):
    path = tmp_path / "two.csv"
    path.write_text("body,message\na b c,d e f\ng h i,j k l\n")
    with pytest.raises(ConfigError, match=r"say --column body or --column message$"):
        zoo.predict(best, [path])
    assert len(zoo.predict(best, [path], column="body")) == 2


def test_what_is_counted(tmp_path):
    assert inference.count(Kind.TEXT, ["a", "b", table(tmp_path), "-"]) == 52
