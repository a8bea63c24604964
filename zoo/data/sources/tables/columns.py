"""Which columns of a table are what: as asked for, else guessed by name, else by what they hold, and only if nothing else fits."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import PurePath
from typing import Any

from PIL import Image

from zoo.data.decoding import audio_files
from zoo.data.decoding.image_files import suffixes
from zoo.data.sources.row_values import Chosen, is_missing, plain, split_of
from zoo.data.sources.tables.row_sources import Values
from zoo.errors import ConfigError, DataError, UnknownName
from zoo.types import Kind, Schema

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
_SHOWN = 5
"""Words in a message."""
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
    """Holds paths of images, relative to the table."""
    audio: str | None = None
    """Holds paths of audio clips, relative to the table."""
    label: tuple[str, ...] | None = None
    """One; or several, all of 0 and 1 (multilabel) or all of numbers (regression)."""
    delimiter: str | None = None
    """What stands between the labels of one field (multilabel); None: a field is one label."""
    split: str | None = None
    """Holds train, val or test, or other words for them (`SPLIT_WORDS`); guessed if it is called `split`."""
    group: str | None = None
    """Says which rows belong together; never guessed."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Those of the sample that were named."""
        return (*(self.text or ()), *(one for one in (self.image, self.audio) if one))

    @property
    def asked(self) -> tuple[str, ...]:
        """All that were named."""
        return (*self.inputs, *(self.label or ()), *(one for one in (self.split, self.group) if one))


def choose(
    place: str | PathLike[str],
    sample: Sequence[Values],
    columns: Columns,
    *,
    labelled: bool = True,
    kind: Kind | None = None,
    schema: Schema | None = None,
    flag: str = "--column",
    header: bool = True,
) -> Chosen:
    """Decide which columns are what: as asked for, else as a model read them, else guessed.

    Args:
        place: of the table, for messages.
        sample: its first rows, some hundreds.
        labelled: whether labels are wanted; predicting needs none.
        kind: what the model takes, if that is known: other columns are then no inputs to guess.
        schema: what the model read; None: there is no model, or it does not say.
        flag: without labels, what names the input.
        header: whether the names of the columns stand in a first line, which may be missing.

    Raises: UnknownName with the nearest column; ConfigError naming the columns that could be meant, and the flag.
    """
    if not sample:
        raise DataError(f"{place}: no rows")
    look = _Sample(place, sample, "" if labelled else flag, header)
    look.require(columns.asked)
    known = schema or Schema()
    trained = () if kind is None or columns.inputs else look.all_of(known.inputs)
    labels = columns.label or look.all_of(known.labels)
    split, of_split = (
        (columns.split, None)
        if columns.split or not labelled
        else look.split({*columns.inputs, *trained, *labels, columns.group or ""}, known.split)
    )
    taken = {*columns.inputs, *trained, *labels, split, columns.group}
    free = [name for name in look.names if name not in taken]
    inputs_told, labels_told = bool(columns.inputs or trained), bool(labels) or not labelled
    if not labels_told:
        labels = look.named(free, _LABEL_WORDS, "--label")
        free = [name for name in free if name not in labels]
    if kind is not None and trained:
        inputs = trained
    else:
        pairs = schema.pairs if schema else None
        kind, inputs = _asked_inputs(look, columns) or look.guess_inputs(free, kind, pairs)
    _check_pairs(look, kind, inputs, schema)
    if labelled and not labels:
        labels = look.guess_label([name for name in free if name not in inputs])
    both = [name for name in inputs if labelled and name in labels]
    if both:
        raise ConfigError(f"{place}: {both[0]!r} cannot be input and label at once; choose another with --{kind} or --label")
    if columns.group is not None and columns.group in (*inputs, *labels, split):
        raise ConfigError(f"{place}: --group {columns.group} is an input, the label or the split already; name another column")
    guessed = _guesses(look, kind, known, () if inputs_told else inputs, () if labels_told else labels)
    if not labelled:
        return Chosen(kind, inputs, (), None, split, None, guessed)
    notice = "; ".join(one for one in (guessed, of_split) if one) or None
    return Chosen(kind, inputs, tuple(labels), columns.delimiter or known.label_delimiter, split, columns.group, notice)


