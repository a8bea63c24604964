"""Messages: one line, bounded, and nothing in it that a terminal would obey."""

import pytest

from zoo import errors
from zoo.errors import ConfigError, DataError, UnknownName, one_line, shown


@pytest.mark.parametrize(
    ("value", "seen"),
    [
        ("a\nb", "a\\nb"),
        ("a\x1b[31mb", "a\\x1b[31mb"),
        ("caf\udce9.jpg", "caf\\udce9.jpg"),
        ("left\u202eright", "left\\u202eright"),
        ("one\u2028two", "one\\u2028two"),
        ("Füße, 写真, 😀", "Füße, 写真, 😀"),
    ],
)
def test_what_a_terminal_would_obey_is_escaped(value, seen):
    assert str(DataError(f"{value}: cannot be read")) == f"{seen}: cannot be read"


@pytest.mark.parametrize("value", ["x" * 100_000, "x y " * 25_000, "'x' " * 25_000])
@pytest.mark.parametrize(
    "message", ["no head {!r}; did you mean 'linear'?", "a number; found {!r}", "{!r}: no such file; give another"]
)
def test_a_long_value_is_cut_and_the_rest_is_kept(value, message):
    said = str(ConfigError(message.format(value)))
    before, after = message.split("{!r}")
    assert said.startswith(before)
    assert said.endswith(after)
    assert "…" in said
    assert len(said) <= len(before) + len(after) + errors.LONGEST_VALUE


@pytest.mark.parametrize("value", ["x" * 100_000, "x y " * 25_000, "it's " * 20_000, 'x "y ' * 20_000])
@pytest.mark.parametrize(
    "message",
    [
        "{}: no such file; give another",
        "no data in {}; give others",
        "lr is {}",
        "rows differ (a, {}, b): two of 30; leave them out",
    ],
)
def test_so_is_one_without_quotation_marks(value, message):
    before, after = message.split("{}")
    said = str(DataError(message.format(value)))
    assert said.startswith(before)
    assert said.endswith(after)
    if "'" not in value and '"' not in value:
        assert len(said) <= len(before) + len(after) + errors.LONGEST_VALUE
    assert len(said) <= errors.LONGEST_MESSAGE


def test_a_message_is_cut_where_nothing_says_what_is_a_value():
    said = one_line("start " + "a; b: " * 10_000 + "what to do")
    assert said.startswith("start ")
    assert said.endswith("what to do")
    assert len(said) == errors.LONGEST_MESSAGE


def test_a_message_of_common_length_is_as_it_was_written():
    text = "photos/a b.jpg: cannot be read; delete it, or give --max-unreadable 0.1 (2 of 30 are unreadable; 'x' and \"y\")"
    assert one_line(text) == text
    assert one_line(one_line("x" * 5000)) == one_line("x" * 5000)


def test_a_name_of_any_length_is_looked_up_at_once():
    assert "no head 'xxx" in str(UnknownName("head", "x" * 1_000_000, ["linear"]))


def test_any_value_can_be_shown():
    assert shown(0.5) == "0.5"
    assert shown(10**5000) == "a int that is too long to be written"
    assert len(shown(["x"] * 100_000)) == errors.LONGEST_VALUE
