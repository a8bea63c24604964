"""`zoo finetune` takes exactly the options of `zoo.config`, each as its type."""

import inspect
import re

import pytest

from zoo.cli.app import build
from zoo.config import options


def given(*words: str) -> dict:
    """The flags that reach the verb."""
    _, bound, _ = build("finetune").parse_args(["finetune", *words], exit_on_error=False, print_error=False, verbose=False)
    assert isinstance(bound, inspect.BoundArguments)
    return bound.arguments.get("options") or {}


@pytest.fixture(scope="module")
def help_lines():
    from contextlib import redirect_stdout
    from io import StringIO

    from zoo.cli import main

    with redirect_stdout(StringIO()) as page:
        assert main(["finetune", "--help"]) == 0
    return page.getvalue().splitlines()


@pytest.mark.parametrize("option", options().values(), ids=lambda option: option.name)
def test_each_option_is_a_flag_once(option, help_lines):
    flag = re.escape("--" + option.name.replace("_", "-"))
    rows = [line for line in help_lines if re.match(rf"│ (BACKBONE |--strategy )?{flag}( |$)", line)]
    assert len(rows) == 1


def test_help_has_panels_defaults_and_two_examples(help_lines):
    # A flag whose name is long ends in the next line, in the midst of the description.
    page = " ".join(re.sub(r"^│ {3}\S+", "", line).strip("│ ") for line in help_lines)
    for option in options().values():
        assert f"╭─ {option.title} ─" in page
        assert " ".join(option.help.split()) in re.sub(r" +", " ", page) or option.name == "backbone"
        if option.default is not None and option.name != "backbone":
            assert f"[default: {option.default}]" in re.sub(r" +", " ", page)
    assert page.index("zoo finetune resnet50 --freeze backbone --data photos/") < page.index("╭")


def test_only_what_was_given_arrives():
    assert given() == {}
    assert given("resnet50", "--lr", "1e-2", "--no-tensorboard", "--keep", "3") == {"lr": 0.01, "tensorboard": False, "keep": 3}
    assert given("--image_size=64", "--precision", "bf16") == {"image_size": 64, "precision": "bf16"}


def test_freeze_is_a_second_spelling_of_strategy():
    assert given("--freeze", "lora:8") == given("--strategy", "lora:8") == {"strategy": "lora:8"}
    assert given("--freeze", "none") == {"strategy": "none"}


def test_none_empties_what_may_be_empty():
    assert given("--clip", "none", "--image-size", "none", "--weights", "none") == {
        "clip": None,
        "image_size": None,
        "weights": None,
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--lrr", "3"], "Unknown option: --lrr. Did you mean --lr?"),
        (["--no-lr"], "Unknown option: --no-lr. Did you mean --lr?"),
        (["--lr"], "--lr needs a value; `zoo finetune --help` shows what it takes"),
        (["--lr", "fast"], "Invalid value for --lr: 'fast' is not a number"),
        (["--batch-size", "2.7"], "Invalid value for --batch-size: '2.7' is not a whole number"),
        (["--batch-size", "none"], "Invalid value for --batch-size: 'none' is not a whole number"),
        (["--clip", ""], "Invalid value for --clip: '' is not a number"),
        (["--tensorboard=maybe"], 'Invalid value for --tensorboard: unable to convert "maybe" into bool'),
        (
            ["--precision", "fp"],
            'Invalid value "fp" for --precision. Choose from: "auto", "no", "fp16", "bf16". Did you mean "fp16"?',
        ),
        (["--lr", "1", "--lr", "1"], "--lr given more than once; give one value"),
        (["--freeze", "full", "--strategy", "lora"], "--strategy given more than once; give one value"),
        (["resnet50", "photos/"], "nothing takes 'photos/' here; `zoo finetune --help` shows what it takes"),
        (["-x"], "Unknown option: -x"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_names_the_flag_and_the_choices(zoo_cli, words, said):
    assert zoo_cli("finetune", *words).refused() == said
