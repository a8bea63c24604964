"""Which columns of a table are what: as asked for, else guessed by name, else by what they hold, and only if nothing else fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from zoo.data import sounds
from zoo.data.pictures import suffixes
from zoo.data.sources.tables_rows import Values
from zoo.data.sources.tables_values import SPLIT_WORDS, Chosen, is_missing
from zoo.errors import ConfigError, DataError, UnknownName
from zoo.types import Kind

_TEXT_WORDS = frozenset({
    "text", "texts", "sentence", "review", "body", "content", "contents", "comment", "question", "document", "message",
    "tweet", "abstract", "utterance", "query", "article", "headline", "reviewtext", "commenttext",
})  # fmt: skip
_PAIR_WORDS = (
    ("sentence1", "sentence2"), ("text1", "text2"), ("texta", "textb"), ("question1", "question2"), ("premise", "hypothesis"),
)  # fmt: skip
_PATH_WORDS = frozenset({
    "image", "images", "imagepath", "picture", "photo", "img", "path", "file", "filename", "filepath", "audio", "audiopath",
    "sound", "recording", "wav", "clip",
})  # fmt: skip
_LABEL_WORDS = frozenset({
    "label", "labels", "class", "classes", "category", "categories", "target", "species", "sentiment", "intent", "topic",
    "genre", "rating", "score", "stars", "emotion", "tag", "tags", "y",
})  # fmt: skip
_SAMPLED = 50
"""Values of a column that are looked at to tell paths from texts."""
_WORDS, _CHARACTERS = 3, 20
"""A column of texts has on average as many words, or as many characters (not all scripts write spaces)."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a table are what, as asked for; None: to be guessed."""

    text: tuple[str, ...] | None = None
    """One, or two for pairs of texts."""
    image: str | None = None
    """Holds paths of pictures, relative to the table."""
    audio: str | None = None
    """Holds paths of recordings, relative to the table."""
    label: tuple[str, ...] | None = None
    """One; or several, all of 0 and 1 (multilabel) or all of numbers (regression)."""
    delimiter: str | None = None
    """What stands between the labels of one field (multilabel); None: a field is one label."""
    split: str | None = None
    """Holds train, val or test; guessed if it is called `split`."""


def choose(path: Path, sample: Sequence[Values], columns: Columns, *, labelled: bool = True, kind: Kind | None = None) -> Chosen:
    """Decide which columns are what.

    Args:
        path: of the table.
        sample: its first rows, some hundreds.
        labelled: whether labels are wanted; predicting needs none.
        kind: what the model takes, if that is known: other columns are then no inputs to guess.

    Raises: UnknownName with the nearest column; ConfigError naming the columns that could be meant, and the flag.
    """
    if not sample:
        raise DataError(f"{path}: no rows")
    look = _Sample(path, sample, "" if labelled else "--column")
    look.require((*_asked(columns), *(columns.label or ()), *((columns.split,) if columns.split else ())))
    split = columns.split or look.split()
    taken = {*_asked(columns), *(columns.label or ()), split}
    free = [name for name in look.names if name not in taken]
    labels = columns.label or (look.named(free, _LABEL_WORDS, "--label") if labelled else ())
    free = [name for name in free if name not in labels]
    kind, inputs = _asked_inputs(look, columns) or look.guess_inputs(free, kind)
    if labelled and not labels:
        labels = look.guess_label([name for name in free if name not in inputs])
    both = [name for name in inputs if name in labels]
    if both:
        raise ConfigError(f"{path}: {both[0]!r} cannot be input and label at once; choose another with --{kind} or --label")
    guessed = [f"{kind} {' and '.join(map(repr, inputs))}"] if not _asked(columns) else []
    flags = [look.flag(kind)] if guessed else []
    if labelled and columns.label is None:
        guessed.append(f"label {labels[0]!r}")
        flags.append("--label")
    notice = f"columns guessed: {', '.join(guessed)} ({', '.join(flags)} name others)" if guessed else None
    return Chosen(kind, inputs, tuple(labels) if labelled else (), columns.delimiter, split, notice)


