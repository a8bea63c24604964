"""Answers come in the order of the inputs, whatever is beside them; what cannot be read says why in its place."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import tolerance
from PIL import Image
from tiny import BY_FAMILY

from zoo import backbones
from zoo.adaptation.model import AdaptedModel
from zoo.errors import ConfigError, DataError
from zoo.inference import Predictor, find, prediction
from zoo.types import Kind, Labels, Prediction, Task

LABELS = Labels(("ant", "bee", "cat"))


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    model = AdaptedModel.build(backbones.load(BY_FAMILY["resnet"], "random"), 3, labels=LABELS)
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
    return Predictor(model)


@pytest.fixture
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    return [Image.fromarray(rng.integers(0, 256, (40, 30 + number, 3), dtype=np.uint8)) for number in range(19)]


def one_by_one(predictor: Predictor, pictures: list[Image.Image]) -> list[list[float]]:
    """Probabilities of a plain forward pass each."""
    transform = predictor.preprocess.transform()
    with torch.no_grad():
        return [predictor.model(transform(one)[None]).double().softmax(dim=1)[0].tolist() for one in pictures]


def test_the_order_is_kept_over_batches_and_chunks(predictor: Predictor, pictures: list[Image.Image]) -> None:
    """19 images in batches of two, eight of which are read at once."""
    answers = list(predictor.stream(enumerate_names(pictures), batch_size=2))
    assert [answer.input for answer in answers] == [f"image {number}" for number in range(19)]
    for answer, expected in zip(answers, one_by_one(predictor, pictures), strict=True):
        assert [answer.probabilities[name] for name in LABELS.names] == pytest.approx(expected, abs=tolerance())
        assert answer.label == LABELS.names[int(np.argmax(expected))]
        assert answer.probability == max(answer.probabilities.values()) == next(iter(answer.probabilities.values()))
    assert len({answer.probability for answer in answers}) > 10


def enumerate_names(pictures: list[Image.Image]) -> Iterator[tuple[str, Image.Image]]:
    return ((f"image {number}", one) for number, one in enumerate(pictures))


def test_an_error_stands_in_its_place(predictor: Predictor, pictures: list[Image.Image], tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("not an image")
    told = DataError("table.csv, row 3: no such file")
    given = [("a", pictures[0]), ("b", str(tmp_path / "bad.png")), ("c", told), ("d", pictures[1]), ("e", torch.zeros(3, 9, 9))]
    first, second, third, fourth, fifth = predictor.stream(given, batch_size=2)
    assert [one.input for one in (first, second, third, fourth, fifth)] == ["a", "b", "c", "d", "e"]
    assert first.error is fourth.error is None
    assert third == Prediction("c", None, error=str(told))
    assert "bad.png: not an image" in str(second.error)
    assert str(fifth.error).startswith("e: a float tensor [3, 9, 9]; expected [3, 32, 32]")


def test_no_more_is_read_than_is_soon_needed(predictor: Predictor, pictures: list[Image.Image]) -> None:
    read: list[str] = []

    def reading() -> Iterator[tuple[str, Image.Image]]:
        for number in range(10_000):
            read.append(str(number))
            yield str(number), pictures[number % 19]

    answers = predictor.stream(reading(), batch_size=1)
    for _ in range(6):
        next(answers)
    assert len(read) <= 12  # three chunks of four
    answers.close()  # type: ignore[attr-defined]  # it is a generator


def test_pictures_that_are_normalised_and_others_in_one_call(predictor: Predictor, pictures: list[Image.Image]) -> None:
    plain, values = pictures[0], torch.from_numpy(np.array(pictures[0])).permute(2, 0, 1)
    normalised = predictor.preprocess.transform()(plain)
    answers = predictor.predict([plain, normalised, values])
    assert [answer.input for answer in answers] == ["#0", "#1", "#2"]
    assert [answer.probability for answer in answers] == pytest.approx([answers[0].probability] * 3, abs=tolerance())


def test_what_cannot_be_read_is_raised_or_listed(predictor: Predictor, pictures: list[Image.Image]) -> None:
    given = [pictures[0], 7, pictures[1]]
    with pytest.raises(DataError, match="#1: a int; expected a path, a PIL image or a tensor"):
        predictor.predict(given)  # type: ignore[arg-type]
    answers = predictor.predict(given, skip_unreadable=True)  # type: ignore[arg-type]
    assert [answer.input for answer in answers] == ["#0", "#1", "#2"]
    assert [answer.label is None for answer in answers] == [False, True, False]
    assert answers.unreadable == [answers[1].error] == ["#1: a int; expected a path, a PIL image or a tensor"]


def test_a_model_without_labels_is_refused() -> None:
    with pytest.raises(ConfigError, match="without labels"):
        Predictor(AdaptedModel.build(backbones.load(BY_FAMILY["resnet"], "random"), 3))


def test_the_answer_in_a_row_of_outputs() -> None:
    row = torch.tensor([0.0, 2.0, -1.0], dtype=torch.float64)
    shares = np.exp(row.numpy()) / np.exp(row.numpy()).sum()
    one = prediction("x", row, LABELS, Task.CLASSIFICATION)
    assert (one.label, one.holds, list(one.probabilities)) == ("bee", None, ["bee", "ant", "cat"])
    assert list(one.probabilities.values()) == pytest.approx([shares[1], shares[0], shares[2]])
    several = prediction("x", row, LABELS, Task.MULTILABEL)
    assert (several.label, several.holds) == ("bee|ant", ("bee", "ant"))
    assert several.probabilities == pytest.approx(dict(zip(LABELS.names, 1 / (1 + np.exp(-row.numpy())), strict=True)))
    values = prediction("x", row, LABELS, Task.REGRESSION)
    assert (values.label, values.probability, values.values) == ("", None, {"ant": 0.0, "bee": 2.0, "cat": -1.0})


def test_inputs_are_found_by_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pictures: list[Image.Image]) -> None:
    (tmp_path / "some").mkdir()
    for name in ("b.png", "a.png"):
        pictures[0].save(tmp_path / "some" / name)
    with (tmp_path / "lines").open("w+") as lines:
        lines.write("x.png\n\ny.png\r\n")
        lines.seek(0)
        monkeypatch.setattr("sys.stdin", lines)
        found = list(find(Kind.IMAGE, [tmp_path / "some", pictures[1], "-"]))
    names = [Path(name).name for name, _ in found]
    assert names == ["a.png", "b.png", "#1", "x.png", "y.png"]
    assert found[2][1] is pictures[1]
    with pytest.raises(DataError, match=r"nowhere\.png"):
        list(find(Kind.IMAGE, [tmp_path / "nowhere.png"]))
    assert list(find(Kind.TEXT, ["a text", ("one", "two")])) == [("a text", "a text"), ("#1", ("one", "two"))]
