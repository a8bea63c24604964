"""A trained model ready to predict: paths, images, texts, audio clips or tensors in, labels and probabilities out."""

from __future__ import annotations

import codecs
import itertools
import logging
import math
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from zoo import engines, memory, runs
from zoo.adaptation import saved, saved_config
from zoo.adaptation.model import AdaptedModel
from zoo.backbones.audio import AudioClip
from zoo.backbones.backbone import Backbone
from zoo.backbones.images import ImagePreprocess
from zoo.data import open_audio, open_image, sources
from zoo.data.inputs import InputRows, is_encoded, request_for, rows_of, sample_of, samples_of
from zoo.data.sources.in_memory.given_sets import image_from
from zoo.data.sources.source import Named, Source, flaw
from zoo.engines import Engine
from zoo.engines.precision import full_float32, resolve_device
from zoo.errors import ConfigError, DataError, EngineFailed
from zoo.folders import exists
from zoo.registry import HeadFactory
from zoo.types import Kind, Labels, Prediction, Predictions, Schema, Task

Input = str | os.PathLike[str] | Image.Image | Tensor | AudioClip | np.ndarray | tuple[Any, Any]

log = logging.getLogger("zoo")

_BATCHES = {Kind.IMAGE: 4, Kind.TEXT: 64, Kind.AUDIO: 8}
"""How many batches are read at once."""


class Predictor(nn.Module):
    """A fine-tuned model with its labels and preprocessing, in eval mode. Calling it gives logits, `predict` gives predictions."""

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
        self.schema: Schema | None = model.schema
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
        """Outputs of a batch of samples (of images `[B, 3, size, size]`, uint8, or float32 and normalised): logits `[B, C] float32`,
        or of a regression the values `[B, K] float64` in their own unit."""
        outputs: Tensor = self.model(batch)
        if self.model.scale is None:
            return outputs
        mean, std = (torch.tensor(one, dtype=torch.float64) for one in (self.model.scale.mean, self.model.scale.std))
        return outputs.double() * std.to(outputs.device) + mean.to(outputs.device)

    def predict(self, inputs: Any, *, batch_size: int = 32, skip_unreadable: bool = False) -> Predictions:
        """Predictions in the order of the inputs; the same for one whatever comes beside it.

        Args:
            inputs: one or many. Of a model for images: a path, a PIL image, an array `[H, W, 3] uint8`, or a tensor: `[3, H, W] uint8`
                is preprocessed like an image, `[3, size, size] float32` is taken as preprocessed already. Of one for texts: a text, or a
                tuple of two. Of one for audio clips: a path, an `AudioClip`, or a tuple of samples (`[T]` or `[channels, T]`) and rate. Or
                a data frame, a dictionary of columns or a `datasets.Dataset` with the columns that training read.
            batch_size: samples in one forward pass.
            skip_unreadable: where an input cannot be read, go on: in its place stands a prediction that says why (`error`).

        Raises: DataError naming the file or the input.
        """
        rows = several(inputs, self.kind, schema=self.schema)
        named = rows if isinstance(rows, InputRows) else samples_of(rows, self.kind, self.schema)
        found: list[Prediction] = []
        for one in self.stream(named, batch_size=batch_size):
            if one.error is not None and not skip_unreadable:
                raise DataError(one.error)
            found.append(one)
        return Predictions(found)

    def stream(self, inputs: Iterable[Named], *, batch_size: int = 32) -> Iterator[Prediction]:
        """A prediction for each named input in order, in memory that does not grow; where there is none, its `error` says why.

        Some batches are read at once, sorted by length, so that they have little padding; while they are predicted, the next are read.
        """
        waiting: deque[tuple[list[str], list[Future[Tensor | DataError]]]] = deque()
        with ThreadPoolExecutor() as pool:
            for chunk in _chunks(inputs, self.at_once(batch_size)):
                waiting.append(([name for name, _ in chunk], [pool.submit(self._try_prepare, *pair) for pair in chunk]))
                if len(waiting) > 1:
                    yield from self._predictions(*waiting.popleft(), batch_size)
            while waiting:
                yield from self._predictions(*waiting.popleft(), batch_size)

    def at_once(self, batch_size: int) -> int:
        """How many inputs `stream` reads at once: of these, batches are made."""
        return _BATCHES[self.kind] * batch_size

    def _predictions(
        self, names: Sequence[str], samples: Sequence[Future[Tensor | DataError]], batch_size: int
    ) -> Iterator[Prediction]:
        results: list[Any] = [sample.result() for sample in samples]
        good = sorted(
            (place for place, one in enumerate(results) if isinstance(one, Tensor)), key=lambda place: -results[place].numel()
        )
        for start in range(0, len(good), batch_size):
            places = good[start : start + batch_size]
            outputs = self._outputs([results[place] for place in places])
            for place, row in zip(places, outputs, strict=True):
                results[place] = prediction(names[place], row, self.labels, self.task, self.thresholds)
        for name, one in zip(names, results, strict=True):
            yield without_prediction(name, str(one), self.labels, self.task) if isinstance(one, DataError) else one

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
            return (
                open_audio(item, name if isinstance(item, bytes) else None)
                if isinstance(item, (str, os.PathLike, bytes))
                else item
            )
        if isinstance(item, Tensor):
            if item.dtype == torch.uint8 and item.ndim == 3 and item.shape[0] == 3:
                return Image.fromarray(item.permute(1, 2, 0).contiguous().numpy())
            if item.dtype != torch.float32:
                raise DataError(
                    f"{name}: a tensor {list(item.shape)} {item.dtype}; expected [3, H, W] uint8, or float32, preprocessed"
                )
            return item
        item = image_from(item, name, None) if isinstance(item, np.ndarray) else item
        if not isinstance(item, (str, os.PathLike, Image.Image, bytes)):
            raise DataError(f"{name}: a {type(item).__name__}; expected a path, a PIL image or a tensor")
        bit_depth = self.preprocess.bit_depth if isinstance(self.preprocess, ImagePreprocess) else None
        called = None if isinstance(item, (str, os.PathLike)) else name  # a path is its own name
        return open_image(item, called, at_least=self.preprocess.decode_at, bit_depth=bit_depth)

    def _outputs(self, samples: Sequence[Tensor]) -> Tensor:
        """`[b, C] float64` of prepared samples."""
        device = next(self.model.parameters()).device
        with torch.inference_mode(), full_float32():
            if len({one.dtype for one in samples}) > 1:  # images, some of which are normalised already
                samples = [self.preprocess.ready(one) for one in samples]
            batch = self.preprocess.collate(samples)
            rows = self._by_engine(batch)
            outputs: Tensor = self.model(batch.to(device)) if rows is None else rows
            return torch.from_numpy(self.model.predicted(outputs.cpu().numpy()))

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
    """The prediction in a row of outputs, `[C] float64`. thresholds: of each label, for multilabel; None: 0.5."""
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


