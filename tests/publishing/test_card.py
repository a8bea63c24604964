"""The card: valid metadata, the report's own numbers, names that are not markup, nothing of the author's machine."""

import pytest
from huggingface_hub import ModelCard
from written import facts, report

from zoo.publishing.card import render

NASTY = ("a|b", "line\nbreak", "<b>bold</b>", "`code`", "plain", *tuple(f"class {number}" for number in range(40)))


def test_the_metadata_are_the_hub_s_and_the_numbers_the_report_s():
    own = facts(config={"base": {"source": "Hub timm/resnet50.a1_in1k"}})
    card = ModelCard(render(own, "12" * 32))
    assert card.data.license == "apache-2.0"
    assert card.data.base_model == "timm/resnet50.a1_in1k"
    assert card.data.library_name == "timm"
    measured = {result.metric_type: result.metric_value for result in card.data.eval_results}
    expected = {name: value.value for name, value in own.report.values.items() if value.value is not None}
    assert measured == pytest.approx(expected, abs=1e-6)
    assert {result.dataset_split for result in card.data.eval_results} == {"test"}


@pytest.mark.parametrize(
    ("base", "claimed"),
    [
        ({"source": "cache timm/resnet50.a1_in1k"}, "timm/resnet50.a1_in1k"),
        ({"source": "Hub someone/elses-copy"}, "someone/elses-copy"),
        ({"source": "package weights-of-resnet 1.0"}, "timm/resnet50.a1_in1k"),
        ({"source": "package p 1.0", "loader": "transformers", "id": "org/net"}, "org/net"),
        ({"source": "file /Users/ann/net"}, None),
        ({"source": "file net", "loader": "transformers", "id": "x/invented", "name": "hf/x/invented"}, None),
        ({"source": "run runs/a/best", "own": True}, None),
        ({"source": "random, seed 3", "seed": 3, "sha256": None}, None),
    ],
)
def test_a_base_is_claimed_where_its_weights_are_known_to_be_the_hub_s(base, claimed):
    text = render(facts(config={"base": base}), "12" * 32)
    data = ModelCard(text).data
    assert data.base_model == claimed
    assert hasattr(data, "base_model_relation") == (claimed is not None)
    body = text.partition("\n---\n")[2]
    assert claimed is None or f"`{claimed}`" in body
    assert claimed is not None or not {"`x/invented`", "`resnet50.a1_in1k`", "timm/resnet50.a1_in1k"} & set(body.split())


def test_what_is_undefined_is_said_and_never_a_number():
    own = facts()
    assert own.report.values["top5_accuracy"].value is None
    text = render(own, "12" * 32)
    assert "undefined:" in text
    assert "top5_accuracy" not in {result.metric_type for result in ModelCard(text).data.eval_results}


def test_names_are_names_and_not_markup():
    text = render(facts(NASTY, report=report(NASTY, pictures=450)), "12" * 32)
    assert ModelCard(text).data.license
    body = text.partition("\n---\n")[2]
    assert "<b>" not in body
    assert "line\nbreak" not in body
    rows = [line for line in body.splitlines() if line.startswith("|")]
    widths = {line.replace(r"\|", "").count("|") for line in rows if r"a\|b" in line or "plain" in line}
    assert widths <= {5, 7}  # the table of the data, and that of the classes


def test_nothing_of_the_author_s_machine_is_published():
    assert "/Users/ann" not in render(facts(), "12" * 32)


def test_a_licence_that_is_not_known_is_said():
    text = render(facts(config={"base": {"licence": "unknown"}}), "12" * 32)
    assert "The licence of the base weights is not known" in text
    assert ModelCard(text).data.license == "unknown"


def test_numbers_of_the_pictures_that_chose_the_model_are_called_so():
    assert "validation, used for selection" in render(facts(split="val"), "12" * 32)


def test_the_sections_are_there():
    text = render(facts(), "12" * 32)
    for heading in ("Intended use", "How to load", "Data", "Training", "Metrics", "Limits", "Environment"):
        assert f"\n## {heading}\n" in text
    assert "12" * 32 in text
