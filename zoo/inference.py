"""A trained model ready to answer: paths, pictures, texts, recordings or tensors in, labels and probabilities out."""

from __future__ import annotations

import itertools
import logging
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from zoo import engines, memory, runs
from zoo.adaptation import saved
from zoo.adaptation.model import AdaptedModel
from zoo.backbones.pictures import PicturePreprocess
from zoo.backbones.sounds import Sound
from zoo.data import find_files, is_table, open_inputs, open_picture, open_sound
from zoo.data.sources.tables import read_rows
from zoo.engines import Engine
from zoo.errors import ConfigError, DataError, EngineFailed
from zoo.folders import exists, is_file, is_folder
from zoo.registry import HeadFactory
from zoo.types import Kind, Labels, Prediction, Predictions, Task

Input = str | os.PathLike[str] | Image.Image | Tensor | Sound | tuple[Any, Any]

log = logging.getLogger("zoo")

_BATCHES = {Kind.IMAGE: 4, Kind.TEXT: 64, Kind.AUDIO: 8}
"""How many batches are read at once."""


class Predictor(nn.Module):
    """A fine-tuned model with its labels and preprocessing, in eval mode. Calling it gives logits, `predict` gives answers."""

    def __init__(self, model: AdaptedModel, thresholds: Sequence[float] | None = None) -> None:
        """thresholds: for multilabel, from which probability each label holds; None: 0.5."""
        super().__init__()
        if model.labels is None:
            raise ConfigError("a model without labels cannot name what it predicts; build it with labels=")
        self.model = model.eval()
        self.labels: Labels = model.labels
        self.task: Task = model.task
        self.thresholds = thresholds
        self.preprocess = model.backbone.preprocess
        self.kind: Kind = self.preprocess.kind
        self._engine: Engine | None = None

    def accelerate(
        self, first: Iterable[tuple[str, Input | DataError]], *, engine: str, expected: int, batch_size: int = 32
    ) -> str:
        """Run the network by an engine of `zoo.engines` in `predict` and `stream` from now on, and give its name.

        Args:
            first: some of the inputs: to time by, and to compare with torch, which goes on where an engine differs from it.
            engine: one of `zoo.engines.NAMES`, or `auto`: the one that is expected to be done first.
            expected: how many inputs will come.

        Raises: UnknownName; ConfigError for an engine that is not installed or cannot run networks of this kind.
        """
        engine = engines.among(engine, self.preprocess.engines, self.kind.nouns)
        samples = [one for pair in first if isinstance(one := self._try_prepare(*pair), Tensor)]
        alike = len({one.dtype for one in samples}) == 1
        if engine == "torch" or not alike:
            return "torch"
        family = self.model.backbone.spec.family
        chosen, line = engines.choose(
            self.model,
            self.preprocess.collate(samples),
            name=engine,
            samples=expected,
            device=next(self.model.parameters()).device,
            channels_last=family is not None and family.channels_last,
            precision="no",
            folder=None,
            batch_size=batch_size,
            varying=self.preprocess.varying,
        )
        self._engine = chosen if chosen.name != "torch" else None
        log.info("%s", line)
        return chosen.name

    @property
    def engine(self) -> str:
        """The engine that computes."""
        return "torch" if self._engine is None else self._engine.name

    def forward(self, batch: Tensor) -> Tensor:
        """Outputs `[B, C] float32` of a batch of samples: of pictures `[B, 3, size, size]`, uint8, or float32 and normalised."""
        outputs: Tensor = self.model(batch)
        return outputs

    def predict(self, inputs: Input | Iterable[Input], *, batch_size: int = 32, skip_unreadable: bool = False) -> Predictions:
        """Answers in the order of the inputs; the same for one whatever comes beside it.

        Args:
            inputs: one or many. Of a model for pictures: a path, a PIL picture, or a tensor: `[3, H, W] uint8` is preprocessed like a
                picture, `[3, size, size] float32` is taken as preprocessed already. Of one for texts: a text, or a tuple of two. Of one
                for recordings: a path, a `Sound`, or a tuple of samples (`[T]` or `[channels, T]`) and rate.
            batch_size: samples in one forward pass.
            skip_unreadable: leave out what cannot be read, and list it in `.unreadable`, instead of raising.

        Raises: DataError naming the file or the input.
        """
        answers: list[Prediction] = []
        unreadable: list[str] = []
        for answer in self.stream(named(several(inputs)), batch_size=batch_size):
            if isinstance(answer, Prediction):
                answers.append(answer)
            elif skip_unreadable:
                unreadable.append(str(answer))
            else:
                raise answer
        return Predictions(answers, unreadable)

    def stream(
        self, inputs: Iterable[tuple[str, Input | DataError]], *, batch_size: int = 32
    ) -> Iterator[Prediction | DataError]:
        """An answer, or why there is none, for each named input in order, in memory that does not grow.

        Some batches are read at once, sorted by length, so that they have little padding; while they are answered, the next are read.
        """
        waiting: deque[tuple[list[str], list[Future[Tensor | DataError]]]] = deque()
        with ThreadPoolExecutor() as pool:
            for chunk in _chunks(inputs, self.at_once(batch_size)):
                waiting.append(([name for name, _ in chunk], [pool.submit(self._try_prepare, *pair) for pair in chunk]))
                if len(waiting) > 1:
                    yield from self._answers(*waiting.popleft(), batch_size)
            while waiting:
                yield from self._answers(*waiting.popleft(), batch_size)

    def at_once(self, batch_size: int) -> int:
        """How many inputs `stream` reads at once: of these, batches are made."""
        return _BATCHES[self.kind] * batch_size

    def _answers(
        self, names: Sequence[str], samples: Sequence[Future[Tensor | DataError]], batch_size: int
    ) -> Iterator[Prediction | DataError]:
        results: list[Any] = [sample.result() for sample in samples]
        good = sorted(
            (place for place, one in enumerate(results) if isinstance(one, Tensor)), key=lambda place: -results[place].numel()
        )
        for start in range(0, len(good), batch_size):
            places = good[start : start + batch_size]
            outputs = self._outputs([results[place] for place in places])
            for place, row in zip(places, outputs, strict=True):
                results[place] = prediction(names[place], row, self.labels, self.task, self.thresholds)
        yield from results

    def _try_prepare(self, name: str, item: Input | DataError) -> Tensor | DataError:
        if isinstance(item, DataError):
            return item
        try:
            return self.preprocess.prepare(self._item(name, item))
        except DataError as error:
            return error
        except ValueError as error:
            return DataError(f"{name}: {error}")

    def _item(self, name: str, item: Any) -> Any:
        """What `Preprocess.prepare` takes. Raises: DataError."""
        if self.kind is Kind.TEXT:
            texts = (item,) if isinstance(item, str) else item
            if not isinstance(texts, tuple) or not all(isinstance(text, str) for text in texts) or len(texts) > 2:
                raise DataError(f"{name}: a {type(item).__name__}; expected a text, or a tuple of two")
            if not all(text.strip() for text in texts):
                raise DataError(f"{name}: an empty text")
            return item
        if self.kind is Kind.AUDIO:
            return open_sound(item) if isinstance(item, (str, os.PathLike)) else item
        if isinstance(item, Tensor):
            if item.dtype == torch.uint8 and item.ndim == 3 and item.shape[0] == 3:
                return Image.fromarray(item.permute(1, 2, 0).contiguous().numpy())
            if item.dtype != torch.float32:
                raise DataError(
                    f"{name}: a tensor {list(item.shape)} {item.dtype}; expected [3, H, W] uint8, or float32, preprocessed"
                )
            return item
        if not isinstance(item, (str, os.PathLike, Image.Image)):
            raise DataError(f"{name}: a {type(item).__name__}; expected a path, a PIL picture or a tensor")
        bit_depth = self.preprocess.bit_depth if isinstance(self.preprocess, PicturePreprocess) else None
        return open_picture(item, at_least=self.preprocess.decode_at, bit_depth=bit_depth)

    def _outputs(self, samples: Sequence[Tensor]) -> Tensor:
        """`[b, C] float64` of prepared samples."""
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            if len({one.dtype for one in samples}) > 1:  # pictures, some of which are normalised already
                samples = [self.preprocess.ready(one) for one in samples]
            batch = self.preprocess.collate(samples)
            rows = self._by_engine(batch)
            if rows is not None:
                return rows.double()
            outputs: Tensor = self.model(batch.to(device))
            return outputs.double().cpu()

    def _by_engine(self, batch: Tensor) -> Tensor | None:
        """The outputs, or None where torch is to compute them: without an engine, and from when one has failed."""
        if self._engine is None or len(batch) > self._engine.batch_size:
            return None
        try:
            rows = torch.from_numpy(self._engine(batch))
            if not rows.isfinite().all():
                raise EngineFailed(f"the engine {self._engine.name} gives NaN or infinite outputs")
        except EngineFailed as error:
            log.warning("%s; torch goes on", error)
            self._engine.close()
            self._engine = None
            return None
        return rows


