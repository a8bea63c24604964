"""Whether reading images is what training waits for, as measured; and then, to decode them once."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from zoo import cache
from zoo.adaptation.model import AdaptedModel
from zoo.backbones import generator
from zoo.config import FinetuneConfig
from zoo.data import decoded
from zoo.data.augmentations.base import train_transform
from zoo.data.sets import SampleSet
from zoo.data.splits import Splits
from zoo.training.way import room, seconds

log = logging.getLogger("zoo")

SAMPLE = 16
"""Images that are timed."""
BACKWARD = 3.0
"""Times a forward pass that a training step takes (a backward pass costs two: with respect to inputs, and to weights)."""


@dataclass(frozen=True)
class Reading:
    """Seconds an image, of one process."""

    decode: float
    """From the file to RGB pixels."""
    vary: float
    """From these to the network's input, varied as in training."""


def time_reading(images: SampleSet, model: AdaptedModel, augment: str) -> Reading:
    """Time reading a sample of images. Raises: DataError naming one that cannot be read."""
    preprocess = model.backbone.preprocess
    transform = train_transform(preprocess, augment)
    some = np.linspace(0, len(images) - 1, min(SAMPLE, len(images))).astype(int)
    began = time.perf_counter()
    opened = [images.item(int(index), preprocess.decode_at) for index in some]
    between = time.perf_counter()
    with generator.forked():
        for image in opened:
            if isinstance(image, Image.Image):
                transform(image)
    return Reading((between - began) / len(some), (time.perf_counter() - between) / len(some))


def decoded_once(splits: Splits, model: AdaptedModel, config: FinetuneConfig) -> Splits:
    """The splits, with the images that each epoch reads decoded and kept where that pays, or was asked for.

    It pays where reading takes longer than a training step, decoding is most of it, there is more than one epoch, and there is room.
    """
    root, asked = cache.place(config.machine.cache), config.data.keep_decoded
    known = all(part.digests.astype(bool).all() for part in (splits.train, splits.val))
    if asked == "never" or root is None or not known or (asked == "auto" and config.optim.epochs <= 1):
        return splits
    preprocess = model.backbone.preprocess
    at_least = preprocess.decode_at
    if at_least is None:  # not images
        return splits
    need = decoded.size(splits.train, at_least) + decoded.size(splits.val, at_least)
    if asked == "auto":
        reading = time_reading(splits.train, model, config.data.augment)
        workers = max(1, config.data.num_workers or 0)
        example = preprocess.example(4).to(next(model.parameters()).device)
        step = BACKWARD * seconds(model, example) / len(example)
        waits = (reading.decode + reading.vary) / workers > step and reading.decode > reading.vary
        if not waits:
            return splits
        log.info(
            "reading an image takes %.1f ms (decoding %.1f), a step %.1f: they are decoded once, %.1f GB",
            1e3 * (reading.decode + reading.vary), 1e3 * reading.decode, 1e3 * step, need / 1e9,
        )  # fmt: skip
    if need > room(config):
        log.warning(
            "decoded images would take %.1f GB; there is room for %.1f: they are not kept", need / 1e9, room(config) / 1e9
        )
        return splits
    return replace(splits, train=decoded.decode(splits.train, root, at_least), val=decoded.decode(splits.val, root, at_least))