def _guesses(look: _Sample, kind: Kind, known: Schema, inputs: tuple[str, ...], labels: tuple[str, ...]) -> str | None:
    """What to say of columns that were guessed, and of those that a model read in their place; None: none was."""
    guessed = [f"{kind} {' and '.join(map(repr, inputs))}"] if inputs else []
    guessed += [f"label {labels[0]!r}"] if labels else []
    flags = [look.flag(kind)] * bool(inputs) + ["--label"] * bool(labels)
    if not guessed:
        return None
    absent = [name for name in (*known.inputs * bool(inputs), *known.labels * bool(labels)) if name not in look.names]
    instead = f" in place of {', '.join(map(repr, absent))}, which training read" if absent else ""
    return f"columns guessed: {', '.join(guessed)}{instead} ({', '.join(flags)} name others)"


def _check_pairs(look: _Sample, kind: Kind, inputs: tuple[str, ...], schema: Schema | None) -> None:
    """Raises: ConfigError where a model of pairs of texts would get single ones, or the other way round."""
    if kind is not Kind.TEXT or schema is None or schema.pairs == (len(inputs) == 2):
        return
    listed, flag = " and ".join(map(repr, inputs)), look.flag(kind)
    if schema.pairs:
        raise ConfigError(f"{look.place}: the model takes pairs of texts, and {listed} is one; name both columns, {flag} A,B")
    raise ConfigError(f"{look.place}: the model takes single texts, and {listed} are pairs; name one column with {flag}")


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
            raise ConfigError(f"{look.place}: {name!r} holds paths of {found.nouns}, not texts; {look.instead(found, name)}")
        if look.numbers(name):
            offer = [other for other in look.names if look.holds_texts(other)]
            hint = f" (it could be {' or '.join(map(repr, offer))})" if offer else ""
            flag = look.flag(Kind.TEXT)
            raise ConfigError(f"{look.place}: {name!r} holds numbers, not texts; name the column of texts with {flag}{hint}")
    return Kind.TEXT, names