def without_prediction(name: str, reason: str, labels: Labels, task: Task) -> Prediction:
    """What stands in the place of an input that cannot be read; of regression, each value is NaN."""
    values = dict.fromkeys(labels.names, math.nan) if task is Task.REGRESSION else {}
    return Prediction(name, None, values=values, error=reason)


_SINGLE = (str, os.PathLike, bytes, Tensor, Image.Image, AudioClip, tuple)
"""What is one input, though some of these can be gone through."""


def several(inputs: Any, kind: Kind, column: str | None = None, schema: Schema | None = None) -> Iterable[Any]:
    """One input, or many in any form, as many.

    Raises: DataError for what is neither; DataError, ConfigError, UnknownName, as `rows_of`.
    """
    rows = rows_of(inputs, kind, column, schema)
    if rows is not None:
        return rows
    if is_encoded(inputs) or (isinstance(inputs, _SINGLE) and getattr(inputs, "ndim", 0) != 4):
        return [inputs]
    if isinstance(inputs, np.ndarray):
        return _of_array(inputs, kind)
    if not isinstance(inputs, Iterable):
        raise DataError(f"a {type(inputs).__name__} is not an input; give a list of {kind.nouns}, or one of them")
    return inputs


def _of_array(array: np.ndarray, kind: Kind) -> Iterable[Any]:
    """The inputs in an array: of texts `[N]`, or `[N, 2]` for pairs; of images `[H, W]` and `[H, W, 3]` are one, `[N, H, W, 3]` are N."""
    axes = {Kind.TEXT: (1, 2), Kind.IMAGE: (2, 3, 4), Kind.AUDIO: ()}[kind]
    if array.dtype != object and array.ndim not in axes:
        raise DataError(f"an array {list(array.shape)} {array.dtype} is not an input; give a list of {kind.nouns}")
    one = kind is Kind.IMAGE and array.dtype != object and array.ndim < 4
    return [array] if one or array.ndim == 0 else array


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
    backbone: Backbone | None = None,
    device: str = "cpu",
) -> Predictor:
    """A published folder, or the `best/` of a run, ready to predict, in eval mode.

    Args:
        path: the folder.
        threshold: for multilabel, the probability from which a label holds; None: each label's own, as chosen in training.
        weights: base weights (a file, a folder, `random`) for a folder that holds the trained tensors alone; by default those that
            the run was made with whose `best/` it is, else they are searched as for a new run.
        head: factory of a custom head that this process has not registered.
        backbone: the network, where this process has it with the very weights that the folder names; None: it is loaded.
        device: where it computes, as `--device` says it.

    Raises: CheckpointError, WeightsError; ConfigError for a device that is not there.
    """
    folder, place = Path(path), resolve_device(device)
    model, config = saved.open_with_config(folder, weights=weights or _base_weights(folder), head=head, backbone=backbone)
    model.to(place)
    if threshold is None:
        return Predictor(model, config.get("thresholds"))
    if model.task is not Task.MULTILABEL:
        raise ConfigError(
            f"threshold is for labels of which several may hold, and {folder} is for {model.task.value}; leave it out"
        )
    return Predictor(model, [threshold] * model.num_outputs)


