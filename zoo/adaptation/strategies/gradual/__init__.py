"""`gradual`: the head trains first, then a stage more at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from zoo.errors import ConfigError
from zoo.strategy import Strategy


@dataclass(frozen=True)
class Gradual(Strategy):
    """The head trains first, then a stage more at a time, from the output to the input, arxiv.org/abs/1801.06146."""

    epochs: float = 1.0
    """Epochs until the next stage joins; above 0."""

    kind = "gradual"
    argument = "E"
    use = "some data: one stage more trains every E epochs, from the output to the input"

    ships_whole = True
    phased = True

    @classmethod
    def read(cls, argument: str | None) -> Self:
        if argument is None:
            return cls()
        if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]+)?", argument) or float(argument) == 0:
            raise ConfigError(f"strategy 'gradual:{argument}': epochs between stages are a number above 0, as in gradual:1")
        return cls(epochs=float(argument))

    def __str__(self) -> str:
        return f"gradual:{self.epochs:g}"
