"""What an iterable gives, read through once and kept on the disk, so that its rows have a number and can come in any order."""

from __future__ import annotations

import io
import json
import tempfile
from array import array
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo.errors import DataError


class RowsOnDisk:
    """The rows of an iterable, `(sample, class)` or dictionaries, of texts, numbers, PIL images, arrays and tensors.

    Nothing is pickled. The file is gone when nobody reads it any more.
    """

    def __init__(self, title: str, rows: Iterable[Any]) -> None:
        """Raises: DataError naming a row that holds something else, or that the iterable fails to give."""
        ends = array("q", [0])
        with tempfile.TemporaryFile(prefix="zoo-rows-") as file:
            iterator = iter(rows)
            while True:
                place = f"{title}[{len(ends) - 1}]"
                try:
                    row = next(iterator)
                except StopIteration:
                    break
                except Exception as error:
                    raise DataError(f"{place}: {(str(error) or type(error).__name__).splitlines()[0]}") from error
                ends.append(ends[-1] + file.write(_encode(place, row)))
            file.flush()
            self._content: Any = np.memmap(file, np.uint8, "r") if ends[-1] else np.zeros(0, np.uint8)
        self._ends = np.array(ends, np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> Any:
        """A row, as the iterable gave it."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return _decode(self._content[self._ends[index] : self._ends[index + 1]].tobytes())


def _encode(place: str, row: Any) -> bytes:
    """A line of JSON that says what follows, and what follows."""
    names = [str(name) for name in row] if isinstance(row, Mapping) else None
    fields = [_field(place, value) for value in (row.values() if isinstance(row, Mapping) else row)]
    header = json.dumps({"names": names, "fields": [[tag, len(content)] for tag, content in fields]})
    return header.encode() + b"\n" + b"".join(content for _, content in fields)


def _field(place: str, value: Any) -> tuple[str, bytes]:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Image.Image):
        buffer = io.BytesIO()
        value.save(buffer, "PNG")
        return "image", buffer.getvalue()
    if isinstance(value, (Tensor, np.ndarray)):
        buffer = io.BytesIO()
        np.save(buffer, np.asarray(value), allow_pickle=False)
        return "tensor" if isinstance(value, Tensor) else "array", buffer.getvalue()
    if isinstance(value, bytes):
        return "bytes", value
    try:
        return "json", json.dumps(value).encode()
    except TypeError:
        raise DataError(
            f"{place}: a {type(value).__name__} cannot be kept on the disk; give texts, numbers, images or arrays"
        ) from None


def _decode(blob: bytes) -> Any:
    line, _, rest = blob.partition(b"\n")
    header, values, start = json.loads(line), [], 0
    for tag, size in header["fields"]:
        values.append(_value(tag, rest[start : start + size]))
        start += size
    return tuple(values) if header["names"] is None else dict(zip(header["names"], values, strict=True))


def _value(tag: str, content: bytes) -> Any:
    if tag == "image":
        return Image.open(io.BytesIO(content), formats=("PNG",))
    if tag in ("tensor", "array"):
        found = np.load(io.BytesIO(content), allow_pickle=False)
        return torch.from_numpy(found) if tag == "tensor" else found
    return content if tag == "bytes" else json.loads(content)
