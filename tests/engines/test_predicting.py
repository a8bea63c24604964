"""Answers by an engine: those of torch to 1e-5, the same after a stop, and torch where there is little to answer."""

import io
import json
import logging
import os
import signal

import pytest
from saving import save
from tiny import TINY_TEXT, text_folder

import zoo
from zoo import inference, registry
from zoo.adaptation.model import AdaptedModel
from zoo.engines import installed
from zoo.errors import ConfigError, DataError, UnknownName
from zoo.jobs import prediction_file as predict_answers
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


def harmed_after(predictor_class, monkeypatch, batches, harm):
    """Have the engine harmed when so many batches were computed."""
    plain, seen = predictor_class._by_engine, []

    def by_engine(self, batch):
        seen.append(batch)
        if len(seen) == batches:
            harm(self._engine._runtime)
        return plain(self, batch)

    monkeypatch.setattr(predictor_class, "_by_engine", by_engine)


def test_where_an_engine_dies_the_file_is_torch_s_from_its_first_line(best, tmp_path, monkeypatch, caplog):
    inputs = [table(tmp_path)]
    zoo.predict_to(tmp_path / "torch.jsonl", best, inputs, engine="torch", top=None, batch_size=4)
    harmed_after(inference.Predictor, monkeypatch, 5, lambda runtime: os.kill(runtime.pid, signal.SIGKILL))
    written = zoo.predict_to(tmp_path / "openvino.jsonl", best, inputs, engine="openvino", top=None, batch_size=4)
    assert (tmp_path / "openvino.jsonl").read_bytes() == (tmp_path / "torch.jsonl").read_bytes()
    assert written.answered == len(TEXTS)
    [said] = [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= logging.WARNING and "columns guessed" not in record.getMessage()
    ]
    assert said == "the engine openvino was ended by SIGKILL; torch goes on"
    assert not list(tmp_path.glob("*.progress.json"))


def test_where_an_engine_dies_lines_of_stdin_are_all_answered(best, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{text}\n" for text in TEXTS)))
    harmed_after(inference.Predictor, monkeypatch, 5, lambda runtime: os.kill(runtime.pid, signal.SIGKILL))
    zoo.predict_to(tmp_path / "lines.jsonl", best, ["-"], engine="openvino", batch_size=4)
    assert [one["input"] for one in answers(tmp_path / "lines.jsonl")] == [f"line {number}" for number in range(1, 51)]


def test_answers_of_an_engine_that_cannot_be_had_any_more_are_begun_anew(best, tmp_path, monkeypatch):
    inputs, out = [table(tmp_path)], tmp_path / "answers.jsonl"

    def stop(runtime):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(predict_answers, "SECONDS", 0.0)
        harmed_after(inference.Predictor, patched, 80, stop)  # 64 are read, and marked as answered, at once
        with pytest.raises(KeyboardInterrupt):
            zoo.predict_to(out, best, [*inputs, *TEXTS], engine="openvino", top=None, batch_size=1)
    assert predict_answers.begun_with(out)["engine"] == "openvino"
    assert json.loads((tmp_path / "answers.jsonl.progress.json").read_text())["answered"] == 64
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "openvino.py").write_text("raise ImportError('no libtbb.so.12')")
    monkeypatch.syspath_prepend(str(broken))
    zoo.predict_to(out, best, [*inputs, *TEXTS], top=None, batch_size=1)
    zoo.predict_to(tmp_path / "torch.jsonl", best, [*inputs, *TEXTS], engine="torch", top=None, batch_size=1)
    assert out.read_bytes() == (tmp_path / "torch.jsonl").read_bytes()


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