def prediction(name: str, outputs: Tensor, labels: Labels, task: Task, thresholds: Sequence[float] | None = None) -> Prediction:
    """The answer in a row of outputs, `[C] float64`. thresholds: of each label, for multilabel; None: 0.5."""
    if task is Task.REGRESSION:
        return Prediction(name, values=dict(zip(labels.names, outputs.tolist(), strict=True)))
    shares = outputs.softmax(dim=0) if task is Task.CLASSIFICATION else outputs.sigmoid()
    order = shares.argsort(descending=True, stable=True).tolist()
    by_label = {labels.names[index]: float(shares[index]) for index in order}
    first = labels.names[order[0]]
    if task is Task.CLASSIFICATION:
        return Prediction(name, first, by_label[first], by_label)
    least = dict(zip(labels.names, thresholds or [0.5] * len(labels), strict=True))
    holds = tuple(label for label, share in by_label.items() if share >= least[label])
    return Prediction(name, "|".join(holds), by_label[first], by_label, holds)


def several(inputs: Input | Iterable[Input]) -> Iterable[Input]:
    """One input as many."""
    one = isinstance(inputs, (str, os.PathLike, Tensor, Image.Image, tuple)) or not isinstance(inputs, Iterable)
    return [inputs] if one else inputs  # type: ignore[list-item, return-value]


