"""What installed packages add through entry points. One that is broken is left out, with a line that names its package.

No plug-in is imported until what it offers is asked for. No torch here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from zoo.errors import ConfigError

log = logging.getLogger("zoo")


def points(group: str, taken: Collection[str] = ()) -> dict[str, EntryPoint]:
    """The entry points of a group by name; of a name that two packages define differently, none.

    taken: names of zoo's own, which keep their meaning.
    """
    found: dict[str, EntryPoint] = {}
    disputed: set[str] = set()
    for point in entry_points(group=group):
        other = found.setdefault(point.name, point)
        if point.name in taken:
            _say_once(f"left out: {_name(point)} has a name that zoo has in {group}; {_way_out(point)}")
        elif other.value != point.value:
            _say_once(f"{group} {point.name!r} is defined by {_package(other)} and by {_package(point)}; uninstall one of them")
            disputed.add(point.name)
    return {name: point for name, point in found.items() if name not in disputed and name not in taken}


def load(point: EntryPoint, check: Callable[[Any], str | None] = lambda value: None) -> Any:
    """What an entry point names.

    check: gives what is wrong with it in a few words, or None.
    Raises: ConfigError if it cannot be imported, or is not what it should be.
    """
    try:
        value = point.load()
        fault = check(value)
    except (Exception, SystemExit) as error:  # whatever the module raises
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConfigError(f"{_name(point)} cannot be imported: {reason}; {_way_out(point)}") from error
    if fault:
        raise ConfigError(f"{_name(point)} {fault}; {_way_out(point)}")
    return value


def load_all(group: str, check: Callable[[Any], str | None] = lambda value: None, taken: Collection[str] = ()) -> dict[str, Any]:
    """What the entry points of a group name, by their names; what cannot be used is left out, and said once a process.

    taken: as in `points`.
    """
    found = {}
    for name, point in points(group, taken).items():
        try:
            found[name] = load(point, check)
        except ConfigError as error:
            _say_once(f"left out: {error}")
    return found


def leave_out(group: str, name: str, why: str) -> None:
    """Say, once a process, that a plug-in is not used although it can be imported."""
    point = points(group)[name]
    _say_once(f"left out: {_name(point)} {why}; {_way_out(point)}")


@cache
def _say_once(line: str) -> None:
    log.warning(line)


def _name(point: EntryPoint) -> str:
    return f"plug-in {point.name!r} ({point.value})"


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "a package without metadata"


def _way_out(point: EntryPoint) -> str:
    return f"mend it, or `pip uninstall {_package(point)}`" if point.dist else f"mend {point.value.partition(':')[0]}"
