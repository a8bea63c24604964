"""Configs as hypothesis makes them, and a config.yaml without its comments."""

import contextlib
import types
import typing
from pathlib import Path

from every_strategy import STRATEGIES
from hypothesis import strategies as st

from zoo.config import FinetuneConfig, options
from zoo.errors import ZooError
from zoo.options import Option, Range

_STRATEGIES = (*STRATEGIES, "partial:75%")


def _values(option: Option) -> st.SearchStrategy:
    """What an option may be, by its type and range."""
    if option.name == "strategy":
        return st.sampled_from(_STRATEGIES)
    union = typing.get_origin(option.type) in (typing.Union, types.UnionType)
    arms = typing.get_args(option.type) if union else (option.type,)
    bounds = option.marker(Range) or Range(-(2**53), 2**53)
    return st.one_of([_of(arm, bounds.low, bounds.high) for arm in arms])


def _of(arm: object, low: float, high: float) -> st.SearchStrategy:
    if typing.get_origin(arm) is typing.Literal:
        return st.sampled_from(typing.get_args(arm))
    numbers = {int: st.integers(int(low), int(high)), float: st.floats(low, high), bool: st.booleans(), str: st.text(max_size=40)}
    return st.none() if arm is type(None) else numbers[arm]


@st.composite
def configs(draw: st.DrawFn) -> FinetuneConfig:
    """Configs with some options set, each alone and together as they may be: one that excludes an earlier one is left out."""
    made = FinetuneConfig()
    for name in draw(st.lists(st.sampled_from(list(options())), unique=True, max_size=16)):
        with contextlib.suppress(ZooError):
            made = made.replace(**{name: draw(_values(options()[name]))})
    return made


def bare(path: Path) -> str:
    """The text of a config.yaml without its comments, none of its values holding a `#`."""
    return "".join(line.split("  #")[0].rstrip() + "\n" for line in path.read_text().splitlines())
