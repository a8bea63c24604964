"""Texts that stay on the disk: more of them than memory holds, each read when it is asked for."""

from __future__ import annotations

import hashlib
import tempfile
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any, overload

import numpy as np
from numpy.typing import NDArray

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
