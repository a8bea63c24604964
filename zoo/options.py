"""What is known of an option, and how it is read from its field.

Everything about an option stands at its field in the dataclasses of `zoo.config`: its type, its default, its help (the text under it), and
what markers say of it (`Annotated[float, Range(0, 1), STEPS]`): those below, and the kinds of sample that it is for (`Kind.TEXT`; without
any, all). Every flag, check and table is computed from there.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from enum import Enum, auto
from typing import Any, Literal

from docstring_parser import parse_from_object

from zoo.errors import ConfigError, nearest, shown
from zoo.plugins import Registry
from zoo.types import Kind

Scalar = str | int | float | bool | None


@dataclass(frozen=True)
class Range:
    """The least and the greatest value."""

    low: float
    high: float


@dataclass(frozen=True)
class Ways:
    """The ways of training that use the option, by their names in `zoo.training.method`; without this marker, all."""

    names: frozenset[str]


@dataclass(frozen=True)
class Spelled:
    """A second spelling on the command line."""

    flag: str


@dataclass(frozen=True)
class Parsed:
    """The value has a grammar of its own. read: gives its one spelling, and raises ConfigError or UnknownName."""

    read: Callable[[str], str]


@dataclass(frozen=True)
class Listed:
    """The value is one of the names that `zoo list KIND` shows, or `zoo recipes`; a shell completes it."""

    kind: str


@dataclass(frozen=True)
class Choice:
    """The value is a name of a registry."""

    registry: Registry


class Mark(Enum):
    """What is so of an option, or not."""

    SAME_RESULT = auto()
    """It does not change what is computed, or only by the order of sums: a run goes on with another value."""
    OFF_CARD = auto()
    """It says nothing about the model, and no card shows it."""
    FOR_WORKERS = auto()
    """It means something only where other processes read samples."""
    NAMES_CODE = auto()
    """The value is `module:function`, or a name that was registered, perhaps in this process alone."""
    BENCH = auto()
    """`zoo bench` takes it too: it changes what is measured."""
    EVALUATE = auto()
    """`zoo evaluate` takes it too: it says how labelled data are read."""
    INSPECT = auto()
    """`zoo data inspect` takes it too: it says what the data are, or decides what a backbone makes of them."""


SAME_RESULT, OFF_CARD = Mark.SAME_RESULT, Mark.OFF_CARD
FOR_WORKERS, NAMES_CODE = Mark.FOR_WORKERS, Mark.NAMES_CODE
BENCH, EVALUATE, INSPECT = Mark.BENCH, Mark.EVALUATE, Mark.INSPECT
STEPS, ON_SAMPLES, SOLVED = Ways(frozenset({"samples", "rows"})), Ways(frozenset({"samples"})), Ways(frozenset({"solved"}))


@dataclass(frozen=True)
class Option:
    """One option."""

    name: str
    group: str
    title: str
    type: Any
    default: Scalar
    help: str
    markers: tuple[Any, ...] = field(default=(), repr=False)

    def marker(self, kind: type) -> Any:
        """The marker of this type; None without one."""
        return next((one for one in self.markers if isinstance(one, kind)), None)

    def has(self, mark: Mark) -> bool:
        """Whether this is so of the option."""
        return mark in self.markers

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of sample that it is for: those among the markers; without any, all."""
        return tuple(one for one in self.markers if isinstance(one, Kind)) or tuple(Kind)

    def used_by(self, way: str) -> bool:
        """Whether a way of training uses it."""
        own = self.marker(Ways)
        return own is None or way in own.names

    @property
    def flag(self) -> str:
        """How it is spelt on the command line."""
        return "--" + self.name.replace("_", "-")

    def check(self, value: Any) -> Scalar:
        """The value as the option's type: exact, but for whole numbers where a float is wanted, and for texts that are choices.

        Raises: ConfigError, UnknownName.
        """
        parsed = self.marker(Parsed)
        if parsed is not None and isinstance(value, str):
            return typing.cast(str, parsed.read(value))
        found = _coerce(value, self)
        choice = self.marker(Choice)
        if choice is not None and isinstance(found, str):
            choice.registry.require(found)
        bounds = self.marker(Range)
        if bounds is not None and isinstance(found, (int, float)) and not bounds.low <= found <= bounds.high:
            raise ConfigError(f"{self.name} is {shown(found)}; it lies between {bounds.low} and {bounds.high}")
        return found


def options_of(config: type) -> dict[str, Option]:
    """Every option of a dataclass of groups of options by its leaf name, in the order of definition.

    Raises: TypeError for two of one name.
    """
    found: dict[str, Option] = {}
    for part in fields(config):
        group: type = typing.cast(type, part.default_factory)
        hints = typing.get_type_hints(group, include_extras=True)
        texts = {item.arg_name: item.description or "" for item in parse_from_object(group).params}
        for leaf in fields(group):
            if leaf.name in found:
                raise TypeError(f"option {leaf.name} is defined twice")
            title = (group.__doc__ or "").strip().splitlines()[0]
            default, hint = typing.cast(Scalar, leaf.default), hints[leaf.name]
            plain, *markers = typing.get_args(hint) if typing.get_origin(hint) is typing.Annotated else (hint,)
            found[leaf.name] = Option(leaf.name, part.name, title, plain, default, texts[leaf.name], tuple(markers))
    return found


def _coerce(value: Any, option: Option) -> Scalar:
    union = typing.get_origin(option.type) in (typing.Union, types.UnionType)
    arms = typing.get_args(option.type) if union else (option.type,)
    for arm in arms:
        if arm is type(None) and value is None:
            return None
        if typing.get_origin(arm) is Literal and isinstance(value, str) and value in typing.get_args(arm):
            return value
        if arm is float and isinstance(value, (int, float)) and not isinstance(value, bool) and _finite(value):
            return float(value) if isinstance(value, float) else value
        if arm is str and isinstance(value, str) and "\0" in value:
            raise ConfigError(f"{option.name} is {shown(value)}; a text has no NUL character")
        if arm is str and value == "":  # a variable of the shell that is not set, as a rule
            raise ConfigError(f"{option.name} is empty; give a value, or leave it out")
        if arm in (int, str, bool) and type(value) is arm:
            return typing.cast(Scalar, value)
    choice = option.marker(Choice)
    wanted = " or ".join(_spell(arm) for arm in arms) if choice is None else " | ".join(choice.registry.names())
    choices = [choice for arm in arms if typing.get_origin(arm) is Literal for choice in typing.get_args(arm)]
    offer = nearest(value, choices, 1) if isinstance(value, str) else []
    raise ConfigError(f"{option.name} is {shown(value)}; expected {wanted}" + (f"; did you mean {offer[0]!r}?" if offer else ""))


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False


def _spell(arm: Any) -> str:
    if typing.get_origin(arm) is Literal:
        return " | ".join(typing.get_args(arm))
    return {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "nothing"}[arm]
