"""`zoo predict --out`: a model's predictions in a file."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from zoo import folders, inference, interrupts, locks, memory
from zoo.adaptation import saved, saved_config
from zoo.data.inputs import InputRows, request_for
from zoo.data.sources.source import Named
from zoo.errors import EngineFailed
from zoo.inference import Predictor
from zoo.jobs import prediction_file
from zoo.jobs.prediction_file import Written
from zoo.types import Kind, Prediction

FIRST = 64
"""Inputs by which an engine is chosen."""
MANY = 100
"""Inputs of which more are not told apart in what is said of a change."""


@memory.kept()
def predict_to(
    out: Path,
    path: Path,
    inputs: Any,
    *,
    top: int | None,
    threshold: float | None,
    column: str | None,
    engine: str,
    weights: str | None,
    batch_size: int,
    device: str,
) -> Written:
    """Predict for the inputs, as `zoo.inference.several` takes them, into a file; see `zoo.api.predict_to`."""
    prediction_file.check_target(out)
    lock = locks.alone(out.with_name(f"{out.name}.lock"), f"{out} is being written")
    with lock, interrupts.hinting("the same command goes on where it was"):
        predictor = inference.load(path, threshold=threshold, weights=weights, device=device)
        many = inference.several(inputs, predictor.kind, column, predictor.schema)
        many = many if isinstance(many, InputRows) else list(many)  # they are gone through again where an engine fails
        once = isinstance(many, list) and any(inference.is_stdin(one) for one in many)
        found = inference.find(predictor.kind, many, column, predictor.schema)
        first = list(itertools.islice(found, FIRST))
        begun_with = prediction_file.begun_with(out).get("engine", "auto")
        if engine == "auto":
            # Which is the fastest is found by timing, and a call that goes on is to give what an unbroken one gives.
            engine = begun_with
        expected = inference.count(predictor.kind, many) if engine == "auto" else len(first)
        if predictor.accelerate(first, engine=engine, expected=expected, batch_size=batch_size) != engine == begun_with:
            prediction_file.forget(out)  # the engine cannot be had any more
        identity = {
            "model": folders.sha256(path / saved.WEIGHTS),
            "config of the model": folders.sha256(path / saved_config.CONFIG),
            "column": column,
            "threshold": threshold,
            "batch_size": batch_size,
            "device": next(predictor.model.parameters()).device.type,
        } | _known(predictor.kind, many)

        def write(named: Iterable[Named]) -> Written:
            return prediction_file.write(
                lambda some: _by_one_engine(predictor, some, batch_size, once),
                named,
                out,
                labels=predictor.labels.names,
                task=predictor.task,
                identity={"engine": predictor.engine} | identity,
                at_once=predictor.at_once(batch_size),
                top=top,
            )

        try:
            return write(itertools.chain(first, found))
        except EngineFailed:
            prediction_file.forget(out)
            return write(inference.find(predictor.kind, many, column, predictor.schema))


def _by_one_engine(predictor: Predictor, inputs: Iterable[Named], batch_size: int, once: bool) -> Iterator[Prediction]:
    """The predictions.

    Raises: EngineFailed where torch has taken over from an engine, unless the inputs come `once` only, as those of stdin.
    """
    began_with = predictor.engine
    for prediction in predictor.stream(inputs, batch_size=batch_size):
        if predictor.engine != began_with and not once:
            raise EngineFailed(f"the engine {began_with} has failed")
        yield prediction


def _known(kind: Kind, inputs: InputRows | Sequence[Any]) -> dict[str, Any]:
    """By what the inputs are known again: their names; of a file, such as a table, its size and time too, as its rows may have changed; of
    a folder the names, sizes and times of the files in it. (Texts are compared as they are read: `prediction_file.write`.)"""
    if isinstance(inputs, InputRows):
        return {"list of inputs": _digest([inputs.what, len(inputs), *inputs.chosen.inputs])}
    names = [os.fspath(one) if isinstance(one, (str, os.PathLike)) else type(one).__name__ for one in inputs]
    content: dict[str, Any] = {f"content of {name}": found for name in dict.fromkeys(names) if (found := _content(kind, name))}
    if len(content) > MANY:
        return {"list of inputs": _digest(names), "content of the inputs": _digest(content)}
    return {"list of inputs": _digest(names), **content}


def _content(kind: Kind, name: str) -> dict[str, Any] | None:
    """What tells whether the files that a name stands for have changed; None for a text, or a line that is not a name."""
    source = inference.source_of(kind, name)
    if source is None:
        try:
            return {"files": 1, "state": _state(name)} if folders.is_file(Path(name)) else None
        except (OSError, ValueError):
            return None
    files = source.files(request_for(name, kind))
    return {"files": len(files), "state": _digest([[str(file), *_state(str(file))] for file in files])}


def _state(file: str) -> list[int]:
    try:
        found = Path(file).stat()
    except OSError:  # it went meanwhile, or it leads nowhere: as an input it is unreadable
        return []
    return [found.st_size, found.st_mtime_ns]


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()
