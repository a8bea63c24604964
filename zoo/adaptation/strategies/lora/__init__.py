"""`lora:R`: low-rank updates beside frozen weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from zoo.errors import ConfigError
from zoo.strategy import Strategy


@dataclass(frozen=True)
class LoRA(Strategy):
    """Low-rank updates beside frozen weights, arxiv.org/abs/2106.09685."""

    rank: int = 16
    """Rank of the updates, 1 or more."""

    kind = "lora"
    argument = "R"
    use = "some data, small files: low-rank updates of rank R"

    adapter = True
    adapter_options = ("lora_alpha", "lora_dropout", "lora_targets")

    @classmethod
    def read(cls, argument: str | None) -> Self:
        if argument is None:
            return cls()
        if not re.fullmatch(r"[1-9][0-9]{0,3}", argument):
            raise ConfigError(f"strategy 'lora:{argument}': the rank is a whole number from 1 to 9999, as in lora:16")
        return cls(rank=int(argument))

    def __str__(self) -> str:
        return f"lora:{self.rank}"
