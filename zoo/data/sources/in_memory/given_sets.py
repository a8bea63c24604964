"""A user's own data in memory: torch data sets, tables of pandas, polars or `datasets`, lists of dictionaries, pairs of arrays.

Texts are read once and kept; images are read whenever they are needed. The classes are found without reading images where the data
say them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Subset

from zoo.config import DataConfig
from zoo.data.decoding.image_files import count_bits, open_image
from zoo.data.decoding.pixel_values import depth_of
from zoo.data.sets import ALL, DIGEST, DatasetSet, Integers, Opened, SampleSet, Texts, TextSet
from zoo.data.sources.in_memory.given_rows import ColumnTable as OfColumns
from zoo.data.sources.in_memory.given_rows import Given, Keys, aliased, open_rows
from zoo.data.sources.row_values import Chosen, Label, take_label
from zoo.data.sources.tables.columns import Columns, choose, is_image, kind_of
from zoo.data.sources.tables.gathering import gather
from zoo.data.sources.tables.sample_sets import as_targets, columns, from_table
from zoo.data.targets import Targets
from zoo.errors import ConfigError, DataError, shown
from zoo.types import Kind, Schema, Task

_LOOKED_AT = 100
"""Images of each part whose values are looked at."""

DESCRIPTION = "data sets given in Python"


def open_parts(
    given: Mapping[str, Any],
    options: DataConfig,
    *,
    description: str = DESCRIPTION,
    label_names: Sequence[str] | None = None,
    keys: Keys | None = None,
    kind: Kind | None = None,
    schema: Schema | None = None,
    trainable: bool = True,
) -> Opened:
    """The parts of a user's data as a checked source; a single one is to be split, and called `all`.

    Args:
        given: by split; `train` is there.
        options: which columns are what, the task, how many rows may be unreadable, and whether iterables are read through once, onto the
            disk.
        description: what people call the data.
        label_names: class names in the order of the class numbers; None: those that the data say, else those that occur.
        keys: columns, where rows are dictionaries: (sample, class), or (text, second text, class); None: as the options say, or guessed.
        kind: what the model takes, where there is one.
        schema: what the model read: its columns come before those that are guessed.
        trainable: there must be something to learn.

    Raises: DataError naming the row; UnknownName for a column; ConfigError.
    """
    if "train" not in given:
        raise DataError("the training data are None; give samples with their targets")
    train, *others = [open_rows(title, dataset, options.streaming) for title, dataset in given.items()]
    chosen = _choose(train, options, keys, kind, schema)
    parts = [train, *(_alike(train, chosen, part, options, keys) for part in others)]
    taken = not is_image(train.first_values[chosen.inputs[0]])
    table = gather(
        description,
        parts,
        chosen,
        task=None if options.task == "auto" else options.task,
        stated=label_names,
        named=_stated_names(given["train"], train, chosen),
        max_unreadable=options.max_unreadable,
        on_disk=options.streaming and taken,
        taken=taken,
        trainable=trainable,
    )
    if taken:
        source = from_table(table, description, Path.cwd(), OwnTexts, options)
        return source if train.named else replace(source, schema=Schema(pairs=len(chosen.inputs) == 2))
    depth, said = _bit_depth(parts, chosen.inputs[0], options.bit_depth)
    targets = as_targets(table)
    sets: dict[str, SampleSet] = {}
    for part in parts:
        rows = np.arange(len(table)) if table.splits is None else np.flatnonzero(table.splits == part.title)
        if len(rows):
            numbers = table.numbers[rows]
            sets[ALL if table.splits is None else part.title] = DatasetSet(
                title=part.title,
                dataset=Images(part, chosen, table.codes, table.meanings, depth),
                bit_depth=depth,
                numbers=numbers,
                targets=targets[rows],
                groups=None if table.groups is None else table.groups[rows],
                digests=_image_digests(part, chosen.inputs[0], numbers),
            )
    return Opened(
        description,
        "unknown",
        table.names,
        sets,
        table.unreadable,
        notices=[*table.notices, *said],
        task=Task(table.task),
        kind=chosen.kind,
        bit_depth=depth,
        schema=chosen.schema if train.named else Schema(),
    )


def _bit_depth(parts: Sequence[Given], column: str, asked: int | None) -> tuple[int | None, list[str]]:
    """Bits that 16-bit values use, as was asked or as some images need, which are spread evenly over the data (to read all of them would
    take as long as an epoch), and a notice; None where the first has none. What does not fit is an error when it is read."""
    if asked is not None or not _bits(parts[0].first_values[column], parts[0].name(0)):
        return asked, []
    bits = [
        _bits(part.row(int(index))[column], part.name(int(index)))
        for part in parts
        for index in np.unique(np.linspace(0, len(part) - 1, _LOOKED_AT).astype(int))
    ]
    depth = depth_of(max(bits))
    return depth, [f"images of 16 bits are read as of {depth} bits, as {len(bits):,} of them need at most (--bit-depth)"]


def _bits(item: Any, name: str) -> int:
    content = item.get("bytes") if isinstance(item, Mapping) else item
    return count_bits(content, name) if isinstance(content, (Path, bytes, Image.Image)) else 0


def _choose(
    part: Given, options: DataConfig, keys: Keys | None, kind: Kind | None = None, schema: Schema | None = None
) -> Chosen:
    """Which columns of a part are what. Raises: ConfigError, UnknownName."""
    asked, sample = columns(options), part.sample()
    if not part.named:
        if keys is not None:
            form = type(part.first).__name__
            raise ConfigError(f"{part.title}: its rows are {form}s, not dictionaries, so keys name nothing; leave them out")
        keys = part.names
    if keys is None:
        known = schema if schema and schema.inputs and {*schema.inputs, *schema.labels} <= set(part.names) else None
        return choose(part.title, sample, asked if known else _told(part, asked), kind=kind, schema=known, header=False)
    if isinstance(keys, str) or len(keys) not in (2, 3):
        raise ConfigError(f"keys is {keys!r}; expected (sample, class), or (text, second text, class)")
    *inputs, label = keys
    kind = kind_of(sample, inputs[0]) if len(inputs) == 1 and inputs[0] in part.names else Kind.TEXT
    named: dict[str, Any] = {"text": None, kind.value: tuple(inputs) if kind is Kind.TEXT else inputs[0], "label": (label,)}
    return choose(part.title, sample, replace(asked, **named), header=False)


def _told(part: Given, asked: Columns) -> Columns:
    """What was asked for, and where that leaves it open which column has the classes or the images, what `datasets` says."""
    images = [name for name, one in (getattr(part.rows, "features", None) or {}).items() if type(one).__name__ == "Image"]
    if asked.label is None and len(part.classes) == 1:
        asked = replace(asked, label=tuple(part.classes))
    if not (asked.text or asked.image or asked.audio) and len(images) == 1:
        asked = replace(asked, image=images[0])
    return asked


def _alike(train: Given, chosen: Chosen, part: Given, options: DataConfig, keys: Keys | None) -> Given:
    """Another part with its columns called as those of train. Raises: DataError if it holds something else."""
    if not set(chosen.inputs) <= set(part.names):
        own = _choose(part, options, keys if part.named else None)
        if len(own.inputs) == len(chosen.inputs) and len(own.labels) == len(chosen.labels):
            part = aliased(part, (*own.inputs, *own.labels), (*chosen.inputs, *chosen.labels))
    name = chosen.inputs[0]
    if name not in part.first_values:
        raise DataError(
            f"the parts are not alike: {train.title} has {', '.join(train.names)}, {part.title} has {', '.join(part.names)}"
        )
    kind, in_memory = kind_of([part.first_values], name), [is_image(one.first_values[name]) for one in (train, part)]
    if kind is not chosen.kind or len(set(in_memory)) > 1:
        own_kind = kind.nouns if kind is not chosen.kind else f"{kind.nouns} of another form"
        raise DataError(f"the parts are not alike: {train.title} has {chosen.kind.nouns}, {part.title} has {own_kind}")
    return part


def _stated_names(data: Any, part: Given, chosen: Chosen) -> Sequence[str] | None:
    """Class names that a data set says: torchvision's `classes`, or a ClassLabel's `names`."""
    if len(chosen.labels) > 1:
        return None
    if chosen.labels[0] in part.classes:
        return part.classes[chosen.labels[0]]
    while isinstance(data, Subset) and not hasattr(data, "classes"):
        data = data.dataset
    names: Sequence[str] | None = getattr(data, "classes", None)
    return names


@dataclass(frozen=True, kw_only=True)
class OwnTexts(TextSet):
    """Texts of a data set that has indices, not row numbers."""

    def name(self, index: int) -> str:
        return f"{self.title}[{self.numbers[index]}]"


@dataclass(frozen=True)
class Images:
    """The rows of a part as `DatasetSet` takes them."""

    part: Given
    chosen: Chosen
    codes: Mapping[Label, int]
    """Of each label that was found, its place among the meanings."""
    meanings: Targets
    bit_depth: int | None

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        values, name = self.part.row(index), self.part.name(index)
        label = take_label(self.chosen, values, typed=True)
        if label not in self.codes:
            raise DataError(f"{name}: gives the label {shown(label)}, which no row had when the data were read")
        meaning = self.meanings[self.codes[label]].tolist()
        return image_from(values[self.chosen.inputs[0]], name, self.bit_depth), tuple(meaning) if isinstance(
            meaning, list
        ) else meaning


def image_from(item: Any, name: str, bit_depth: int | None) -> Any:
    """Arrays and encoded bytes as images; what `DatasetSet` takes, or refuses, as it is. Raises: DataError."""
    if isinstance(item, Mapping) and isinstance(item.get("bytes"), bytes):  # an image that `datasets` has not decoded
        return open_image(item["bytes"], name, bit_depth=bit_depth)
    if not isinstance(item, np.ndarray):
        return item
    if item.dtype != np.uint8 or item.ndim not in (2, 3) or (item.ndim == 3 and item.shape[2] not in (3, 4)):
        raise DataError(f"{name}: an array {list(item.shape)} {item.dtype}; expected [H, W] or [H, W, 3] uint8")
    return Image.fromarray(item)


def _image_digests(part: Given, column: str, numbers: Integers) -> Texts:
    """`[N]`: sha256 of the arrays and tensors that lie in memory; empty for all if there is anything else."""
    found = np.zeros(len(numbers), DIGEST)
    if not isinstance(part.rows, OfColumns | list):
        return found
    for place, number in enumerate(numbers.tolist()):
        item = part.row(number)[column]
        values = item.numpy() if isinstance(item, Tensor) and not item.is_floating_point() else item
        if not isinstance(values, np.ndarray):
            return np.zeros(len(numbers), DIGEST)
        content = f"{values.dtype} {values.shape} ".encode() + np.ascontiguousarray(values).tobytes()
        found[place] = hashlib.sha256(content).hexdigest()
    return found
