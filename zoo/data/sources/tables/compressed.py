"""A table file as a stream of characters: decompressed, decoded, and never one that would wait."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from zoo.errors import DataError
from zoo.folders import special


def _open_zstd(path: Path, mode: str = "rb") -> IO[bytes]:
    import pyarrow  # half a second, and the standard library reads no zstd before Python 3.14

    return cast(IO[bytes], io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd")))


_OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open, ".zst": _open_zstd}
COMPRESSED = tuple(_OPENERS)
"""Endings of compressed files that are read."""


def require_file(path: Path) -> None:
    """Raises: DataError for a pipe, a socket or a device, which would be waited for."""
    kind = special(path)
    if kind:
        raise DataError(f"{path}: {kind}, not a file; write what it gives into a file first")


def open_text(path: Path, newline: str | None) -> IO[str]:
    """The file as text: UTF-16 if its first bytes say so, else UTF-8, where other bytes become lone surrogates.

    Raises: DataError if it is empty or binary; OSError.
    """
    require_file(path)
    opener = _OPENERS.get(path.suffix.lower(), open)
    with opener(path, "rb") as stream:
        head = stream.read(4096)
    if not head.strip(codecs.BOM_UTF8 + b"\r\n\t "):
        raise DataError(f"{path}: an empty file")
    utf16 = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not utf16 and b"\0" in head.split(b"\n")[0]:
        raise DataError(f"{path}: NUL bytes in the first line: a binary file, or UTF-16 without its mark; save it as UTF-8 text")
    encoding, errors = ("utf-16", "strict") if utf16 else ("utf-8-sig", "surrogateescape")
    return io.TextIOWrapper(opener(path, "rb"), encoding=encoding, errors=errors, newline=newline)