class _Sample:
    """The first rows of a table, column by column."""

    def __init__(self, place: str | PathLike[str], rows: Sequence[Values], flag: str = "", header: bool = True) -> None:
        """flag: what names the input in the command at hand; empty: one flag a kind."""
        self.place = place
        self._flag = flag
        self._rows = rows
        self._header = header
        self.names = list(dict.fromkeys(name for values in rows for name in values))
        self._present: dict[str, list[Any]] = {}
        self._path_kinds: dict[str, Kind | None] = {}

    def flag(self, kind: Kind) -> str:
        """What names the column of inputs."""
        return self._flag or f"--{kind}"

    def instead(self, kind: Kind, name: str) -> str:
        """What to do about a column that holds another kind of input than was said."""
        return f"name another with {self._flag}" if self._flag else f"use --{kind} {name}"

    def require(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in self.names:
                raise UnknownName("column", name, self.names, f"(columns of {self.place}: {self._listed(self.names)})")

    def all_of(self, names: Sequence[str]) -> tuple[str, ...]:
        """These columns, if all of them are there; else none."""
        return tuple(names) if all(name in self.names for name in names) else ()

    def values(self, name: str) -> list[Any]:
        """What is not missing."""
        if name not in self._present:
            self._present[name] = [one[name] for one in self._rows if not is_missing(one.get(name))]
        return self._present[name]

    def split(self, taken: Collection[str], known: str | None = None) -> tuple[str | None, str | None]:
        """The column that is called `split`, if it holds names of sets; and what to say of it.

        taken: columns that are something else. known: the one that a model read, if it is there.

        Raises: DataError if it holds names of sets and other words: rows of a test set are not to be trained on."""
        called = [name for name in self.names if name == known or (_fold(name) == "split" and known not in self.names)]
        name = next((name for name in called if name not in taken and self.values(name)), None)
        if name is None:
            return None, None
        by_role: dict[str | None, list[str]] = {}
        for word in dict.fromkeys(str(plain(one)).strip() for one in self.values(name)):
            by_role.setdefault(split_of(word), []).append(repr(word))
        other = by_role.pop(None, [])
        listed = ", ".join(other[:_SHOWN]) + (", ..." if len(other) > _SHOWN else "")
        if other and by_role:
            raise DataError(f"{self.place}: the column {name!r} holds {listed} beside names of sets; write train, val or test")
        if other:
            return None, f"the column {name!r} is not used, as it holds {listed}, and not train, val and test"
        twice = [f"{' and '.join(words)} both mean {role}" for role, words in by_role.items() if len(words) > 1]
        return name, f"in the column {name!r}, {', '.join(twice)}" if twice else None

    def named(self, free: Sequence[str], words: frozenset[str], flag: str) -> tuple[str, ...]:
        """The one column with such a name, or none. Raises: ConfigError if there are several."""
        found = [name for name in free if _fold(name) in words]
        if len(found) > 1:
            raise self._ambiguous(found, [f"{flag} {name}" for name in found])
        return tuple(found)

    def guess_inputs(self, free: Sequence[str], wanted: Kind | None, pairs: bool | None) -> tuple[Kind, tuple[str, ...]]:
        """Paths by what they are, texts by name, else the one column that can hold nothing else.

        pairs: whether the model takes pairs of texts; None: not known.
        """
        paths = {name: kind for name in free if (kind := self.path_kind(name)) and wanted in (None, kind)}
        if len(paths) > 1:
            paths = {name: kind for name, kind in paths.items() if _fold(name) in _PATH_WORDS} or paths
        others = [name for name in free if not self.path_kind(name) and not self.numbers(name) and wanted in (None, Kind.TEXT)]
        texts = [] if pairs is False else self._pair(others)
        if not paths and not texts and pairs:
            raise ConfigError(f"{self.place}: which columns are the pairs of texts? Name both with {self.flag(Kind.TEXT)} A,B")
        texts = texts or [(name,) for name in others if _fold(name) in _TEXT_WORDS]
        if not paths and not texts:
            texts = [(name,) for name in others if self.holds_texts(name)]
            self._check_header(free)
            if not texts and len(free) == len(others) == 1 and not self._header:
                texts = [(others[0],)]
        found = [(kind, (name,)) for name, kind in paths.items()] + [(Kind.TEXT, names) for names in texts]
        if len(found) > 1:
            flags = [f"{self.flag(kind)} {','.join(names)}" for kind, names in found]
            raise self._ambiguous([name for _, names in found for name in names], flags)
        if not found:
            columns = self._listed(self.names)
            flags = [self.flag(one) for one in ([wanted] if wanted else Kind)]
            raise ConfigError(f"{self.place}: which column is the input? Name it with {' or '.join(flags)} (columns: {columns})")
        return found[0]

    def guess_label(self, rest: Sequence[str]) -> tuple[str, ...]:
        """The one column beside the input, if its values repeat or are measured."""
        self._check_header(self.names)
        if len(rest) == 1 and self.path_kind(rest[0]) is None and self._repeats(rest[0]):
            return tuple(rest)
        columns = self._listed(self.names)
        raise ConfigError(f"{self.place}: which column holds the labels? Name it with --label (columns: {columns})")

    def path_kind(self, name: str) -> Kind | None:
        """Whether most of the values are images, or end like names of image or audio files; that the files exist is checked row by
        row."""
        if name not in self._path_kinds:
            self._path_kinds[name] = self._path_kind(self.values(name)[:_SAMPLED])
        return self._path_kinds[name]

    @staticmethod
    def _path_kind(values: Sequence[Any]) -> Kind | None:
        if values and 2 * sum(map(is_image, values)) > len(values):
            return Kind.IMAGE
        names = [str(one).strip() for one in values if isinstance(one, (str, PurePath))]
        endings = [os.path.splitext(one)[1].lower() for one in names if len(one) < 1000]  # noqa: PTH122 - a tenth of the time of a path
        for kind, known in ((Kind.IMAGE, suffixes()), (Kind.AUDIO, audio_files.suffixes())):
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
        for name in names if self._header else ():
            if name in self.values(name) or _is_number(name):
                reason = f"the first line seems to be data, not names of columns ({name!r})"
                raise DataError(f"{self.place}: {reason}; add a line such as text,label above it")

    def _ambiguous(self, names: Sequence[str], flags: Sequence[str]) -> ConfigError:
        listed = " or ".join(flags)
        return ConfigError(f"{self.place}: {self._listed([repr(name) for name in names])} could each be meant; say {listed}")

    @staticmethod
    def _listed(names: Sequence[str], shown: int = 20) -> str:
        return ", ".join(" ".join(name.split()) for name in names[:shown]) + (", ..." if len(names) > shown else "")


def kind_of(sample: Sequence[Values], name: str) -> Kind:
    """What a column holds: what is neither images nor paths is texts."""
    return _Sample("", sample).path_kind(name) or Kind.TEXT


def is_image(value: Any) -> bool:
    """Whether a value is an image in memory: decoded, or as the bytes of a file, as `datasets` has it."""
    encoded = isinstance(value, dict) and isinstance(value.get("bytes"), bytes)
    return encoded or isinstance(value, Image.Image) or len(getattr(value, "shape", ())) >= 2


def _fold(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(value, bool)
