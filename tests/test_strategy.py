"""The grammar of strategies."""

import subprocess
import sys
from pathlib import Path

import pytest

from zoo.adaptation import strategies
from zoo.adaptation.strategies.bias_only import BiasOnly
from zoo.adaptation.strategies.full import Full
from zoo.adaptation.strategies.gradual import Gradual
from zoo.adaptation.strategies.linear_probe import LinearProbe
from zoo.adaptation.strategies.lora import LoRA
from zoo.adaptation.strategies.norm_only import NormOnly
from zoo.adaptation.strategies.partial import Partial
from zoo.errors import ConfigError, UnknownName
from zoo.strategy import forms, parse


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
        ("partial", Partial(stages=1)),
        ("gradual", Gradual(epochs=1.0)),
        ("gradual:2.5", Gradual(epochs=2.5)),
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


def test_every_folder_is_a_strategy_that_spells_itself():
    folders = {path.parent.name for path in Path(strategies.__file__).parent.glob("*/__init__.py")}
    assert {kind.replace("-", "_") for kind in forms()} == folders
    for kind, form in forms().items():
        assert form.written().partition(":")[0] == form.kind == kind
        assert form.use
        assert str(parse(kind)).partition(":")[0] == kind
        assert parse(str(parse(kind))) == parse(kind)
        for alias in form.aliases:
            assert parse(alias) == parse(kind)


def test_an_argument_of_a_strategy_that_takes_none():
    for kind, form in forms().items():
        if not form.argument:
            with pytest.raises(ConfigError, match=f"strategy '{kind}:2': {kind} takes no argument"):
                parse(f"{kind}:2")


def test_a_misspelt_strategy_costs_no_torch():
    code = "import sys\nfrom zoo.strategy import parse\ntry: parse('lorra')\nexcept Exception: print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
