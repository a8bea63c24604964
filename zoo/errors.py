"""Every failure that zoo reports. One class a reaction, not one a place.

    ZooError                exit status
    |- ConfigError          2   change an option, a recipe or a name
    |  `- UnknownName       2   ... the message offers the nearest names
    |- DataError            2   mend the data
    |- WeightsError         2   get other weights, or get them here
    |- CheckpointError      2   use another checkpoint or published folder
    |- OutputError          2   write somewhere else, or make room
    `- RunFailed            1   the run itself went wrong; its last checkpoint stands
       |- EngineFailed      1   ... torch goes on, wherever it can
       |- NonFinite         1   ... lower the learning rate or the precision
       `- AuditFailed       1   ... frozen tensors moved, or trained ones did not

A message is one line: what is wrong, with which file, row or name, and what to do. What users and their files put into it may be
anything; so control characters are escaped and long values cut here, where every message comes by.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

LONGEST_VALUE = 300
"""Characters of one value that a message shows: of what stands in quotation marks, and of anything else between two of them or between
the colons and semicolons of the message (its own words there are far fewer)."""
LONGEST_MESSAGE = 1_000
"""Characters of a message."""
_VALUES = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|(?:(?![:;][ ])[^'"])+""")


class ZooError(Exception):
    """A failure that is reported in one line. `exit_status` is that of the command."""

    exit_status = 2

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


class ConfigError(ZooError):
    """An option, a recipe or a name needs another value."""


class UnknownName(ConfigError):
    """A name that nothing has; the message offers the nearest ones."""

    def __init__(self, kind: str, name: str, names: Iterable[str], hint: str = "") -> None:
        offer = nearest(name, names)
        suggestion = f"; did you mean {', '.join(repr(other) for other in offer)}?" if offer else ""
        super().__init__(f"no {kind} {name!r}{suggestion}{' ' + hint if hint else ''}")


class DataError(ZooError):
    """The data needs mending."""


class WeightsError(ZooError):
    """Weights are missing, damaged, or belong to another network."""


class CheckpointError(ZooError):
    """A checkpoint or a published folder is incomplete, damaged, or does not fit."""


class OutputError(ZooError):
    """Something cannot be written where it should be."""


class RunFailed(ZooError):
    """A run went wrong after it had started; its last whole checkpoint stands."""

    exit_status = 1


class EngineFailed(RunFailed):
    """An engine died, hangs, or cannot do what it is for; torch can."""


class NonFinite(RunFailed):
    """A loss, a gradient or every evaluation was NaN or infinite."""


class AuditFailed(RunFailed):
    """A frozen tensor moved, or a tensor that should train had no gradient."""


def one_line(text: str) -> str:
    """A message on one line: what a terminal would obey or cannot show is escaped, and what is too long is cut in its middle.

    >>> one_line("a\\tb\\x1b[31m")
    'a\\\\tb\\\\x1b[31m'
    """
    values_cut = _VALUES.sub(lambda found: _cut(found[0], LONGEST_VALUE), escaped(text.strip()))
    return _cut(values_cut, LONGEST_MESSAGE)


def escaped(text: str) -> str:
    """A text in which control characters, line breaks and undecodable bytes are written as in a Python literal."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def shown(value: object) -> str:
    """Any value as a message shows it: its `repr`, cut; Python refuses to write a number of thousands of digits."""
    try:
        return _cut(repr(value), LONGEST_VALUE)
    except ValueError:
        return f"a {type(value).__name__} that is too long to be written"


def _cut(text: str, length: int) -> str:
    if len(text) <= length:
        return text
    end = length // 3
    return f"{text[: length - end - 1]}…{text[-end:]}"


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or its class."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


_NO_MEMORY = ("can't allocate memory", "not enough memory", "could not create a primitive", "std::bad_alloc")
"""What is said in a RuntimeError where the system has no more: by torch's allocator of the CPU (c10/core/impl/alloc_cpu.cpp), and by
oneDNN, which may mean something else; so the last one's words are told."""


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory ran out: Python's, or one of torch's, which is not imported for it."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _NO_MEMORY)


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The `count` names most like `name`, best first; none where nothing is similar (difflib's ratio, cutoff 0.5)."""
    by_folded = {other.casefold(): other for other in names}
    if len(name) > LONGEST_VALUE:  # difflib takes minutes
        return []
    return [by_folded[folded] for folded in difflib.get_close_matches(name.casefold(), by_folded, n=count, cutoff=0.5)]


_LONGEST = 200
"""Characters of a library's own words; more are cut."""


@contextmanager
def reported(what: str, kind: type[ZooError] = ConfigError) -> Iterator[None]:
    """Inside, whatever a library raises becomes an error of this kind, `what: its reason`.

    timm and transformers have no exceptions of their own: networks of which they know that something does not fit raise anything, from
    AssertionError to ImportError. For calls of theirs alone, so that no fault of ours hides here.
    """
    try:
        yield
    except ZooError:
        raise
    except Exception as error:
        raise kind(f"{what}: {reason(error)}") from error


def reason(error: Exception) -> str:
    """What an exception says, on one line, cut; its class where it says nothing."""
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= _LONGEST else said[: _LONGEST - 1] + "…"
