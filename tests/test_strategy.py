"""The grammar of strategies."""

import subprocess
import sys

import pytest

from zoo import strategy
from zoo.errors import ConfigError, UnknownName
from zoo.strategy import FORMS, BiasOnly, Full, LinearProbe, LoRA, NormOnly, Partial, parse


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("full", Full()),
        ("none", Full()),
        ("backbone", LinearProbe()),
        ("linear-probe", LinearProbe()),
        ("partial:2", Partial(stages=2)),
        ("partial:75%", Partial(percent=75.0)),
        ("partial:12.5%", Partial(percent=12.5)),
        (r"partial:^blocks\.1[01]\.", Partial(pattern=r"^blocks\.1[01]\.")),
        ("lora:8", LoRA(rank=8)),
        ("lora", LoRA(rank=16)),
        ("norm-only", NormOnly()),
        ("bias-only", BiasOnly()),
    ],
)
def test_parse(text, expected):
    assert parse(text) == expected
    assert parse(str(expected)) == expected


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lora:0", "rank"),
        ("lora:-1", "rank"),
        ("lora:1.5", "rank"),
        ("lora:", "rank"),
        ("partial:0", "linear-probe"),
        ("partial:0%", "share"),
        ("partial:101%", "share"),
        ("partial:", "partial:2"),
        ("partial:(", "regular expression"),
        ("full:2", "takes no argument"),
        ("backbone:2", "backbone"),
    ],
)
def test_bad_arguments_are_one_line_that_helps(text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "near"), [("lorra:16", "lora"), ("ful", "full"), ("partail:2", "partial"), ("backbne", "backbone")]
)
def test_a_misspelt_kind_offers_the_nearest(text, near):
    with pytest.raises(UnknownName, match=f"'{near}'"):
        parse(text)


def test_every_form_has_a_class_that_spells_itself():
    for form, (kind, why) in FORMS.items():
        assert form.partition(":")[0] == kind.kind
        assert why
    assert {kind for kind, _ in FORMS.values()} == set(strategy.Strategy.__args__)


def test_a_misspelt_strategy_costs_no_torch():
    code = "import sys\nfrom zoo.strategy import parse\ntry: parse('lorra')\nexcept Exception: print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
