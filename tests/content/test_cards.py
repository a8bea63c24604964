"""The hand-written cards say what the family files say."""

import re

import pytest

from zoo import content, registry
from zoo.publishing.card import family_limits

SECTIONS = ("Origin", "Members", "Training data", "Licence", "Input", "How zoo adapts it", "Known limits")


@pytest.mark.parametrize("family", registry.families())
def test_a_card_has_its_sections_and_every_member(family):
    text = content.files("model_cards", ".md")[family].read_text(encoding="utf-8")
    assert [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")] == list(SECTIONS)
    assert "arxiv.org/abs/" in text
    for spec in registry.backbones():
        if spec.family and spec.family.name == family:
            size = str(spec.input_size or spec.max_length or r"[0-9.]+ s")  # pixels, tokens, seconds
            start = re.escape(f"| `{spec.name}` | `{spec.id}` | {spec.params_m:g} | {spec.feature_dim} | ")
            assert re.search(f"{start}{size} \\| {re.escape(spec.licence)} \\|", text)
            assert spec.licence_source in text
    assert family_limits(family).startswith("- ")
