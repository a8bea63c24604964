"""A user's own data in memory: torch data sets, tables of pandas, polars or `datasets`, lists of dictionaries, pairs of arrays.

Texts are read once and kept; pictures are read whenever they are needed. The classes are found without reading pictures where the data
say them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import Subset

from zoo.data.decoding.values import depth_of
from zoo.data.pictures import count_bits, open_picture
from zoo.data.sets import DIGEST, DatasetSet, SampleSet, Source, Texts, TextSet
from zoo.data.sources.datasets_rows import Columns, Given, Keys, open_rows
from zoo.data.sources.datasets_targets import Encoding, encoding_of
from zoo.data.sources.folders import ALL
from zoo.data.sources.tabular import digests
from zoo.errors import DataError
from zoo.types import Schema

_LOOKED_AT = 100
"""Images of each part whose values are looked at."""


def open_parts(
    given: Mapping[str, Any],
    label_names: Sequence[str] | None = None,
    keys: Keys | None = None,
    task: str = "auto",
    streaming: bool = False,
    bit_depth: int | None = None,
    schema: Schema | None = None,
) -> Source:
    """The parts of a user's data as a checked source; a single one is to be split, and called `all`.

    Args:
        given: by split; `train` is there.
        label_names: class names in the order of the class numbers; None: those that the data say, else texts in natural order, else
            the numbers.
        keys: columns, where rows are dictionaries; None: guessed.
        task: `auto`: what the targets look like.
        streaming: iterables are read through once, onto the disk.
        bit_depth: of 16-bit images; None: what the values of some of them need.
        schema: what a model read, where there is one: its columns come before those that are guessed.

    Raises: DataError naming the row; UnknownName for a column; ConfigError.
    """
    if "train" not in given:
        raise DataError("the training data are None; give samples with their targets")
    tables = [open_rows(title, dataset, keys, streaming, schema) for title, dataset in given.items()]
    read = [_read(table) for table in tables]
    names = label_names if label_names is not None else _stated_names(given["train"], tables[0])
    column = "the target" if tables[0].keys is None else tables[0].keys[-1]
    encoding = encoding_of([targets for _, targets in read], names, column, task)
    pictures = [table for table, (items, _) in zip(tables, read, strict=True) if items is None]
    depth, said = _bit_depth(pictures, bit_depth)
    sets = {
        table.title: _sample_set(table, items, encoding, encoding.encode_all(table.name, targets), depth)
        for table, (items, targets) in zip(tables, read, strict=True)
    }
    if len({samples.kind for samples in sets.values()}) > 1:
        raise DataError(f"the parts are not alike: {', '.join(f'{title} has {own.kind.nouns}' for title, own in sets.items())}")
    notices = (
        [] if tables[0].keys is None or keys else [f"data sets given in Python: {' and '.join(tables[0].keys)} are used (keys=)"]
    )
    return Source(
        description="data sets given in Python",
        licence="unknown",
        classes=encoding.names,
        parts=sets if len(sets) > 1 else {ALL: sets["train"]},
        notices=[*notices, *encoding.notices, *said],
        task=encoding.task,
        kind=next(iter(sets.values())).kind,
        bit_depth=depth,
        schema=_schema(tables[0], sets["train"]),
    )


def _schema(table: Given, samples: SampleSet) -> Schema:
    """Which columns were read."""
    pairs = isinstance(samples, TextSet) and samples.seconds is not None
    return Schema(table.keys[:-1], table.keys[-1:], pairs=pairs) if table.keys else Schema(pairs=pairs)


def _bit_depth(tables: Sequence[Given], asked: int | None) -> tuple[int | None, list[str]]:
    """Bits that 16-bit values use, as was asked or as some images need, which are spread evenly over the data (to read all of them would
    take as long as an epoch), and a notice; None where the first has none. What does not fit is an error when it is read."""
    if asked is not None or not tables or not _bits(next(tables[0].items())[0], tables[0].name(0)):
        return asked, []
    bits = [
        _bits(table.read(int(index))[0], table.name(int(index)))
        for table in tables
        for index in np.unique(np.linspace(0, len(table) - 1, _LOOKED_AT).astype(int))
    ]
    depth = depth_of(max(bits))
    return depth, [f"images of 16 bits are read as of {depth} bits, as {len(bits):,} of them need at most (--bit-depth)"]


def _bits(item: Any, name: str) -> int:
    content = item.get("bytes") if isinstance(item, Mapping) else item
    return count_bits(content, name) if isinstance(content, (Path, bytes, Image.Image)) else 0


def _is_text(item: Any) -> bool:
    return isinstance(item, str) or (isinstance(item, tuple | list) and bool(item) and all(isinstance(one, str) for one in item))


def _read(table: Given) -> tuple[list[Any] | None, Sequence[Any]]:
    """The texts (None: these are pictures), and the targets as they are given."""
    first, _ = next(table.items())
    if _is_text(first):
        pairs = list(table.items())
        return [item for item, _ in pairs], [target for _, target in pairs]
    stated = _stated_targets(table.rows) if table.keys is None else _column(table.rows, table.keys[-1])
    return None, [target for _, target in table.items()] if stated is None else stated


def _column(rows: Any, name: str) -> Sequence[Any] | None:
    """A column without the others: a picture beside it need not be decoded."""
    if isinstance(rows, Columns):
        return rows.columns[name]
    return list(rows[name]) if hasattr(rows, "column_names") else None


def _stated_targets(dataset: Any) -> Sequence[Any] | None:
    """`[N]` from `.targets` or `.labels`, through torch's Subset; None where there are none that can be trusted."""
    if isinstance(dataset, Subset):
        whole = _stated_targets(dataset.dataset)
        return None if whole is None else [whole[index] for index in dataset.indices]
    if getattr(dataset, "target_transform", None) is not None:
        return None  # what `dataset[i]` gives is not what the attribute says
    for name in ("targets", "labels"):
        values = np.asarray(getattr(dataset, name, ()))
        if values.ndim == 1 and len(values) == len(dataset) and np.issubdtype(values.dtype, np.integer):
            found: list[int] = values.tolist()
            return found
    return None