def named(items: Iterable[Input]) -> Iterator[tuple[str, Input]]:
    """A path or a text is its own name, the i-th of everything else is `#i`."""
    for number, item in enumerate(items):
        yield (os.fspath(item) if isinstance(item, (str, os.PathLike)) else f"#{number}", item)


def _chunks(items: Iterable[tuple[str, Any]], size: int) -> Iterator[list[tuple[str, Any]]]:
    """Lists of `size`; the last may be shorter."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def load(
    path: str | os.PathLike[str],
    *,
    threshold: float | None = None,
    weights: str | None = None,
    head: HeadFactory | None = None,
) -> Predictor:
    """A published folder, or the `best/` of a run, ready to predict, on the CPU and in eval mode.

    Args:
        path: the folder.
        threshold: for multilabel, the probability from which a label holds; None: each label's own, as chosen in training.
        weights: base weights (a file, a folder, `random`) for a folder that holds the trained tensors alone; by default those that
            the run in the folder above was made with, else they are searched as for a new run.
        head: factory of a custom head that this process has not registered.

    Raises: CheckpointError, WeightsError.
    """
    folder = Path(path)
    beside = folder.parent / "config.yaml"
    if weights is None and is_file(beside):
        weights = runs.read_config(beside).config.model.weights
    model, config = saved.open_with_config(folder, weights=weights, head=head)
    if threshold is None:
        return Predictor(model, config.get("thresholds"))
    if model.task is not Task.MULTILABEL:
        raise ConfigError(
            f"threshold is for labels of which several may hold, and {folder} is for {model.task.value}; leave it out"
        )
    return Predictor(model, [threshold] * model.num_outputs)


def find(kind: Kind, inputs: Iterable[Any], column: str | None = None) -> Iterator[tuple[str, Any]]:
    """Named inputs: a folder stands for the files in it, a table for its rows, `-` for the lines of stdin; all else for itself.

    column: of tables, the one with the inputs (two with a comma for pairs of texts); None: guessed.

    Raises: DataError if a path does not exist (before anything is answered, where the inputs are a list), a folder has nothing of this
    kind, or a table cannot be read.
    """
    if isinstance(inputs, Sequence):
        for item in inputs:
            _require(kind, item)
    return _find(kind, inputs, column)


def _find(kind: Kind, inputs: Iterable[Any], column: str | None) -> Iterator[tuple[str, Any]]:
    for number, item in enumerate(inputs):
        if item == "-":
            yield from _lines(kind)
        elif isinstance(item, (str, os.PathLike)) and is_table(Path(item)) and is_file(Path(item)):
            yield from open_inputs(Path(item), kind, column)
        elif kind is Kind.TEXT:
            _require(kind, item)
            yield item if isinstance(item, str) else f"#{number}", item
        elif isinstance(item, (str, os.PathLike)):
            yield from ((path, path) for path in find_files([item], kind))
        else:
            yield f"#{number}", item


def _require(kind: Kind, item: Any) -> None:
    """Raises: DataError for a path that is not there. The name of a table is a path to a model for texts too, not a text."""
    if not isinstance(item, (str, os.PathLike)) or item == "-":
        return
    name = os.fspath(item)
    meant = kind is not Kind.TEXT or (len(name.split()) == 1 and is_table(Path(name)))
    if meant and not exists(Path(name)):
        raise DataError(f"{name}: no such file{'' if kind is Kind.TEXT else ' or folder'}")


def count(kind: Kind, inputs: Iterable[Any]) -> int:
    """About how many inputs `find` will give; those of stdin are not counted."""
    total = 0
    for item in inputs:
        path = Path(item) if isinstance(item, (str, os.PathLike)) and item != "-" else None
        if path is not None and is_table(path) and is_file(path):
            total += sum(1 for _ in read_rows(path))
        elif path is not None and kind is not Kind.TEXT and is_folder(path):
            total += len(find_files([path], kind))
        else:
            total += item != "-"
    return total


def _lines(kind: Kind) -> Iterator[tuple[str, str]]:
    """The lines of stdin that are not empty: texts, or paths."""
    for number, line in enumerate(sys.stdin, 1):
        text = line.rstrip("\r\n")
        if text:
            yield (f"line {number}" if kind is Kind.TEXT else text), text


@memory.kept()
def predict_files(
    path: str | os.PathLike[str],
    inputs: Input | Iterable[Input],
    *,
    column: str | None = None,
    threshold: float | None = None,
    weights: str | None = None,
    batch_size: int = 32,
) -> Predictions:
    """Load a model once and answer for the inputs, as `find` takes them.

    Raises: CheckpointError; DataError if a path does not exist, or nothing can be read.
    """
    predictor = load(path, threshold=threshold, weights=weights)
    results = list(predictor.stream(find(predictor.kind, several(inputs), column), batch_size=batch_size))
    unreadable = [str(one) for one in results if isinstance(one, DataError)]
    return Predictions([one for one in results if isinstance(one, Prediction)], unreadable)
