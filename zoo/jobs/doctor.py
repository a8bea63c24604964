"""`zoo doctor`: what of a run, a model or a cache is whole, and what to do about what is not. Nothing is changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo import cache, folders
from zoo.adaptation import saved, saved_config
from zoo.data.splits import read_splits
from zoo.errors import CheckpointError, ConfigError, ZooError
from zoo.jobs.shipping import damage
from zoo.runs import Run
from zoo.training import checkpoint


@dataclass(frozen=True)
class Finding:
    """A part, and how it is."""

    part: str
    """Its path."""
    whole: bool
    said: str
    """How it is, in a few words."""
    advice: str = ""
    """What to do, where it is not whole, or not finished."""


def examine(path: Path) -> list[Finding]:
    """What is found in a run, the `best/` of one, a published folder, or a cache. Every file that has a digest is read.

    Raises: ConfigError for anything else.
    """
    if folders.is_file(path / "config.yaml"):
        return list(_run(Run(path)))
    if folders.is_file(path / saved_config.CONFIG) or folders.is_file(path / saved.WEIGHTS):
        return [_model(path, "copy or publish it anew from its run, or train again")]
    if folders.is_folder(path) and (not any(path.iterdir()) or cache.entries(path)):
        return list(_cache(path))
    what = "neither a run, nor a model, nor a cache" if folders.exists(path) else "no such folder"
    raise ConfigError(f"{path}: {what}; give a folder of `zoo runs`, its best/, a published folder, or nothing for the cache")


def _run(run: Run) -> Iterator[Finding]:
    again = f"`zoo resume {run.path}` writes it again"
    lost = "start a new run with the same options; best/ can still be used where it is whole"
    options = _checked(run.path / "config.yaml", run.resolved, "the options", lost)
    yield options
    yield _checked(run.path / "splits.json", lambda: read_splits(run.path / "splits.json"), "the sets", lost)
    written = run.path / "metrics.jsonl"
    if folders.is_file(written):
        lines = written.read_bytes().count(b"\n")
        known = len(run.metrics())
        yield Finding(
            str(written), known >= lines, f"{known} of {lines} evaluations can be read", "" if known >= lines else again
        )
    steps = checkpoint.steps(run.checkpoints)
    older = "`zoo resume` takes the newest that is whole"
    for step in steps:
        folder = run.checkpoints / checkpoint.name(step)
        yield _checked(folder, lambda folder=folder: folders.verify(folder), f"the checkpoint of step {step}", older)  # type: ignore[misc]
    if run.status == "finished" and options.whole:
        yield _checked(run.best, lambda: _finished(run), "the best model, and its result", again)
        return
    if folders.is_folder(run.best):
        yield _model(run.best, again if options.whole else "train again")
    if run.status == "finished":
        return
    said = f"not finished: it stands at step {steps[-1]}" if steps else "not finished, and without a checkpoint"
    yield Finding(str(run.path), True, said, f"go on with `zoo resume {run.path}`")


def _finished(run: Run) -> None:
    """Raises: CheckpointError if the result or the best model of a finished run is damaged."""
    if problem := damage(run):
        raise CheckpointError(problem)


def _model(folder: Path, advice: str) -> Finding:
    def check() -> None:
        saved_config.read(folder)
        saved.verify(folder)

    return _checked(folder, check, "the model", advice)


def _cache(root: Path) -> Iterator[Finding]:
    advice = "`zoo cache verify` removes it; it is computed again when it is needed"
    bad = cache.damaged(root)
    yield from (Finding(str(file), False, "damaged", advice) for file in bad)
    found = cache.entries(root)
    size = sum(entry.bytes for entry in found) / 1e9
    yield Finding(str(root), not bad, f"{len(found)} entries, {size:.2f} GB, {len(bad)} files damaged", advice if bad else "")


def _checked(path: Path, check: Callable[[], object], what: str, advice: str) -> Finding:
    try:
        check()
    except (ZooError, OSError, ValueError, KeyError, TypeError) as error:
        said = str(error) if isinstance(error, ZooError) else f"{type(error).__name__}: {error}"
        return Finding(str(path), False, said, advice)
    return Finding(str(path), True, what)
