"""Things that have names: zoo's own, each a module in a folder, and what installed packages add through entry points.

A plug-in that is broken is left out, with a line that names its package. Nothing is imported until it is asked for. No torch here.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from zoo.errors import ConfigError, UnknownName

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


@dataclass(frozen=True)
class Registry:
    """Things of one kind by name. To add one to zoo is to add a module to a folder."""

    noun: str
    """What people call one of them."""
    package: str
    """The folder, as Python names it. Each module in it has one of them, whose name is the module's, with hyphens."""
    attribute: str
    """What a module calls it."""
    check: Callable[[Any], str | None] = lambda value: None
    """What is wrong with a plug-in's, in a few words, or None."""

    @property
    def group(self) -> str:
        """The group of entry points: `zoo.heads` of the folder `zoo.adaptation.heads`."""
        return f"zoo.{self.package.rpartition('.')[2]}"

    def own(self) -> dict[str, str]:
        """The module of each of zoo's own by its name."""
        return _modules(self.package)

    def added(self) -> dict[str, EntryPoint]:
        """The entry point of each of those of plug-ins by its name."""
        return points(self.group, self.own())

    def names(self) -> list[str]:
        """All names, sorted."""
        return sorted({*self.own(), *self.added()})

    def require(self, name: str) -> None:
        """Raises: UnknownName, with the nearest names."""
        if name not in self.own() and name not in self.added():
            raise UnknownName(self.noun, name, self.names(), f"(there are: {', '.join(self.names())})")

    def get(self, name: str) -> Any:
        """The one of this name. Raises: UnknownName; ConfigError if its plug-in cannot be imported."""
        if name in self.own():
            return getattr(importlib.import_module(self.own()[name]), self.attribute)
        self.require(name)
        return load(self.added()[name], self.check)

    def all(self) -> list[Any]:
        """All of them, zoo's own first; a plug-in's that is broken is left out."""
        return [*map(self.get, self.own()), *load_all(self.group, self.check, self.own()).values()]

    def version(self, name: str) -> str:
        """What tells whether a plug-in's has changed; empty for zoo's own."""
        point = None if name in self.own() else self.added().get(name)
        return "" if point is None else f"{point.value} {point.dist.version if point.dist else ''}"


@cache
def _modules(package: str) -> dict[str, str]:
    folder = Path(__file__).parent.joinpath(*package.split(".")[1:])
    found = sorted(module.name for module in pkgutil.iter_modules([str(folder)]))
    return {name.replace("_", "-"): f"{package}.{name}" for name in found}


def _callable(value: Any) -> str | None:
    return None if callable(value) else f"is a {type(value).__name__}, not a function"


HEADS = Registry("head", "zoo.adaptation.heads", "HEAD", _callable)
OPTIMIZERS = Registry("optimizer", "zoo.training.optimizers", "OPTIMIZER", _callable)
TRACKERS = Registry("tracker", "zoo.training.trackers", "TRACKER", _callable)
AUGMENTATIONS = Registry("augmentation", "zoo.data.augmentations", "AUGMENTATION")