def _stated_names(train: Any, table: Given) -> Sequence[str] | None:
    """Class names that a data set says: torchvision's `classes`, or a ClassLabel's `names`."""
    while isinstance(train, Subset) and not hasattr(train, "classes"):
        train = train.dataset
    feature = (getattr(train, "features", None) or {}).get(table.keys[-1]) if table.keys else None
    names: Sequence[str] | None = getattr(feature, "names", None) or getattr(train, "classes", None)
    return names


def _sample_set(
    table: Given, items: list[Any] | None, encoding: Encoding, targets: np.ndarray, bit_depth: int | None
) -> SampleSet:
    numbers = np.arange(len(table), dtype=np.int64)
    if items is None:
        return DatasetSet(
            title=table.title,
            dataset=Pictures(table, encoding, bit_depth),
            bit_depth=bit_depth,
            numbers=numbers,
            targets=targets,
            digests=_picture_digests(table),
        )
    texts = [
        _texts(table.name(index), item, len(items[0]) if not isinstance(items[0], str) else 1) for index, item in enumerate(items)
    ]
    columns = [np.array(column, dtype=np.dtypes.StringDType()) for column in zip(*texts, strict=True)]
    seconds = columns[1] if len(columns) == 2 else None
    return OwnTexts(
        title=table.title,
        texts=columns[0],
        seconds=seconds,
        numbers=numbers,
        targets=targets,
        digests=digests(columns[0], seconds),
    )


def _texts(name: str, item: Any, count: int) -> tuple[str, ...]:
    """The one or two texts of a row. Raises: DataError naming it."""
    texts = (item,) if isinstance(item, str) or not isinstance(item, tuple | list) else tuple(item)
    if len(texts) != count or count > 2:
        raise DataError(f"{name}: {len(texts)} texts, and {count} in the first row; give one, or a pair, in each")
    for text in texts:
        if not isinstance(text, str):
            raise DataError(f"{name}: the text is {text!r}, a {type(text).__name__}; give a text, or leave the row out")
        if not text.strip():
            raise DataError(f"{name}: the text is empty; leave the row out")
    return texts


@dataclass(frozen=True, kw_only=True)
class OwnTexts(TextSet):
    """Texts of a data set that has indices, not row numbers."""

    def name(self, index: int) -> str:
        return f"{self.title}[{self.numbers[index]}]"


@dataclass(frozen=True)
class Pictures:
    """The rows of a part as `DatasetSet` takes them."""

    table: Given
    encoding: Encoding
    bit_depth: int | None

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        item, target = self.table.read(index)
        name = self.table.name(index)
        return image_from(item, name, self.bit_depth), self.encoding.encode(name, target)


def image_from(item: Any, name: str, bit_depth: int | None) -> Any:
    """Arrays, files and encoded bytes as pictures; what `DatasetSet` takes, or refuses, as it is. Raises: DataError."""
    if isinstance(item, Path):
        return open_picture(item, bit_depth=bit_depth)
    if isinstance(item, Mapping) and isinstance(item.get("bytes"), bytes):  # a picture that `datasets` has not decoded
        return open_picture(item["bytes"], name, bit_depth=bit_depth)
    if not isinstance(item, np.ndarray):
        return item
    if item.dtype != np.uint8 or item.ndim not in (2, 3) or (item.ndim == 3 and item.shape[2] not in (3, 4)):
        raise DataError(f"{name}: an array {list(item.shape)} {item.dtype}; expected [H, W] or [H, W, 3] uint8")
    return Image.fromarray(item)


def _picture_digests(table: Given) -> Texts:
    """`[N]`: sha256 of the arrays and tensors that lie in memory; empty for all if there is anything else."""
    found = np.zeros(len(table), DIGEST)
    if not isinstance(table.rows, Columns | list):
        return found
    for index, (item, _) in enumerate(table.items()):
        values = item.numpy() if isinstance(item, Tensor) and not item.is_floating_point() else item
        if not isinstance(values, np.ndarray):
            return np.zeros(len(table), DIGEST)
        content = f"{values.dtype} {values.shape} ".encode() + np.ascontiguousarray(values).tobytes()
        found[index] = hashlib.sha256(content).hexdigest()
    return found
