"""Predictions for more inputs than memory holds: read, predicted and written as they come, and gone on with where they stopped.

The file has a row for each input, in their order; one that cannot be read has empty fields and its reason in `error`, and
`FILE.unreadable.csv` lists these reasons. While the file is being written, `FILE.progress.json` beside it says how far it is whole, and for
which inputs; what was written after is cut off when the work goes on. Parquet, which cannot be gone on with, is made of JSON lines at the
end.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from zoo import folders
from zoo.data.sources.source import Named
from zoo.errors import ConfigError, OutputError
from zoo.types import Prediction, Task

SUFFIXES = (".csv", ".jsonl", ".parquet")
SECONDS = 2.0
"""Between two marks of progress at least: so much work, or what is predicted at once, a kill may cost."""

Predict = Callable[[Iterable[Named]], Iterator[Prediction]]


@dataclass(frozen=True)
class Written:
    """What was done."""

    path: Path
    answered: int
    """Rows with a prediction."""
    found: int
    """How many rows were there when it went on."""
    unreadable: Path | None
    """The file that lists why inputs could not be read; None if all could."""
    left_out: int
    """How many could not: rows without a prediction."""
    seconds: float


def check_target(out: Path) -> None:
    """Raises: ConfigError if the name says no format; OutputError if the file exists already, or its folder does not."""
    if out.suffix.lower() not in SUFFIXES:
        raise ConfigError(f"--out {out}: predictions are written as {', '.join(SUFFIXES)}; name the file so")
    if folders.exists(out) and not folders.exists(_progress(out)):
        raise OutputError(f"{out} exists and is not overwritten; name another file, or remove it")
    if not folders.is_folder(out.parent):
        raise OutputError(f"{out}: there is no folder {out.parent}; make it first")


def begun_with(out: Path) -> dict[str, Any]:
    """The identity of a call that was stopped before it was done; empty if there is none."""
    try:
        identity = json.loads(_progress(out).read_text(encoding="utf-8"))["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return dict(identity)


def forget(out: Path) -> None:
    """Have `write` begin anew, whatever a call that was stopped has done."""
    if _progress(out).exists():
        _State(_progress(out), {}, out).mark(0, 0)


def write(
    predict: Predict,
    inputs: Iterable[Named],
    out: Path,
    *,
    labels: Sequence[str],
    task: Task,
    identity: dict[str, Any],
    at_once: int = 1,
    top: int | None = 1,
) -> Written:
    """Write a prediction for each input into a file, in their order; go on where a killed call with the same identity stopped.

    Args:
        predict: named inputs to predictions, in order.
        labels: names of the classes, labels or values.
        identity: everything that the predictions depend on, as plain values by names for people: the model's digest, options. The inputs
            that were predicted before are compared by their names, and texts by themselves.
        at_once: inputs that `predict` takes at once: it goes on after a multiple of them, so that an input has the same others beside it in
            its batch as in an undisturbed call, and its probabilities the same last digits.
        top: as of `columns`.

    Raises: OutputError; ConfigError if what is there was begun with other options or inputs; whatever `predict` raises.
    """
    check_target(out)
    began = time.monotonic()
    lines = out.with_name(out.name + ".jsonl") if out.suffix.lower() == ".parquet" else out
    state = _State.open(out, lines, {**identity, "top": top})
    kinds = columns(labels, task, top)
    found, coming = state.done, iter(inputs)
    state.skip(coming)
    try:
        with lines.open("ab") as good, state.bad.open("ab") as bad:
            for one in predict(state.noted(coming)):
                state.count()
                good.write(_line(values(one, kinds, labels, task), lines, header=state.done == 0))
                if one.error is None:
                    state.answered += 1
                else:
                    bad.write(_line({"reason": one.error}, state.bad, header=state.left_out == 0))
                    state.left_out += 1
                if state.done % at_once == 0:
                    state.save(good, bad)
            state.save(good, bad, force=True)
        if lines != out:
            _to_parquet(lines, out, kinds)
        if not state.left_out:
            state.bad.unlink(missing_ok=True)
        _progress(out).unlink()
        if lines != out:
            lines.unlink()
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from error
    bad_file = state.bad if state.left_out else None
    return Written(out, state.answered, found, bad_file, state.left_out, time.monotonic() - began)


@dataclass
class _State:
    """How far the files are whole."""

    path: Path
    identity: dict[str, Any]
    bad: Path
    answered: int = 0
    left_out: int = 0
    saved: float = 0.0
    seen: str = ""
    """Digest of the inputs that were predicted in earlier calls."""
    inputs: Any = field(default_factory=hashlib.sha256)
    """The same of all that are predicted by now."""
    ahead: deque[bytes] = field(default_factory=deque)
    """What is known of the inputs that were read, and have no prediction yet."""

    @property
    def done(self) -> int:
        return self.answered + self.left_out

    @classmethod
    def open(cls, out: Path, lines: Path, identity: dict[str, Any]) -> _State:
        """As a killed call left it, the files cut to what is whole; fresh if there was none."""
        identity = json.loads(json.dumps(identity))
        state = cls(_progress(out), identity, out.with_name(out.name + ".unreadable.csv"))
        if not folders.is_file(state.path):
            for file in (lines, state.bad):
                if folders.exists(file):
                    raise OutputError(f"{file} exists and is not overwritten; name another --out, or remove it")
            state.mark(0, 0)  # before the files are there: a kill leaves none that would be taken for another's
            return state
        try:
            values = json.loads(state.path.read_text(encoding="utf-8"))
            before = dict(values["identity"])
            state.answered, state.left_out = int(values["answered"]), int(values["left_out"])
            sizes, state.seen = (int(values["good_bytes"]), int(values["bad_bytes"])), str(values["inputs"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(f"{state.path}: damaged; remove it and {out}, and begin again") from error
        other = [name for name in {**before, **identity} if before.get(name) != identity.get(name)]
        if other and state.done:
            raise state.other(other[0])
        for file, size in zip((lines, state.bad), sizes, strict=True):
            if (file.stat().st_size if folders.is_file(file) else 0) < size:
                raise OutputError(f"{file}: shorter than {state.path.name} says; remove both, and begin again")
            if folders.is_file(file):
                os.truncate(file, size)
        return state

    def other(self, what: str) -> ConfigError:
        """What was begun is not what is to be gone on with."""
        out = self.path.name.removesuffix(_PROGRESS)
        return ConfigError(
            f"{self.path.with_name(out)} was begun with another {what}; name another --out, or remove it and {self.path.name}"
        )

    def skip(self, inputs: Iterator[Named]) -> None:
        """Pass over what has been predicted. Raises: ConfigError if it is not what was predicted."""
        for pair in itertools.islice(inputs, self.done):
            self.inputs.update(_known(pair))
        if self.done and self.inputs.hexdigest() != self.seen:
            raise self.other(f"input among the first {self.done:,}")

    def noted(self, inputs: Iterable[Named]) -> Iterator[Named]:
        """The same inputs, each noted until it is predicted."""
        for pair in inputs:
            self.ahead.append(_known(pair))
            yield pair

    def count(self) -> None:
        """Count the next input as predicted."""
        self.inputs.update(self.ahead.popleft())

    def save(self, good: IO[bytes], bad: IO[bytes], *, force: bool = False) -> None:
        """Mark what is written as whole, now and then."""
        if not force and time.monotonic() - self.saved < SECONDS:
            return
        for stream in (good, bad):
            stream.flush()
            os.fsync(stream.fileno())
        self.mark(good.tell(), bad.tell())
        self.saved = time.monotonic()

    def mark(self, good_bytes: int, bad_bytes: int) -> None:
        """Say how far the files are whole."""
        values = {"identity": self.identity, "answered": self.answered, "left_out": self.left_out}
        whole = {"good_bytes": good_bytes, "bad_bytes": bad_bytes, "inputs": self.inputs.hexdigest()}
        folders.write_text(self.path, json.dumps(values | whole))


_PROGRESS = ".progress.json"


def _progress(out: Path) -> Path:
    return out.with_name(out.name + _PROGRESS)


def _known(pair: Named) -> bytes:
    """By what an input is known again: its name, and a text, or a pair of them, itself."""
    name, item = pair
    texts = item if isinstance(item, tuple) else (item,)
    return json.dumps([name, *(text for text in texts if isinstance(text, str))]).encode() + b"\n"


def columns(labels: Sequence[str], task: Task, top: int | None) -> dict[str, type]:
    """The columns of a file, and whether each holds texts or numbers: the input, then the label with its probability, the labels that
    hold, or the values, then why there are none.

    top: 1 gives the most probable class alone, k the k most probable in turn, None the probability of every class too.
    """
    found: dict[str, type] = {_own("input", labels, task): str}
    if task is Task.REGRESSION:
        found |= dict.fromkeys(labels, float)
    elif task is Task.MULTILABEL:
        found["labels"] = str
    elif top is None or top == 1:
        found |= {"label": str, "probability": float}
    if task is not Task.REGRESSION and top is None:
        found |= {f"probability of {label}": float for label in sorted(labels)}
    elif task is not Task.REGRESSION and top is not None and top > 1:
        for rank in range(1, min(top, len(labels)) + 1):
            found |= {f"label {rank}": str, f"probability {rank}": float}
    return found | {_own("error", labels, task): str}


def _own(name: str, labels: Sequence[str], task: Task) -> str:
    """A column of ours: of its plain name, unless a value is called so."""
    return f"{name} (zoo)" if task is Task.REGRESSION and name in labels else name


def values(one: Prediction, columns: Iterable[str], labels: Sequence[str], task: Task) -> dict[str, Any]:
    """A prediction as one row of these columns; None where there is nothing."""
    known: dict[str, Any] = dict(one.values) if one.error is None else {}
    if task is not Task.REGRESSION:
        known = {"label": one.label, "labels": one.label, "probability": one.probability}
        for rank, (label, share) in enumerate(one.probabilities.items(), 1):
            known |= {f"probability of {label}": share, f"label {rank}": label, f"probability {rank}": share}
    known |= {_own("input", labels, task): one.input, _own("error", labels, task): one.error}
    return {name: known.get(name) for name in columns}


def _line(values: dict[str, Any], path: Path, *, header: bool) -> bytes:
    if path.suffix == ".jsonl":
        return (json.dumps(values, ensure_ascii=False) + "\n").encode(errors="surrogateescape")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if header:
        writer.writerow(values)
    writer.writerow(values.values())
    return text.getvalue().encode(errors="surrogateescape")


def _in_utf8(row: dict[str, Any]) -> dict[str, Any]:
    """A row as Parquet can hold it: bytes of a name that are not UTF-8 are escaped (`caf\\xe9.png`), so that two names stay two."""
    return {
        name: value.encode(errors="surrogateescape").decode(errors="backslashreplace") if isinstance(value, str) else value
        for name, value in row.items()
    }


def _to_parquet(lines: Path, out: Path, columns: dict[str, type]) -> None:
    """JSON lines as Parquet, some thousand rows at a time."""
    import pyarrow  # its import costs half a second
    from pyarrow import parquet

    kinds = {str: pyarrow.string(), float: pyarrow.float64()}
    schema = pyarrow.schema([(name, kinds[kind]) for name, kind in columns.items()])
    aside = out.with_name(out.name + ".aside")
    with lines.open(encoding="utf-8", errors="surrogateescape") as rows, parquet.ParquetWriter(aside, schema) as writer:
        while some := [json.loads(line, object_hook=_in_utf8) for line in itertools.islice(rows, 10_000)]:
            writer.write_table(pyarrow.Table.from_pylist(some, schema))
    folders.flush(aside)
    aside.replace(out)