def _asked(columns: Columns) -> tuple[str, ...]:
    return (*(columns.text or ()), *(one for one in (columns.image, columns.audio) if one))


def _asked_inputs(look: _Sample, columns: Columns) -> tuple[Kind, tuple[str, ...]] | None:
    """The inputs that were named, checked to be what they are said to be."""
    given = {Kind.TEXT: columns.text, Kind.IMAGE: columns.image, Kind.AUDIO: columns.audio}
    kinds = [kind for kind, one in given.items() if one]
    if not kinds:
        return None
    if len(kinds) > 1:
        raise ConfigError(f"{' and '.join(f'--{kind}' for kind in kinds)}: a model has one kind of input; give one of them")
    if kinds[0] is not Kind.TEXT:
        return kinds[0], (str(given[kinds[0]]),)
    names = tuple(columns.text or ())
    if len(names) > 2 or len(set(names)) < len(names):
        raise ConfigError(
            f"{look.flag(Kind.TEXT)} {','.join(names)}: expected one column, or two different ones for pairs of texts"
        )
    for name in names:
        found = look.path_kind(name)
        if found:
            raise ConfigError(f"{look.path}: {name!r} holds paths of {found.nouns}, not texts; {look.instead(found, name)}")
        if look.numbers(name):
            offer = [other for other in look.names if look.holds_texts(other)]
            hint = f" (it could be {' or '.join(map(repr, offer))})" if offer else ""
            flag = look.flag(Kind.TEXT)
            raise ConfigError(f"{look.path}: {name!r} holds numbers, not texts; name the column of texts with {flag}{hint}")
    return Kind.TEXT, names


