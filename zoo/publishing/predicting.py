"""A model's answers in a file."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo import folders, inference, interrupts, locks, memory
from zoo.adaptation import saved, saved_config
from zoo.data import find_files
from zoo.publishing import answers
from zoo.publishing.answers import Written
from zoo.types import Kind

FIRST = 64
"""Inputs by which an engine is chosen."""
MANY = 100
"""Inputs of which more are not told apart in what is said of a change."""


@memory.kept()
def predict_to(
    out: Path,
    path: Path,
    inputs: Sequence[Any],
    *,
    top: int | None,
    threshold: float | None,
    column: str | None,
    engine: str,
    weights: str | None,
    batch_size: int,
) -> Written:
    """Answer for the inputs, as `zoo.inference.find` takes them, into a file; see `zoo.api.predict_to`."""
    answers.check_target(out)
    lock = locks.alone(out.with_name(f"{out.name}.lock"), f"{out} is being written")
    with lock, interrupts.hinting("the same command goes on where it was"):
        predictor = inference.load(path, threshold=threshold, weights=weights)
        found = inference.find(predictor.kind, inputs, column)
        first = list(itertools.islice(found, FIRST))
        if engine == "auto":
            # Which is the fastest is found by timing, and a call that goes on is to give what an unbroken one gives.
            engine = answers.begun_with(out).get("engine", "auto")
        expected = inference.count(predictor.kind, inputs) if engine == "auto" else len(first)
        chosen = predictor.accelerate(first, engine=engine, expected=expected, batch_size=batch_size)
        identity = {
            "engine": chosen,
            "model": folders.sha256(path / saved.WEIGHTS),
            "config of the model": folders.sha256(path / saved_config.CONFIG),
            "column": column,
            "threshold": threshold,
            "batch_size": batch_size,
        }
        return answers.write(
            lambda some: predictor.stream(some, batch_size=batch_size),
            itertools.chain(first, found),
            out,
            task=predictor.task,
            identity=identity | _known(predictor.kind, inputs),
            at_once=predictor.at_once(batch_size),
            top=top,
        )


def _known(kind: Kind, inputs: Sequence[Any]) -> dict[str, Any]:
    """By what the inputs are known again: their names; of a file, such as a table, its size and time too, as its rows may have changed; of
    a folder the names, sizes and times of the files in it. (Texts are compared as they are read: `answers.write`.)"""
    names = [os.fspath(one) if isinstance(one, (str, os.PathLike)) else type(one).__name__ for one in inputs]
    content: dict[str, Any] = {f"content of {name}": found for name in dict.fromkeys(names) if (found := _content(kind, name))}
    if len(content) > MANY:
        return {"list of inputs": _digest(names), "content of the inputs": _digest(content)}
    return {"list of inputs": _digest(names), **content}


def _content(kind: Kind, name: str) -> dict[str, Any] | None:
    """What tells whether a file or a folder has changed; None for a text, or a line that is no name of a file."""
    try:
        place = Path(name)
        if folders.is_file(place):
            return {"files": 1, "state": _state(name)}
        if kind is Kind.TEXT or not folders.is_folder(place):
            return None
    except (OSError, ValueError):
        return None
    files = find_files([name], kind)
    return {"files": len(files), "state": _digest([[file, *_state(file)] for file in files])}


def _state(file: str) -> list[int]:
    try:
        found = Path(file).stat()
    except OSError:  # it went meanwhile, or it leads nowhere: as an input it is unreadable
        return []
    return [found.st_size, found.st_mtime_ns]


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
