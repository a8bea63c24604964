"""A model's answers in a file."""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo import folders, inference, memory
from zoo.adaptation import saved
from zoo.publishing import answers
from zoo.publishing.answers import Written

FIRST = 64
"""Inputs by which an engine is chosen."""


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
        "list of inputs": [_known(one) for one in inputs],
        "column": column,
        "threshold": threshold,
        "batch_size": batch_size,
    }
    return answers.write(
        lambda some: predictor.stream(some, batch_size=batch_size),
        itertools.chain(first, found),
        out,
        task=predictor.task,
        identity=identity,
        at_once=predictor.at_once(batch_size),
        top=top,
    )


def _known(one: Any) -> Any:
    """By what an input is known again: its name; of a file, such as a table, its size and time too, as its rows may have changed."""
    if not isinstance(one, (str, os.PathLike)):
        return type(one).__name__
    try:
        found = Path(one).stat()
    except (OSError, ValueError):  # a text, a line that is no name of a file
        return os.fspath(one)
    return [os.fspath(one), found.st_size, found.st_mtime_ns] if stat.S_ISREG(found.st_mode) else os.fspath(one)
