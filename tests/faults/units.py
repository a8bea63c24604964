"""What the crash harness breaks off: `before` is there, `work` is done, `after` must hold wherever it was broken off."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from faults.running import OPTIONS, bytes_of, photos
from tiny import BY_FAMILY

from zoo import api, backbones, cache, folders, runs
from zoo.adaptation import saved
from zoo.adaptation.model import AdaptedModel
from zoo.cache import Space
from zoo.config import resolve
from zoo.jobs import prediction_file as answers
from zoo.runs import Run
from zoo.training import checkpoint
from zoo.training.checkpoint import Best, Patience, TrainState
from zoo.types import Labels, Prediction, Task


def no_litter(root: Path) -> None:
    left = [str(path) for path in root.rglob("*") if path.name.startswith((".aside-", ".old-")) or path.name.endswith(".aside")]
    assert not left, left


def fill(folder: Path, text: str) -> None:
    with folders.whole(folder, replace=True) as aside:
        (aside / "figures").mkdir()
        for name in ("a", "b", "figures/c"):
            (aside / name).write_text(text * 1000)


class Folder:
    """A folder in the place of another."""

    def before(self, root: Path) -> None:
        fill(root / "x", "old")

    def work(self, root: Path) -> None:
        fill(root / "x", "new")

    def after(self, root: Path, ended: bool) -> None:
        folders.sweep(root)
        assert len(folders.verify(root / "x")) == 3
        texts = {(root / "x" / name).read_text() for name in ("a", "b", "figures/c")}
        assert texts == {"new" * 1000} or (not ended and texts == {"old" * 1000})
        no_litter(root)


class NewFolder(Folder):
    """A folder where there is none."""

    def before(self, root: Path) -> None:
        pass

    def after(self, root: Path, ended: bool) -> None:
        folders.sweep(root)
        no_litter(root)
        if ended or (root / "x").exists():
            super().after(root, ended=True)


class File:
    """One file in the place of another."""

    def before(self, root: Path) -> None:
        folders.write_text(root / "file", "old" * 1000)

    def work(self, root: Path) -> None:
        folders.write_text(root / "file", "new" * 1000)

    def after(self, root: Path, ended: bool) -> None:
        folders.sweep(root)
        text = (root / "file").read_text()
        assert text == "new" * 1000 or (not ended and text == "old" * 1000)
        no_litter(root)


class NewRun:
    """The directory of a run: it can be gone on with, or made again by the same call."""

    def before(self, root: Path) -> None:
        pass

    def work(self, root: Path) -> None:
        runs.create(resolve([("flag", {"out": str(root / "run")})]), {"splits.json": json.dumps([0] * 1000)})

    def after(self, root: Path, ended: bool) -> None:
        if not (root / "run").exists():
            assert not ended
            self.work(root)
        assert runs.open_run(root / "run").resolved().config.output.out == str(root / "run")
        assert json.loads((root / "run" / "splits.json").read_text()) == [0] * 1000
        no_litter(root)


IDENTITY = {"data": "d"}


class Checkpoints:
    """Three more of them, and what is pruned; the best is the first."""

    def write(self, root: Path, step: int) -> None:
        state = TrainState(Best("accuracy", True, 0.5, 1), Patience(3, 0.0, True), step)
        checkpoint.write(root, state, {"w": torch.full((500,), float(step))}, {"w/m": torch.full((500,), -float(step))}, IDENTITY)
        checkpoint.prune(root, 2, 1)

    def before(self, root: Path) -> None:
        for step in (1, 2):
            self.write(root, step)

    def work(self, root: Path) -> None:
        for step in (3, 4, 5):
            self.write(root, step)

    def after(self, root: Path, ended: bool) -> None:
        folders.sweep(root)
        no_litter(root)
        for step in checkpoint.steps(root):
            checkpoint.of_step(root, step, IDENTITY)
        found = checkpoint.newest(root, IDENTITY)
        assert found is not None
        assert torch.equal(found.model["w"], torch.full((500,), float(found.state.step)))
        assert torch.equal(found.optimizer["w/m"], -found.model["w"])
        assert checkpoint.steps(root)[0] == 1
        assert found.state.step == 5 or not ended


class BestModel:
    """`best/` of a second step in the place of that of a first."""

    def __init__(self) -> None:
        self.model = AdaptedModel.build(
            backbones.load(BY_FAMILY["vit"], "random", seed=8), 2, strategy="linear-probe", labels=Labels(("a", "b"))
        )

    def write(self, root: Path, step: int) -> None:
        torch.nn.init.constant_(self.model.head.weight, float(step))
        state = TrainState(Best("accuracy", True, 0.5, step), Patience(3, 0.0, True), step)
        checkpoint.write_best(Run(root), self.model, state, np.zeros((2, 2)))

    def before(self, root: Path) -> None:
        self.write(root, 1)

    def work(self, root: Path) -> None:
        self.write(root, 2)

    def after(self, root: Path, ended: bool) -> None:
        folders.sweep(root)
        no_litter(root)
        step = checkpoint.best_step(Run(root))
        assert step == 2 or (step == 1 and not ended)
        assert saved.open_saved(root / "best").head.weight[0, 0] == step


class Cached:
    """Rows of a cache, in three shards."""

    KEYS = np.array([f"{number:064x}" for number in range(30)], cache.KEY)
    ROWS = np.arange(30 * 8, dtype=np.float32).reshape(30, 8)

    def space(self, root: Path) -> Space:
        return Space(root, (8,), "<f4")

    def before(self, root: Path) -> None:
        self.space(root).append(self.KEYS[:10], self.ROWS[:10])

    def work(self, root: Path) -> None:
        space = self.space(root)
        for start in (10, 20):
            space.append(self.KEYS[start : start + 10], self.ROWS[start : start + 10])

    def after(self, root: Path, ended: bool) -> None:
        folders.sweep(root)
        no_litter(root)
        assert all(path.stem == folders.sha256(path) for path in root.glob("*.npy"))
        space = self.space(root)
        missing = space.missing(self.KEYS)
        assert len(missing) in ((0,) if ended else (0, 10, 20))
        space.append(self.KEYS[missing], self.ROWS[missing]) if len(missing) else None
        assert np.array_equal(self.space(root).rows(self.KEYS).read(), self.ROWS)


class Answers:
    """A file of predictions, gone on with by the same call."""

    NAME = "out.csv"

    def write(self, root: Path) -> None:
        def answer(inputs: Iterable[tuple[str, Any]]) -> Iterator[Prediction]:
            for name, value in inputs:
                share = (1 + value) / 100
                if value % 7 == 3:
                    yield Prediction(name, None, error=f"{name}: cannot be read")
                else:
                    yield Prediction(name, "a", share, {"a": share, "b": 1 - share})

        answers.SECONDS = 0.0  # so that each multiple is marked
        inputs = [(f"file {number}", number) for number in range(24)]
        answers.write(answer, inputs, root / self.NAME, labels="ab", task=Task.CLASSIFICATION, identity={"model": "m"}, at_once=4)

    def before(self, root: Path) -> None:
        pass

    def work(self, root: Path) -> None:
        self.write(root)

    def after(self, root: Path, ended: bool) -> None:
        if not ended and ((root / f"{self.NAME}.progress.json").exists() or not (root / self.NAME).exists()):
            self.write(root)
        fresh = root / "undisturbed"
        fresh.mkdir()
        self.write(fresh)
        for name in (self.NAME, f"{self.NAME}.unreadable.csv"):
            assert (root / name).read_bytes() == (fresh / name).read_bytes()
        folders.sweep(root)
        shutil.rmtree(fresh)
        assert {path.name for path in root.iterdir()} == {self.NAME, f"{self.NAME}.unreadable.csv"}


class ParquetAnswers(Answers):
    NAME = "out.parquet"


class WholeRun:
    """A run from its first file to its card, started again by the same command or gone on with."""

    def __init__(self) -> None:
        self.expected: Any = None

    def options(self, root: Path) -> dict[str, Any]:
        data = root.parent / "photos"
        if not data.exists():
            photos(data)
        return {**OPTIONS, "data": str(data), "out": str(root / "run")}

    def before(self, root: Path) -> None:
        self.options(root)

    def work(self, root: Path) -> None:
        api.finetune(**self.options(root))

    def after(self, root: Path, ended: bool) -> None:
        if (root / "run").exists():
            api.resume(root / "run")
        else:
            self.work(root)
        undisturbed = root.parent.parent / "undisturbed" / "root"
        if not undisturbed.exists():
            self.work(undisturbed)
        assert bytes_of(root / "run") == bytes_of(undisturbed / "run")
        folders.sweep(root / "run" / "checkpoints")
        no_litter(root)


UNITS = {
    one.__name__: one
    for one in (Folder, NewFolder, File, NewRun, Checkpoints, BestModel, Cached, Answers, ParquetAnswers, WholeRun)
}
