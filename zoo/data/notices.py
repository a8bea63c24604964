"""What a person should know of some data in a sentence, and each sample, file and row that it is about.

A notice names the first of them; the run's file `notices.csv` names all. Both are made from the same entries.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Iterator
from itertools import islice
from typing import NamedTuple, Protocol, Self

from zoo.errors import escaped

SHOWN = 5
"""Names in a message."""


class NoticeEntry(NamedTuple):
    """One of those that a notice is about."""

    name: str
    """Of a file, its path inside the folder of the data; `table.csv, row 17`; `train[17]`."""
    detail: str = ""
    """What is so of this one alone, with the sign before it: `: an empty file`, ` = row 3`."""
    split: str = ""
    """`train`, `val` or `test`; empty where it is not known, or there is none."""


class Entries(Protocol):
    """Some of them, which can be gone through again and again; made meanwhile, where there may be a million."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[NoticeEntry]: ...


class Line(NamedTuple):
    """A line of the file, in characters that UTF-8 can hold and a terminal does not obey."""

    what: str
    """`sample`, `file`, `row`, `link` (to a folder), `set` or `class`."""
    set: str
    """As `Entry.split`."""
    name: str
    reason: str
    done: str
    """What was done about it: `left out`, `kept`, `only the first frame is used`, ..."""


class Notice(str):
    """A sentence that knows what it is about; a plain one is about the data as a whole."""

    __slots__ = ("done", "entries", "shown", "what", "why")

    entries: Entries
    """All of them."""
    what: str
    why: str
    """What is so of each of them."""
    done: str
    shown: int
    """How many of them the sentence names."""

    @classmethod
    def of(cls, sentence: str, entries: Entries, *, what: str, why: str, done: str, shown: int | None = None) -> Self:
        """The sentence as it is. shown: how many it names; None: all. what, done: as in `Line`. why: in front of each entry's detail."""
        made = cls(sentence)
        made.entries, made.what, made.why, made.done = entries, what, why, done
        made.shown = len(entries) if shown is None else shown
        return made

    @classmethod
    def naming(
        cls, before: str, entries: Entries, after: str = "", *, what: str, why: str, done: str, shown: int = SHOWN
    ) -> Self:
        """The sentence with the first entries between its two ends."""
        named = first([f"{one.name}{one.detail}" for one in islice(entries, shown)], shown, len(entries))
        return cls.of(f"{before}{named}{after}", entries, what=what, why=why, done=done, shown=shown)

    def pointing(self, file: str) -> str:
        """The sentence; where it does not name all, with the file that does."""
        return f"{self} (all in {file})" if len(self.entries) > self.shown else str(self)

    def lines(self) -> Iterator[Line]:
        """A line for each entry."""
        for one in self.entries:
            yield Line(self.what, one.split, escaped(one.name), escaped(f"{self.why}{one.detail}"), self.done)


def first(texts: Collection[str], shown: int = SHOWN, count: int | None = None) -> str:
    """The first of some texts on one line. count: how many there are in all, where these are the first alone."""
    more = (len(texts) if count is None else count) > shown
    return escaped("; ".join(islice(texts, shown))) + ("; ..." if more else "")


def lines(notices: Iterable[str]) -> Iterator[Line]:
    """A line for each sample, file and row that these are about."""
    for notice in notices:
        if isinstance(notice, Notice):
            yield from notice.lines()


def as_csv(notices: Iterable[str]) -> str:
    """The file: a header, and these lines."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Line._fields)
    writer.writerows(lines(notices))
    return text.getvalue()
