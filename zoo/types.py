"""The small types that every floor shares. No torch here."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

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
        """How people call several: `pictures`, `texts`, `recordings`."""
        return {Kind.IMAGE: "pictures", Kind.TEXT: "texts", Kind.AUDIO: "recordings"}[self]


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

    def index(self, name: str) -> int:
        """The output that stands for `name`. Raises: KeyError."""
        try:
            return self.names.index(unicodedata.normalize("NFC", name))
        except ValueError:
            raise KeyError(name) from None

    @property
    def sha256(self) -> str:
        """Digest of the ordered names (of their JSON list, UTF-8)."""
        return hashlib.sha256(json.dumps(list(self.names), ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class Prediction:
    """One input's answer."""

    input: str
    """The path or the text, `#i` for the i-th picture or tensor of a call."""
    label: str = ""
    """The most probable class; of several labels that may hold at once, those that do, with `|` between them."""
    probability: float | None = None
    """Of the most probable class or label, in 0..1."""
    probabilities: dict[str, float] = field(default_factory=dict)
    """Every class and its probability, most probable first; they sum to 1 where one class alone holds."""
    holds: tuple[str, ...] | None = None
    """Of several labels that may hold at once: those that do, the most probable first. None: one class alone holds."""
    values: dict[str, float] = field(default_factory=dict)
    """Of regression: each value that is predicted, by its name."""


class Predictions(Sequence[Prediction]):
    """The answers of one call, in the order of its inputs, and what could not be read."""

    def __init__(self, items: Iterable[Prediction], unreadable: Iterable[str] = ()) -> None:
        self.items = list(items)
        self.unreadable = list(unreadable)

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        return self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        shown = [item.values or (item.label, round(item.probability or 0.0, 4)) for item in self.items]
        return f"Predictions({shown})"