def _base_weights(folder: Path) -> str | None:
    """Where a run had its base weights from, whose `best/` this is and needs them; None: they are to be searched."""
    run = runs.run_of(folder)
    if run is None or saved_config.read(folder)["layout"] != "adapter":
        return None
    try:
        return run.resolved().config.model.weights
    except ConfigError as error:
        log.warning("%s; base weights are searched as for a published folder (weights= or --weights names them)", error)
        return None


def find(kind: Kind, inputs: Iterable[Any], column: str | None = None, schema: Schema | None = None) -> Iterator[Named]:
    """Named inputs: what names some data (`--data`) stands for its samples, `-` for the lines of stdin; all else for itself.

    Args:
        inputs: as `several` gives them.
        column: of tables, the one with the inputs (two with a comma for pairs of texts); None: those of `schema`, else guessed.
        schema: what the model read.

    Raises: DataError if a path does not exist (before anything is predicted, where the inputs are a list), data have nothing of this
    kind, or cannot be read.
    """
    if isinstance(inputs, InputRows):
        return iter(inputs)
    if isinstance(inputs, Sequence):
        for item in inputs:
            _require(kind, item, source_of(kind, item))
    return _find(kind, inputs, column, schema)


def _find(kind: Kind, inputs: Iterable[Any], column: str | None, schema: Schema | None) -> Iterator[Named]:
    for number, item in enumerate(inputs):
        source = source_of(kind, item)
        if is_stdin(item):
            yield from _lines(kind, schema)
        elif source is not None:
            yield from source.inputs(request_for(os.fspath(item), kind, column, schema))
        else:
            _require(kind, item, None)
            yield sample_of(item, number, kind, schema)


def is_stdin(item: Any) -> bool:
    """Whether an input stands for the lines of stdin."""
    return isinstance(item, str) and item == "-"


_LONGEST_NAME = 4096
"""Characters of a path; a text may be longer."""


def source_of(kind: Kind, item: Any) -> Source | None:
    """What has the samples that an input names; None: it is one itself. To a model for texts, a folder's name is a text, and so is what has
    the form of another name, but several words, and nothing is there."""
    if not isinstance(item, (str, os.PathLike)) or is_stdin(item) or not 0 < len(name := os.fspath(item)) <= _LONGEST_NAME:
        return None
    source = sources.find(name)
    if source is None or kind is not Kind.TEXT:
        return source
    return None if source.last or (len(name.split()) > 1 and not source.exists(name)) else source


def _require(kind: Kind, item: Any, source: Source | None) -> None:
    """Raises: DataError for a path that is not there. source: what has the samples that it names."""
    if not isinstance(item, (str, os.PathLike)) or is_stdin(item):
        return
    name = os.fspath(item)
    if not name and kind is not Kind.TEXT:
        raise DataError("the name of a file or folder is empty; leave it out (`.` is the working folder)")
    if not (source.exists(name) if source is not None else kind is Kind.TEXT or exists(Path(name))):
        raise DataError(f"{name}: no such file{'' if kind is Kind.TEXT else ' or folder'}")


def count(kind: Kind, inputs: Iterable[Any]) -> int:
    """About how many inputs `find` will give; those of stdin are not counted."""
    if isinstance(inputs, InputRows):
        return len(inputs)
    total = 0
    for item in inputs:
        source = source_of(kind, item)
        total += not is_stdin(item) if source is None else source.count(request_for(os.fspath(item), kind))
    return total


def _lines(kind: Kind, schema: Schema | None) -> Iterator[Named]:
    """The lines of stdin: texts, whose place is kept where one is empty or not UTF-8; or paths, of which empty ones are passed over.

    They are UTF-8 (paths: the bytes of the file system), whatever the locale is.
    """
    if sys.stdin is None:
        raise DataError("-: there is no stdin to read; give a file")
    bare = getattr(sys.stdin, "buffer", None)  # a program may have put texts in its place
    for number, line in enumerate(bare or (text.encode(errors="surrogatepass") for text in sys.stdin)):
        content = line.removeprefix(codecs.BOM_UTF8 if number == 0 else b"").rstrip(b"\r\n")
        if kind is not Kind.TEXT:
            if content:
                yield os.fsdecode(content), os.fsdecode(content)
            continue
        name, text = f"line {number + 1}", content.decode(errors="surrogateescape")
        reason = flaw(text)
        yield name, DataError(f"{name}: {reason}") if reason else sample_of(text, number, kind, schema)[1]


@memory.kept()
def predict_files(
    path: str | os.PathLike[str],
    inputs: Any,
    *,
    column: str | None = None,
    threshold: float | None = None,
    weights: str | None = None,
    batch_size: int = 32,
    device: str = "auto",
) -> Predictions:
    """Load a model once and predict for the inputs, as `find` takes them; one that cannot be read says why in its place.

    Raises: CheckpointError; DataError if a path does not exist, or the inputs are not what the model takes.
    """
    predictor = load(path, threshold=threshold, weights=weights, device=device)
    found = find(predictor.kind, several(inputs, predictor.kind, column, predictor.schema), column, predictor.schema)
    return Predictions(predictor.stream(found, batch_size=batch_size))
