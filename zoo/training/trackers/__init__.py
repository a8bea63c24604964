"""Where the numbers of a run go: a module each with a `Tracker` as `TRACKER`; packages add theirs (entry points `zoo.trackers`)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from zoo.config import FinetuneConfig
from zoo.plugins import TRACKERS
from zoo.training.tracker import Start, Tracker

log = logging.getLogger("zoo")


class Trackers:
    """Some of them, told one after another. One that fails is left out from then on, and ends no run."""

    def __init__(self, told: Iterable[Tracker] = ()) -> None:
        self._told = list(told)

    @classmethod
    def begin(cls, folder: Path, config: FinetuneConfig, start: Start) -> Trackers:
        """Those that a run wants. folder: of the run. start: where the run is."""
        begun: list[Tracker | None] = []
        for known in TRACKERS.all():
            _worked(known, lambda known: begun.append(known.begin(folder, config, start)))
        return cls(one for one in begun if one is not None)

    def step(self, step: int, values: dict[str, float]) -> None:
        """As `Tracker.step`."""
        self._told = [one for one in self._told if _worked(one, lambda one: one.step(step, values))]

    def evaluation(self, step: int, record: dict[str, Any]) -> None:
        """As `Tracker.evaluation`."""
        self._told = [one for one in self._told if _worked(one, lambda one: one.evaluation(step, record))]

    def close(self) -> None:
        """As `Tracker.close`."""
        self._told = [one for one in self._told if _worked(one, lambda one: one.close())]


T = TypeVar("T")


def _worked(told: T, call: Callable[[T], object]) -> bool:
    """Whether a call worked out; if not, why is said."""
    try:
        call(told)
    except Exception as error:  # whatever a plug-in raises
        name = told.__name__ if isinstance(told, type) else type(told).__name__
        log.warning("tracker %s: %s: %s; the run goes on without it", name, type(error).__name__, error)
        return False
    return True
