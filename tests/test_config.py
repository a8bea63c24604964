"""Options: one definition, checked values, precedence, origins."""

import dataclasses
import time
import typing
from pathlib import Path
from typing import Annotated

import pytest

from zoo import content
from zoo.config import FinetuneConfig, Resolved, build, options, resolve
from zoo.errors import ConfigError, UnknownName
from zoo.options import OFF_CARD, SAME_RESULT, STEPS, Range, options_of
from zoo.types import Kind


def test_every_option_has_a_help_text_and_a_default_that_passes_its_own_check():
    for option in options().values():
        assert option.help.endswith("."), option.name
    assert build(FinetuneConfig().flat()) == FinetuneConfig()


def test_every_default_is_within_its_range_and_every_number_has_one():
    for option in options().values():
        assert option.check(option.default) == option.default
        if {int, float} & {option.type, *typing.get_args(option.type)}:
            assert option.marker(Range), option.name


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
    """A group"""

    tone: Annotated[float | None, Range(0, 2), Kind.AUDIO, STEPS, SAME_RESULT] = None
    """What it is."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Twice:
    """Another"""

    tone: int = 1
    """The same."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Groups:
    one: Group = dataclasses.field(default_factory=Group)


def test_all_that_is_known_of_an_option_stands_at_its_field():
    (option,) = options_of(Groups).values()
    assert (option.name, option.group, option.title, option.default, option.flag) == ("tone", "one", "A group", None, "--tone")
    assert (option.type, option.help) == (float | None, "What it is.")
    assert option.kinds == (Kind.AUDIO,)
    assert (option.used_by("rows"), option.used_by("samples"), option.used_by("solved")) == (True, True, False)
    assert option.has(SAME_RESULT)
    assert not option.has(OFF_CARD)
    assert (option.check(None), option.check(2)) == (None, 2)
    with pytest.raises(ConfigError, match="tone is 2.5; it lies between 0 and 2"):
        option.check(2.5)


def test_without_markers_an_option_is_for_everything():
    option = options()["compile"]
    assert option.kinds == tuple(Kind)
    assert option.used_by("solved")
    assert option.marker(Range) is None


def test_two_options_of_one_name():
    both = dataclasses.make_dataclass(
        "both", [(name, form, dataclasses.field(default_factory=form)) for name, form in (("one", Group), ("two", Twice))]
    )
    with pytest.raises(TypeError, match="option tone is defined twice"):
        options_of(both)


def test_precedence_and_origins():
    resolved = resolve([("family vit", {"lr": 1, "epochs": 3}), ("recipe x", {"lr": 2}), ("flag", {"lr": 3})])
    assert (resolved.config.optim.lr, resolved.origins["lr"]) == (3, "flag")
    assert (resolved.config.optim.epochs, resolved.origins["epochs"]) == (3, "family vit")
    assert resolved.origins["clip"] == "default"


def test_a_config_never_changes():
    with pytest.raises(dataclasses.FrozenInstanceError):
        FinetuneConfig().model.backbone = "x"  # type: ignore[misc]


