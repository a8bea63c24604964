"""What training may change, as one string: `full`, `linear-probe`, `partial:2`, `lora:16` ...

One frozen dataclass a strategy, and the grammar that reads them. No torch here, so that a misspelt strategy costs no import;
what each does to a backbone is in `zoo/adaptation/strategies/`.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

from zoo.errors import ConfigError, UnknownName


@dataclass(frozen=True)
class Full:
    """Everything trains; batch-norm statistics too where they are live (the option `batch_norm`)."""

    kind = "full"

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True)
class LinearProbe:
    """Only the head trains; the backbone is inert."""

    kind = "linear-probe"

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True)
class Partial:
    """The last stages train, with the head. Exactly one of the three fields is set."""

    stages: int | None = None
    """How many stages, counted from the output; 1 or more."""
    percent: float | None = None
    """Share of the stages in 0..100, rounded to the nearest stage, at least one."""
    pattern: str | None = None
    """A regular expression that is searched in the names of the backbone's parameters."""

    kind = "partial"

    def __str__(self) -> str:
        if self.pattern is not None:
            return f"partial:{self.pattern}"
        return f"partial:{self.stages}" if self.stages is not None else f"partial:{self.percent:g}%"


@dataclass(frozen=True)
class LoRA:
    """Low-rank updates beside frozen weights, arxiv.org/abs/2106.09685."""

    rank: int = 16
    """Rank of the updates, 1 or more."""

    kind = "lora"

    def __str__(self) -> str:
        return f"lora:{self.rank}"


@dataclass(frozen=True)
class NormOnly:
    """The scales and shifts of the normalisation layers train, with the head, arxiv.org/abs/2003.00152."""

    kind = "norm-only"

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True)
class BiasOnly:
    """The biases train, with the head (BitFit, arxiv.org/abs/2106.10199)."""

    kind = "bias-only"

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True)
class LpFt:
    """The head is solved on the inert backbone, then everything trains from there, arxiv.org/abs/2202.10054."""

    kind = "lp-ft"

    def __str__(self) -> str:
        return self.kind


@dataclass(frozen=True)
class Gradual:
    """The head trains first, then a stage more at a time, from the output to the input, arxiv.org/abs/1801.06146."""

    epochs: float = 1.0
    """Epochs until the next stage joins; above 0."""

    kind = "gradual"

    def __str__(self) -> str:
        return f"gradual:{self.epochs:g}"


Strategy = Full | LinearProbe | Partial | LoRA | NormOnly | BiasOnly | LpFt | Gradual

FORMS: dict[str, tuple[type[Strategy], str]] = {
    "full": (Full, "plenty of data: everything trains"),
    "linear-probe": (LinearProbe, "little data, or a first look: only the head trains (also spelt `backbone`)"),
    "partial:N": (Partial, "some data: the last N stages train (also `partial:75%`, `partial:REGEX`)"),
    "lora:R": (LoRA, "some data, small files: low-rank updates of rank R"),
    "norm-only": (NormOnly, "very few trained numbers: normalisation layers train"),
    "bias-only": (BiasOnly, "very few trained numbers: biases train"),
    "lp-ft": (LpFt, "other cameras, places or people to come: the solved head first, then everything trains"),
    "gradual:E": (Gradual, "some data: one stage more trains every E epochs, from the output to the input"),
}
"""Each strategy as it is written, its class, and when to use it."""

SYNONYMS = {"none": "full", "backbone": "linear-probe", "lora": "lora:16", "partial": "partial:1", "gradual": "gradual:1"}
"""Other spellings: `--freeze none` freezes nothing, `--freeze backbone` freezes the backbone."""


def parse(text: str) -> Strategy:
    """The strategy that a text names.

    Raises: UnknownName for a kind that does not exist; ConfigError for a bad argument.

    >>> parse("lora:8")
    LoRA(rank=8)
    >>> str(parse("backbone"))
    'linear-probe'
    """
    kind, colon, argument = SYNONYMS.get(text, text).partition(":")
    if kind == "partial" and colon:
        return _partial(argument)
    if kind == "lora" and colon:
        if not re.fullmatch(r"[1-9][0-9]{0,3}", argument):
            raise ConfigError(f"strategy 'lora:{argument}': the rank is a whole number from 1 to 9999, as in lora:16")
        return LoRA(rank=int(argument))
    if kind == "gradual" and colon:
        if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]+)?", argument) or float(argument) == 0:
            raise ConfigError(f"strategy 'gradual:{argument}': epochs between stages are a number above 0, as in gradual:1")
        return Gradual(epochs=float(argument))
    kinds_without = (Full(), LinearProbe(), NormOnly(), BiasOnly(), LpFt())
    plain: dict[str, Strategy] = {one.kind: one for one in kinds_without}
    if kind in plain and colon:
        raise ConfigError(f"strategy {text!r}: {kind} takes no argument")
    if kind in plain:
        return plain[kind]
    kinds = {form.partition(":")[0]: form for form in FORMS} | {name: name for name in SYNONYMS}
    raise UnknownName("strategy", kind, kinds, f"(strategies: {', '.join(FORMS)})")


def spelling(text: str) -> str:
    """The one spelling of a strategy: `backbone` becomes `linear-probe`. Raises: as `parse`."""
    return str(parse(text))


def _partial(argument: str) -> Partial:
    if re.fullmatch(r"[0-9]+", argument):
        if not re.fullmatch(r"0*[1-9][0-9]{0,3}", argument):
            raise ConfigError(f"strategy 'partial:{argument}': it is 1 to 9999 stages that train; use linear-probe for none")
        return Partial(stages=int(argument.lstrip("0")))
    if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)%", argument):
        if not 0 < float(match[1]) <= 100:
            raise ConfigError(f"strategy 'partial:{argument}': the share is above 0% and at most 100%")
        return Partial(percent=float(match[1]))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # what Python may read otherwise some day
            re.compile(argument)
    except (re.error, OverflowError, RecursionError) as error:
        raise ConfigError(f"strategy 'partial:{argument}': not a regular expression: {error}") from error
    if not argument:
        raise ConfigError("strategy 'partial:' needs a number of stages, a share or a pattern, as in partial:2")
    return Partial(pattern=argument)
