"""Samples and their targets: opened, checked, split, varied, and served in batches."""

from zoo.data.augmentation import train_transform
from zoo.data.decoding.audio_files import open_audio
from zoo.data.decoding.image_files import open_image
from zoo.data.loading.loaders import Batch, EvalBatches, TrainBatches
from zoo.data.loading.samplers import order, steps_per_epoch
from zoo.data.sets import SampleSet
from zoo.data.splits import Record, Splits, from_datasets, open_for_evaluation, open_splits, read_splits
from zoo.data.splits.facts import DataFacts

__all__ = [
    "Batch",
    "DataFacts",
    "EvalBatches",
    "Record",
    "SampleSet",
    "Splits",
    "TrainBatches",
    "from_datasets",
    "open_audio",
    "open_for_evaluation",
    "open_image",
    "open_splits",
    "order",
    "read_splits",
    "steps_per_epoch",
    "train_transform",
]
