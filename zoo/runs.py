"""The directory of a run, and the object that reads it. No torch here.

runs/<backbone>-<strategy>-<data>-<number>/
    config.yaml      every option with its origin
    splits.json      which image is in which split, with its sha256
    notices.csv      each sample, file and row that was left out, or that is worth a word, with the reason
    metrics.jsonl    a line an evaluation
    checkpoints/     to resume from
    best/            publishable
    result.json      written last: what came out
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo import content, folders, interrupts, locks
from zoo.config import ModelConfig, Resolved, build, options, slug
from zoo.errors import CheckpointError, ConfigError, OutputError, RunFailed, shown
from zoo.options import Scalar

NOTICES = "notices.csv"


@dataclass(frozen=True)
class Run:
    """A run's directory. What it says is read from the files each time; nothing is kept in the object."""

    path: Path

    @property
    def best(self) -> Path:
        """The publishable folder of the best model."""
        return self.path / "best"

    @property
    def checkpoints(self) -> Path:
        """The folder of the checkpoints to resume from."""
        return self.path / "checkpoints"

    @property
    def status(self) -> str:
        """`finished`, `resumable` (it has a checkpoint), or `empty`."""
        if folders.is_file(self.path / "result.json"):
            return "finished"
        return "resumable" if any(self.checkpoints.glob("step-*")) else "empty"

    def resolved(self) -> Resolved:
        """The options of the run, with their origins. Raises: ConfigError if the file is not one of ours."""
        return read_config(self.path / "config.yaml")

    def result(self) -> dict[str, Any]:
        """What came out: `metric`, `value`, `split`, `seconds`, `trained_parameters` and the rest. Empty until the run ends."""
        return _read_json(self.path / "result.json")

    def metrics(self) -> list[dict[str, Any]]:
        """Every evaluation so far, in order. A line that a kill cut short is left out."""
        path = self.path / "metrics.jsonl"
        lines = path.read_bytes().split(b"\n") if folders.is_file(path) else []
        parsed = []
        for line in lines:
            try:
                values = json.loads(line)
            except (ValueError, RecursionError):
                break
            if not isinstance(values, dict):
                break
            parsed.append(values)
        return parsed

    @property
    def metric(self) -> str | None:
        """Name of the metric by which `best` was chosen."""
        return self.result().get("metric")

    @property
    def value(self) -> float | None:
        """That metric, measured on the file in `best/`, on the split named by `result()["split"]`."""
        return self.result().get("value")

    @property
    def seconds(self) -> float | None:
        """Wall time of the training, interruptions left out."""
        return self.result().get("seconds")

    @property
    def trained_parameters(self) -> int | None:
        """How many numbers training could change."""
        return self.result().get("trained_parameters")

    def summary(self) -> dict[str, Any]:
        """The result as one JSON-safe object, paths included."""
        return {"run": str(self.path), "best": str(self.best), "status": self.status, **self.result()}


def create(resolved: Resolved, files: Mapping[str, str], parent: Path = Path("runs")) -> tuple[Run, Resolved]:
    """Make the directory of a new run, in which `config.yaml` and these files are from its first moment.

    `out`, where given, must not exist; else the first free number under `parent` is taken.
    Raises: OutputError if the folder exists, or nothing can be written there.
    """
    config = resolved.config
    if config.output.out is not None:
        path = Path(config.output.out)
        if _begin(path, resolved, files):
            return Run(path), resolved
        hint = f", or go on with `zoo resume {path}`" if folders.is_file(path / "config.yaml") else ""
        raise OutputError(f"{path} exists; choose another --out{hint}")
    data = config.data.data.removeprefix("builtin:").rstrip("/").rpartition("/")[2]
    stem = "-".join(slug(part) for part in (config.model.backbone, config.model.strategy, data))
    for number in itertools.count(1):
        path = parent / f"{stem}-{number}"
        settled = resolved.settle("run", out=str(path))
        if _begin(path, settled, files):
            return Run(path), settled
    raise AssertionError


@contextlib.contextmanager
def alone(run: Run) -> Iterator[int | None]:
    """Let no other process train the run while in here, and say how to go on where a signal ends this. Gives what `locks.alone` gives.

    Raises: OutputError naming the process that trains it.
    """
    with (
        locks.alone(run.path / ".lock", f"{run.path} is being trained") as lock,
        interrupts.hinting(f"go on with `zoo resume {run.path}`"),
    ):
        yield lock


def _begin(path: Path, resolved: Resolved, files: Mapping[str, str]) -> bool:
    """Whether the folder could be made; not if it is there, though another process made it a moment ago. Raises: OutputError."""
    try:
        folders.begin(path, {**files, "config.yaml": _config_text(resolved)})
    except FileExistsError:
        return False
    except OSError as error:
        raise OutputError(f"{path} cannot be made: {error.strerror or error}") from error
    return True


