"""What training may change, as one string: `full`, `linear-probe`, `partial:2`, `lora:16` ...

A folder of `zoo/adaptation/strategies/` is a strategy: its form, a subclass of `Strategy` here, and what it does to a backbone. Forms are
found by looking into that folder. No torch here, so that a misspelt strategy costs no import.
"""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, Self

from zoo.errors import ConfigError, UnknownName

_FOLDER = "zoo.adaptation.strategies"


@dataclass(frozen=True)
class Strategy:
    """One strategy with its argument; all that other modules have to know of it."""

    kind: ClassVar[str]
    """Its name without an argument."""
    argument: ClassVar[str] = ""
    """What stands behind the colon, in a letter (`R` of `lora:R`); empty: it takes none."""
    use: ClassVar[str]
    """When to use it, and what it does, in a line."""
    aliases: ClassVar[tuple[str, ...]] = ()
    """Other spellings of it without an argument."""

    inert: ClassVar[bool] = False
    """Whether the backbone stays as it is, so that its features can be computed once."""
    ships_whole: ClassVar[bool] = False
    """Whether `best/` holds the weights of the whole network; else the trained tensors alone, beside the digest of the base weights."""
    adapter: ClassVar[bool] = False
    """Whether modules are inserted into the network (by peft): merging folds them in, and a card calls it an adapter of its base."""
    adapter_options: ClassVar[tuple[str, ...]] = ()
    """Which it takes of the options of adapters: `lora_alpha`, `lora_dropout`, `lora_targets`."""
    live_statistics: ClassVar[bool] = False
    """Whether batch-norm may normalise by the statistics of a batch (the option `batch_norm`)."""
    begins_solved: ClassVar[bool] = False
    """Whether it begins at a solved head whatever `head_start` leaves open."""
    phased: ClassVar[bool] = False
    """Whether parts of the plan join later, so that a step has tensors without a gradient."""

    @classmethod
    def read(cls, argument: str | None) -> Self:
        """The strategy with what stands behind the colon; None: there is no colon, and its usual argument is meant. Raises: ConfigError."""
        if argument is not None:
            raise ConfigError(f"strategy {f'{cls.kind}:{argument}'!r}: {cls.kind} takes no argument")
        return cls()

    @classmethod
    def written(cls) -> str:
        """How it is written: `lora:R`."""
        return f"{cls.kind}:{cls.argument}" if cls.argument else cls.kind

    def __str__(self) -> str:
        return self.kind


@cache
def forms() -> dict[str, type[Strategy]]:
    """Each kind of strategy by its name, in alphabetical order."""
    folder = Path(__file__).parent / "adaptation" / "strategies"
    for module in pkgutil.iter_modules([str(folder)]):
        importlib.import_module(f"{_FOLDER}.{module.name}")
    return {one.kind: one for one in sorted(Strategy.__subclasses__(), key=lambda one: one.kind)}


def aliases() -> dict[str, str]:
    """Other spellings, and the kinds of strategy that they stand for."""
    return {alias: form.kind for form in forms().values() for alias in form.aliases}


def parse(text: str) -> Strategy:
    """The strategy that a text names.

    Raises: UnknownName for a kind that does not exist; ConfigError for a bad argument.

    >>> parse("lora:8")
    LoRA(rank=8)
    >>> str(parse("backbone"))
    'linear-probe'
    """
    other = aliases()
    kind, colon, argument = other.get(text, text).partition(":")
    if kind in forms():
        return forms()[kind].read(argument if colon else None)
    written = [form.written() for form in forms().values()]
    kinds = {one.partition(":")[0]: one for one in written} | {name: name for name in other}
    raise UnknownName("strategy", kind, kinds, f"(strategies: {', '.join(written)})")


def spelling(text: str) -> str:
    """The one spelling of a strategy: `backbone` becomes `linear-probe`. Raises: as `parse`."""
    return str(parse(text))
