"""Texts and rows that stay on the disk: more of them than memory holds, each read when it is asked for.

`DiskStrings` stands in for an array of texts. `RowsOnDisk` keeps what an iterable gives, so that its rows have a number and can come in
any order.
"""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from zoo.errors import DataError

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class DiskStrings:
    """What stands in for an array of texts; picking some by an array of indices copies none of them."""

    content: NDArray[np.uint8]
    """The file, mapped into memory: every text in UTF-8, one after another."""
    ends: Integers
    """`[M]`, where each ends."""
    rows: Integers
    """`[N]`, which of them these are."""

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: Integers | slice) -> DiskStrings: ...

    def __getitem__(self, index: Any) -> Any:
        """One text, or some of them."""
        if not isinstance(index, (int, np.integer)):
            return DiskStrings(self.content, self.ends, self.rows[index])
        row = self.rows[index]
        start = self.ends[row - 1] if row else 0
        return self.content[start : self.ends[row]].tobytes().decode()

    def __iter__(self) -> Iterator[str]:
        return (self[index] for index in range(len(self)))

    def lengths(self) -> Integers:
        """`[N]`, bytes."""
        starts = np.where(self.rows > 0, self.ends[self.rows - 1], 0)
        return np.asarray(self.ends[self.rows] - starts)

    def hashes(self) -> NDArray[np.uint64]:
        """`[N]`: the same for equal texts, and by a chance of 1 in 10^7 for two others among a million (64 bits)."""
        return np.array([int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) for text in self], np.uint64)


class Spool:
    """Takes texts, chunk by chunk, into a file that is gone when nobody reads it any more."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="zoo-texts-")  # noqa: SIM115 - it outlives this
        self._ends = array("q")
        self._size = 0

    def add(self, texts: Iterable[str]) -> None:
        """More of them. Raises: OSError, such as of a full disk."""
        for text in texts:
            written = text.encode()
            self._file.write(written)
            self._size += len(written)
            self._ends.append(self._size)

    def done(self) -> DiskStrings:
        """All of them. The file's name is gone already; its content goes with the mapping."""
        self._file.flush()
        empty = np.zeros(0, np.uint8)
        with self._file as file:
            content = np.memmap(file, np.uint8, "r") if self._size else empty
        return DiskStrings(content, np.array(self._ends, np.int64), np.arange(len(self._ends), dtype=np.int64))


Strings = NDArray[Any] | DiskStrings
"""Texts of any length: of numpy's `StringDType`, in one block of memory (a list of Python strings would be copied, page by page, into each
worker as their reference counts change); or on the disk."""


def characters(texts: Strings) -> Integers:
    """`[N]`, the length of each: characters, or bytes where they are on the disk."""
    return texts.lengths() if isinstance(texts, DiskStrings) else np.strings.str_len(texts)


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