@contextlib.contextmanager
def resumable(run: Run) -> Iterator[None]:
    """Let what the disk refuses in the midst of a run end it in one line, which says how to go on.

    Raises: RunFailed; OutputError where there is nothing yet to go on from.
    """
    try:
        yield
    except (OutputError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in _DISK:
            raise
        said = str(error) if isinstance(error, OutputError) else f"{error.filename or run.path}: {error.strerror}"
        if run.status == "empty":
            raise OutputError(f"{said}; make room, or write somewhere else") from error
        raise RunFailed(f"{said}; make room, then go on with `zoo resume {run.path}`") from error


_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.EACCES, errno.EPERM}
"""What a disk says that is full, read-only or broken."""


def inputs_of(folder: Path) -> dict[str, Any]:
    """The options that say which backbone a fine-tuned model has and what it sees. No torch. Raises: CheckpointError."""
    path = folder / "config.json"
    try:
        block = json.loads(path.read_text(encoding="utf-8"))["zoo"]
        inputs: dict[str, Any] = {"backbone": block["base"]["name"]}
        preprocess = block["preprocess"]
        names = {name: name for name in ModelConfig().inputs()} | {"image_size": "size"}
        return inputs | {option: preprocess[name] for option, name in names.items() if preprocess.get(name) is not None}
    except FileNotFoundError:
        raise CheckpointError(f"{folder}: not a model that zoo saved: there is no config.json; name the best/ of a run") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged: {type(error).__name__} {error}; use another copy") from error


def write_config(run: Run, resolved: Resolved) -> None:
    """Write `config.yaml`: every option and, as a comment for people, where its value came from."""
    folders.write_text(run.path / "config.yaml", _config_text(resolved))


def _config_text(resolved: Resolved) -> str:
    return content.dump_yaml(resolved.config.flat(), {name: origin for name, origin in resolved.origins.items()})


def read_config(path: Path) -> Resolved:
    """A `config.yaml` as `write_config` wrote it. Comments are for people: origins are shown as they say, and nothing is decided by them.

    Raises: ConfigError, too, for a file that lacks options, which would silently take their defaults: it was cut short, for one.
    """
    values: Mapping[str, Scalar] = content.read_yaml(path)
    _check_whole(path, values)
    lines = (line.rpartition("  # ") for line in path.read_text(encoding="utf-8").splitlines())
    comments = {head.partition(":")[0].strip('"'): comment for head, _, comment in lines}
    config = build(values, str(path))
    return Resolved(config, {name: comments.get(name) or str(path) for name in config.flat()})


def _check_whole(path: Path, values: Mapping[str, Scalar]) -> None:
    """Raises: ConfigError for a file that lacks options: it was cut short, or another version of zoo, which had others, wrote it."""
    lacking = [option for name, option in options().items() if name not in values]
    unknown = [name for name in values if name not in options()]
    if not lacking:  # one that is unknown beside is a mistake in a name
        return
    line = content.dump_yaml({lacking[0].name: lacking[0].default}).strip()
    others = f", and no option is called {', '.join(map(shown, unknown[:3]))}" if unknown else ""
    raise ConfigError(
        f"{path}: {len(lacking)} of {len(options())} options are missing, the first is {lacking[0].name}{others}; if the file was cut "
        f"short, use another copy; if another version of zoo wrote it, go on with that one, or write out the missing ones (`{line}`); "
        "a file of some options is for --recipe"
    )


def open_run(path: str | os.PathLike[str]) -> Run:
    """The run in this directory. Raises: CheckpointError if it is not one."""
    run = Run(folders.named(path))
    if not folders.is_file(run.path / "config.yaml"):
        raise CheckpointError(f"{path}: not a run (it has no config.yaml); `zoo runs` lists them")
    return run


def run_of(best: Path) -> Run | None:
    """The run whose `best/` this very folder is; None for a copied or published one, whatever lies beside it."""
    folder = best.resolve()
    run = Run(folder.parent)
    if folder != run.best or not all(
        folders.is_file(run.path / name) for name in ("config.yaml", "splits.json", "metrics.jsonl")
    ):
        return None
    try:
        shipped = json.loads((folder / folders.MANIFEST).read_text(encoding="utf-8"))["model.safetensors"]["sha256"]
        return run if run.result().get("sha256", shipped) == shipped else None
    except (OSError, ValueError, KeyError, TypeError, CheckpointError):
        return run  # damaged: whoever loads it says so


def list_runs(parent: str | os.PathLike[str] = "runs") -> list[Run]:
    """Every run directly under `parent`, oldest first. Raises: ConfigError if there is no such folder."""
    folder = folders.named(parent)
    if not folders.is_folder(folder):
        raise ConfigError(f"{folder}: no such folder; runs are made by `zoo finetune`")
    found = [Run(path.parent) for path in folder.glob("*/config.yaml") if not path.parent.name.startswith(".")]
    return sorted(found, key=lambda run: (run.path / "config.yaml").stat().st_mtime)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged: {error}; `zoo resume {path.parent}` writes it again") from error
    if not isinstance(values, dict) or not values:
        raise CheckpointError(f"{path}: damaged: it holds no results; `zoo resume {path.parent}` writes it again")
    return values