class _Sample:
    """The first rows of a table, column by column."""

    def __init__(self, path: Path, rows: Sequence[Values], flag: str = "") -> None:
        """flag: what names the input in the command at hand; empty: one flag a kind."""
        self.path = path
        self._flag = flag
        self.names = list(dict.fromkeys(name for values in rows for name in values))
        self._present = {name: [one[name] for one in rows if not is_missing(one.get(name))] for name in self.names}

    def flag(self, kind: Kind) -> str:
        """What names the column of inputs."""
        return self._flag or f"--{kind}"

    def instead(self, kind: Kind, name: str) -> str:
        """What to do about a column that holds another kind of input than was said."""
        return f"name another with {self._flag}" if self._flag else f"use --{kind} {name}"

    def require(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.names:
                raise UnknownName("column", name, self.names, f"(columns of {self.path}: {self._listed(self.names)})")

    def values(self, name: str) -> list[Any]:
        """What is not missing."""
        return self._present[name]

    def split(self) -> str | None:
        """The column that is called `split` and holds nothing else than names of splits."""
        for name in self.names:
            if _fold(name) == "split" and {str(one).strip().casefold() for one in self.values(name)} <= set(SPLIT_WORDS):
                return name
        return None

    def named(self, free: Sequence[str], words: frozenset[str], flag: str) -> tuple[str, ...]:
        """The one column with such a name, or none. Raises: ConfigError if there are several."""
        found = [name for name in free if _fold(name) in words]
        if len(found) > 1:
            raise self._ambiguous(found, [f"{flag} {name}" for name in found])
        return tuple(found)

    def guess_inputs(self, free: Sequence[str], wanted: Kind | None) -> tuple[Kind, tuple[str, ...]]:
        """Paths by what they are, texts by name, else the one column that can hold nothing else."""
        paths = {name: kind for name in free if (kind := self.path_kind(name)) and wanted in (None, kind)}
        if len(paths) > 1:
            paths = {name: kind for name, kind in paths.items() if _fold(name) in _PATH_WORDS} or paths
        others = [name for name in free if not self.path_kind(name) and not self.numbers(name) and wanted in (None, Kind.TEXT)]
        texts = self._pair(others) or [(name,) for name in others if _fold(name) in _TEXT_WORDS]
        if not paths and not texts:
            texts = [(name,) for name in others if self.holds_texts(name)]
            self._check_header(free)
        found = [(kind, (name,)) for name, kind in paths.items()] + [(Kind.TEXT, names) for names in texts]
        if len(found) > 1:
            flags = [f"{self.flag(kind)} {','.join(names)}" for kind, names in found]
            raise self._ambiguous([name for _, names in found for name in names], flags)
        if not found:
            columns = self._listed(self.names)
            flags = [self.flag(one) for one in ([wanted] if wanted else Kind)]
            raise ConfigError(f"{self.path}: which column is the input? Name it with {' or '.join(flags)} (columns: {columns})")
        return found[0]

    def guess_label(self, rest: Sequence[str]) -> tuple[str, ...]:
        """The one column beside the input, if its values repeat or are measured."""
        self._check_header(self.names)
        if len(rest) == 1 and self.path_kind(rest[0]) is None and self._repeats(rest[0]):
            return tuple(rest)
        columns = self._listed(self.names)
        raise ConfigError(f"{self.path}: which column holds the labels? Name it with --label (columns: {columns})")

    def path_kind(self, name: str) -> Kind | None:
        """Whether most of the values end like names of pictures or recordings; that the files exist is checked row by row."""
        values = self.values(name)[:_SAMPLED]
        endings = [PurePath(one.strip()).suffix.lower() for one in values if isinstance(one, str) and len(one) < 1000]
        for kind, known in ((Kind.IMAGE, suffixes()), (Kind.AUDIO, sounds.suffixes())):
            if values and 2 * sum(ending in known for ending in endings) > len(values):
                return kind
        return None

    def numbers(self, name: str) -> bool:
        """Whether every value is a number."""
        values = self.values(name)
        return bool(values) and all(_is_number(one) for one in values)

    def holds_texts(self, name: str) -> bool:
        """Whether most values differ and are on average of several words."""
        values = [one for one in self.values(name) if isinstance(one, str)]
        if not values or self.path_kind(name) or len(set(values)) * 2 <= len(values):
            return False
        words, characters = sum(len(one.split()) for one in values), sum(map(len, values))
        return words >= _WORDS * len(values) or characters >= _CHARACTERS * len(values)

    def _repeats(self, name: str) -> bool:
        """Few values for many rows; or numbers that are measured rather than counted."""
        values = [str(one) for one in self.values(name)]
        if self.numbers(name) and not all(float(one).is_integer() for one in values):
            return True
        return 0 < 2 * len(set(values)) <= len(values)

    def _pair(self, names: Sequence[str]) -> list[tuple[str, ...]]:
        by_word = {_fold(name): name for name in names}
        return [(by_word[first], by_word[second]) for first, second in _PAIR_WORDS if first in by_word and second in by_word]

    def _check_header(self, names: Sequence[str]) -> None:
        """Raises: DataError if a name is found among the column's values, as the first row of a table without a header is."""
        for name in names:
            if name in self.values(name) or _is_number(name):
                reason = f"the first line seems to be data, not names of columns ({name!r})"
                raise DataError(f"{self.path}: {reason}; add a line such as text,label above it")

    def _ambiguous(self, names: Sequence[str], flags: Sequence[str]) -> ConfigError:
        listed = " or ".join(flags)
        return ConfigError(f"{self.path}: {self._listed([repr(name) for name in names])} could each be meant; say {listed}")

    @staticmethod
    def _listed(names: Sequence[str], shown: int = 20) -> str:
        return ", ".join(" ".join(name.split()) for name in names[:shown]) + (", ..." if len(names) > shown else "")


def _fold(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(value, bool)
