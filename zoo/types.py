"""The small types that every floor shares. No torch here."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, Self

from natsort import natsorted

from zoo.errors import DataError, shown


class Task(StrEnum):
    """What is predicted; fixes the loss, the metrics and the type of a prediction."""

    CLASSIFICATION = "classification"
    """One class of several."""
    MULTILABEL = "multilabel"
    """Any number of several labels, each there or not."""
    REGRESSION = "regression"
    """One number, or several."""


class Kind(StrEnum):
    """What one sample of the data is."""

    IMAGE = "image"
    TEXT = "text"
    AUDIO = "audio"

    @property
    def nouns(self) -> str:
        """How people call several: `images`, `texts`, `audio clips`."""
        return {Kind.IMAGE: "images", Kind.TEXT: "texts", Kind.AUDIO: "audio clips"}[self]

    @property
    def one(self) -> str:
        """How people call one: `an image`, `a text`, `an audio clip`."""
        return {Kind.IMAGE: "an image", Kind.TEXT: "a text", Kind.AUDIO: "an audio clip"}[self]


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True)
class Labels:
    """Class names in the order of the model's outputs.

    Output `i` of the head stands for `names[i]`. The order is decided once, by the training data, and its `sha256` travels with
    the weights, so that nothing can be predicted or evaluated under another order.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in self.names:
            if not isinstance(name, str) or not _is_utf8(name):
                raise DataError(f"the class name {shown(name)} is not a text in UTF-8; give another")
        if len(set(self.names)) != len(self.names):
            raise DataError(f"class names repeat: {sorted(name for name in self.names if self.names.count(name) > 1)}")

    @classmethod
    def sort(cls, names: Iterable[str]) -> Labels:
        """Labels in natural order (`2` before `10`), Unicode-normalised (NFC), each once."""
        return cls(tuple(natsorted({unicodedata.normalize("NFC", name) for name in names})))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def places(self) -> dict[str, int]:
        """The output of each name."""
        return {name: place for place, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        """The output that stands for `name`. Raises: KeyError."""
        try:
            return self.places[unicodedata.normalize("NFC", name)]
        except KeyError:
            raise KeyError(name) from None

    @property
    def sha256(self) -> str:
        """Digest of the ordered names (of their JSON list, UTF-8)."""
        return hashlib.sha256(json.dumps(list(self.names), ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class Schema:
    """Where in its data a model found the samples and their targets: what training read, evaluate and predict read first."""

    inputs: tuple[str, ...] = ()
    """Columns (or keys) of the sample: one, or the two of pairs of texts. Empty: the data had no names, such as folders."""
    labels: tuple[str, ...] = ()
    """Columns (or keys) of the targets. Empty: as above."""
    label_delimiter: str | None = None
    """What stands between several labels in one field."""
    split: str | None = None
    """Column that says which split a row is in."""
    pairs: bool = False
    """Whether a sample is a pair of texts."""

    def to_dict(self) -> dict[str, Any]:
        """As values of JSON."""
        return {**asdict(self), "inputs": list(self.inputs), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises: KeyError, TypeError, ValueError."""
        names = [*values["inputs"], *values["labels"]]
        texts = [*names, *(one for one in (values["label_delimiter"], values["split"]) if one is not None)]
        if not all(isinstance(text, str) for text in texts) or not isinstance(values["pairs"], bool):
            raise ValueError(f"schema is {shown(values)}")
        return cls(tuple(values["inputs"]), tuple(values["labels"]), values["label_delimiter"], values["split"], values["pairs"])


@dataclass(frozen=True)
class Prediction:
    """What a model says of one input, or why it says nothing."""

    input: str
    """The path or the text, `#i` for the i-th image, tensor or row of a call."""
    label: str | None = ""
    """The most probable class; of several labels that may hold at once, those that do, with `|` between them. None: see `error`."""
    probability: float | None = None
    """Of the most probable class or label, in 0..1."""
    probabilities: dict[str, float] = field(default_factory=dict)
    """Every class and its probability, most probable first; they sum to 1 where one class alone holds."""
    holds: tuple[str, ...] | None = None
    """Of several labels that may hold at once: those that do, the most probable first. None: one class alone holds."""
    values: dict[str, float] = field(default_factory=dict)
    """Of regression: each value that is predicted, by its name; NaN where there is an error."""
    error: str | None = None
    """Why the input cannot be read; None: it could."""


class Predictions(Sequence[Prediction]):
    """The predictions of one call: as many as inputs, in their order."""

    def __init__(self, items: Iterable[Prediction]) -> None:
        self.items = list(items)

    @property
    def unreadable(self) -> list[str]:
        """Why inputs could not be read, a line each."""
        return [item.error for item in self.items if item.error is not None]

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        shown = [item.error or item.values or (item.label, round(item.probability or 0.0, 4)) for item in self.items]
        return f"Predictions({shown})"
