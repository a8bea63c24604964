"""A trained model ready to answer: paths, pictures or tensors in, labels and probabilities out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from zoo import runs
from zoo.adaptation import saved
from zoo.adaptation.model import AdaptedModel
from zoo.data import find_pictures, open_picture
from zoo.errors import ConfigError, DataError
from zoo.registry import HeadFactory
from zoo.types import Labels, Prediction, Predictions

Input = str | os.PathLike[str] | Image.Image | Tensor


class Predictor(nn.Module):
    """A fine-tuned model with its labels and preprocessing, in eval mode. Calling it gives logits, `predict` gives answers."""

    def __init__(self, model: AdaptedModel) -> None:
        super().__init__()
        if model.labels is None:
            raise ConfigError("a model without labels cannot name what it predicts; build it with labels=")
        self.model = model.eval()
        self.labels: Labels = model.labels
        preprocess = model.backbone.preprocess
        self._size, self._at_least = preprocess.size, preprocess.decode_at
        self._geometry, self._normalise = preprocess.geometry(), preprocess.normalise

    def forward(self, images: Tensor) -> Tensor:
        """Logits `[B, C] float32` of pictures `[B, 3, size, size]`: uint8, or float32 and normalised."""
        logits: Tensor = self.model(images)
        return logits

    def predict(self, inputs: Input | Iterable[Input], *, batch_size: int = 32, skip_unreadable: bool = False) -> Predictions:
        """Answers in the order of the inputs; the same for a picture whatever comes beside it.

        Args:
            inputs: one or many of: a path, a PIL picture, or a tensor: `[3, H, W] uint8` is preprocessed like a picture,
                `[3, size, size] float32` is taken as preprocessed already.
            batch_size: pictures in one forward pass.
            skip_unreadable: leave out files that cannot be read, and list them in `.unreadable`, instead of raising.

        Raises: DataError naming the file or the input.
        """
        several = isinstance(inputs, Iterable) and not isinstance(inputs, (str, os.PathLike, Tensor, Image.Image))
        items: Iterable[Input] = inputs if several else [inputs]  # type: ignore[assignment, list-item]
        answers: list[Prediction] = []
        unreadable: list[str] = []
        with ThreadPoolExecutor() as pool:
            for chunk in batched_inputs(items, batch_size):
                names, tensors = [], []
                for name, result in zip((name for name, _ in chunk), pool.map(self._try_prepare, chunk), strict=True):
                    if isinstance(result, Tensor):
                        names.append(name)
                        tensors.append(result)
                    elif skip_unreadable:
                        unreadable.append(str(result))
                    else:
                        raise result
                answers += self._answer(names, tensors)
        return Predictions(answers, unreadable)

    def _try_prepare(self, named: tuple[str, Input]) -> Tensor | DataError:
        name, item = named
        try:
            return self._prepare(name, item)
        except DataError as error:
            return error

    def _prepare(self, name: str, item: Input) -> Tensor:
        if isinstance(item, Tensor):
            size = self._size
            if item.dtype == torch.float32 and item.shape == (3, size, size):
                return item
            if item.dtype == torch.uint8 and item.ndim == 3 and item.shape[0] == 3:
                return self._geometry(Image.fromarray(item.permute(1, 2, 0).contiguous().numpy()))
            raise DataError(
                f"{name}: a tensor {list(item.shape)} {item.dtype}; expected [3, H, W] uint8 or [3, {size}, {size}] float32"
            )
        if not isinstance(item, (str, os.PathLike, Image.Image)):
            raise DataError(f"{name}: a {type(item).__name__}; expected a path, a PIL picture or a tensor")
        return self._geometry(open_picture(item, at_least=self._at_least))

    def _answer(self, names: Sequence[str], tensors: Sequence[Tensor]) -> Iterator[Prediction]:
        if not tensors:
            return
        device = next(self.model.parameters()).device
        with torch.inference_mode():
            images = tensors if len({one.dtype for one in tensors}) == 1 else [self._normalise(one) for one in tensors]
            probabilities = self.model(torch.stack(list(images)).to(device)).double().softmax(dim=1).cpu()
        for name, row in zip(names, probabilities, strict=True):
            order = row.argsort(descending=True, stable=True).tolist()
            by_label = {self.labels.names[index]: float(row[index]) for index in order}
            label = self.labels.names[order[0]]
            yield Prediction(name, label, by_label[label], by_label)


def batched_inputs(items: Iterable[Input], size: int) -> Iterator[list[tuple[str, Input]]]:
    """Named inputs in lists of `size`: a path is its own name, the i-th picture or tensor is `#i`."""
    named = (
        (os.fspath(item) if isinstance(item, (str, os.PathLike)) else f"#{number}", item) for number, item in enumerate(items)
    )
    chunk: list[tuple[str, Input]] = []
    for pair in named:
        chunk.append(pair)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def load(path: str | os.PathLike[str], *, weights: str | None = None, head: HeadFactory | None = None) -> Predictor:
    """A published folder, or the `best/` of a run, ready to predict, on the CPU and in eval mode.

    Args:
        path: the folder.
        weights: base weights (a file, a folder, `random`) for a folder that holds the trained tensors alone; by default those that
            the run in the folder above was made with, else they are searched as for a new run.
        head: factory of a custom head that this process has not registered.

    Raises: CheckpointError, WeightsError.
    """
    folder = Path(path)
    beside = folder.parent / "config.yaml"
    if weights is None and beside.is_file():
        weights = runs.read_config(beside).config.model.weights
    return Predictor(saved.open_saved(folder, weights=weights, head=head))


def predict_files(
    path: str | os.PathLike[str],
    inputs: Input | Iterable[Input],
    *,
    weights: str | None = None,
    batch_size: int = 32,
) -> Predictions:
    """Load a model once and answer for the inputs, in which a folder stands for the pictures under it.

    Raises: CheckpointError; DataError if a path does not exist, or nothing can be read.
    """
    if isinstance(inputs, (str, os.PathLike)):
        inputs = [inputs]
    if isinstance(inputs, Iterable) and not isinstance(inputs, Tensor):
        inputs = [one for item in inputs for one in (find_pictures([item]) if isinstance(item, (str, os.PathLike)) else [item])]
    return load(path, weights=weights).predict(inputs, batch_size=batch_size, skip_unreadable=True)