def test_settling_keeps_the_rest_and_says_who_decided():
    settled = resolve([("flag", {"lr": 3.0})]).settle("machine", precision="no")
    assert isinstance(settled, Resolved)
    assert (settled.config.machine.precision, settled.origins["precision"]) == ("no", "machine")
    assert (settled.config.optim.lr, settled.origins["lr"]) == (3.0, "flag")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"lr": 10**400}, "lr is 10000"),
        ({"lr": 10**5000}, "lr is a int that is too long"),
        ({"batch_size": 10**5000}, "batch_size is a int that is too long"),
        ({"data": "a\0b"}, "no NUL"),
        ({"precision": ["bf16"]}, "expected auto | no"),
        ({"strategy": "partial:" + "9" * 5000}, "1 to 9999 stages"),
        ({"lr": "1e-3"}, "lr is '1e-3'; expected a number"),
        ({"lr": True}, "expected a number"),
        ({"lr": float("nan")}, "expected a number"),
        ({"lr": None}, "expected a number"),
        ({"epochs": "3"}, "expected a number"),
        ({"batch_size": 2.5}, "expected a whole number"),
        ({"batch_size": 0}, "lies between"),
        ({"lr": 0}, "lr is 0; it lies between 1e-12"),  # nothing would train
        ({"backbone_lr_scale": 0.0}, "backbone_lr_scale is 0.0; it lies between 1e-09"),
        ({"tensorboard": 1}, "true or false"),
        ({"precision": "fp61"}, "did you mean 'fp16'"),
        ({"augment": False}, "light | none"),
        ({"val_fraction": 0.6, "test_fraction": 0.5}, "leave nothing"),
        ({"batch_size": 2, "accumulate": 4}, "every micro-batch needs a sample"),
        ({"strategy": "lora:0"}, "rank"),
        ({"backbone": 50}, "expected a text"),
        ({"data": ""}, "data is empty; give a value, or leave it out"),
        ({"out": ""}, "out is empty"),
    ],
)
def test_bad_values(values, words):
    with pytest.raises(ConfigError) as caught:
        build(values)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_offers_the_nearest_and_names_the_file():
    with pytest.raises(UnknownName, match="'learning_rat'.*recipe mine"):
        resolve([("recipe mine", {"learning_rat": 1})])
    with pytest.raises(UnknownName, match="did you mean 'epochs'"):
        build({"epoch": 1})


def test_all_mistakes_of_a_file_are_reported_together():
    with pytest.raises(ConfigError) as caught:
        build({"lrr": 1, "epoch": 2, "batch_size": "x"}, "mine.yaml")
    for word in ("mine.yaml", "lrr", "epoch", "batch_size"):
        assert word in str(caught.value)


class TestYaml:
    def read(self, text):
        return content.parse_yaml(text, "mine.yaml")

    def test_numbers_and_words_are_those_of_yaml_1_2(self):
        assert self.read("a: 1e-3\nb: no\nc: 10\nd: true\ne: null") == {"a": 1e-3, "b": "no", "c": 10, "d": True, "e": None}

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("a: 1\nb: 2\na: 3", "line 3"),
            ("a: !!python/object/apply:os.system [true]", "tag"),
            ("- 1", "expected"),
            ("", "expected"),
            ("a: [1", "line"),
            ("\ta: 1", "line 1"),
            ("1: a", "expected"),
            ("{" * 2000, "more than 20"),
            ("- " * 2000, "more than 20"),
            ("a: &x [1]\nb: *x", "line 2: aliases"),
            ("a: " + "9" * 5000, "digits"),
            ("a: 2001-99-99", "month"),
            ("a: !!int x", "not YAML"),
            ("a: \0", "not YAML"),
            ("a: " + "x " * 100_000, "larger than"),
        ],
    )
    def test_bad_yaml_is_one_line_that_names_the_file(self, text, words):
        with pytest.raises(ConfigError, match=f"mine.yaml.*{words}") as caught:
            self.read(text)
        assert "\n" not in str(caught.value)

    def test_deep_braces_take_no_time(self):
        began = time.process_time()
        with pytest.raises(ConfigError):
            self.read("{" * 100_000)
        assert time.process_time() - began < 5  # without a limit of depth, 2,000 of them take longer

    def test_a_file_without_end_is_not_read_to_it(self):
        with pytest.raises(ConfigError, match="larger than"):
            content.read_yaml(Path("/dev/zero"))

    def test_what_is_dumped_reads_back(self):
        values = FinetuneConfig().flat() | {"lr": 1e-7, "metric": "evaluate:./a b", "lora_targets": r"a\.b: #c", "data": "é/ñ"}
        assert self.read(content.dump_yaml(values, dict.fromkeys(values, "flag"))) == values

    @pytest.mark.parametrize("text", ["a\nb", "a\x85b", "a\u2028", "\0", "caf\udce9", "😀\x85", "~", "1e-3", "a  # b", "  "])
    def test_whatever_a_value_or_its_comment_holds_stays_on_its_line(self, text):
        dumped = content.dump_yaml({"data": text, "lr": 1}, {"data": f"recipe {text}"})
        assert self.read(dumped) == {"data": text, "lr": 1}
        assert len(dumped.encode().split(b"\n")) == 3
