"""`partial`: the last stages train."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Self

from zoo.errors import ConfigError
from zoo.strategy import Strategy


@dataclass(frozen=True)
class Partial(Strategy):
    """The last stages train, with the head. Exactly one of the three fields is set."""

    stages: int | None = None
    """How many stages, counted from the output; 1 or more."""
    percent: float | None = None
    """Share of the stages in 0..100, rounded to the nearest stage, at least one."""
    pattern: str | None = None
    """A regular expression that is searched in the names of the backbone's parameters."""

    kind = "partial"
    argument = "N"
    use = "some data: the last N stages train (also `partial:75%`, `partial:REGEX`)"

    ships_whole = True

    @classmethod
    def read(cls, argument: str | None) -> Self:
        if argument is None:
            return cls(stages=1)
        if re.fullmatch(r"[0-9]+", argument):
            if not re.fullmatch(r"0*[1-9][0-9]{0,3}", argument):
                raise ConfigError(f"strategy 'partial:{argument}': it is 1 to 9999 stages that train; use linear-probe for none")
            return cls(stages=int(argument.lstrip("0")))
        if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%", argument):
            if not 0 < float(match[1]) <= 100:
                raise ConfigError(f"strategy 'partial:{argument}': the share is above 0% and at most 100%")
            return cls(percent=float(match[1]))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # what Python may read otherwise some day
                re.compile(argument)
        except (re.error, OverflowError, RecursionError) as error:
            raise ConfigError(f"strategy 'partial:{argument}': not a regular expression: {error}") from error
        if not argument:
            raise ConfigError("strategy 'partial:' needs a number of stages, a share or a pattern, as in partial:2")
        return cls(pattern=argument)

    def __str__(self) -> str:
        if self.pattern is not None:
            return f"partial:{self.pattern}"
        return f"partial:{self.stages}" if self.stages is not None else f"partial:{self.percent:g}%"
