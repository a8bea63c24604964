"""One shard: records of (key, row) in a file that is named by the digest of its bytes."""

from __future__ import annotations

import contextlib
import hashlib
import io
import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo import folders
from zoo.cache.claims import Keys
from zoo.errors import OutputError, RunFailed

SUFFIX = ".npy"
_HEX = frozenset("0123456789abcdef")

_Stamp = tuple[int, int, int, int, int]
_verified: dict[str, _Stamp] = {}
"""The shards whose bytes this process has compared with their names, as they were then."""


class Damaged(Exception):
    """A shard is not what was written."""


def _allow_files(descriptor: int) -> None:
    """Each shard holds a file open. Where half of those that a process may have are, let it have as many as the system allows.

    descriptor: of any open file; a copy gets the lowest number that is free.
    """
    with contextlib.suppress(ImportError, ValueError, OSError):  # Windows has no such limits
        import resource

        copy = os.dup(descriptor)
        os.close(copy)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if copy > soft // 2 and soft != hard:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Shard:
    """A shard, mapped into memory: it stays readable though its file is removed."""

    def __init__(self, path: Path, record: np.dtype[Any]) -> None:
        """Raises: OSError; Damaged for a file that holds no such records."""
        self.path = path
        with path.open("rb") as file:
            _allow_files(file.fileno())
            self.stamp = _stamp(os.fstat(file.fileno()))
            try:
                version = np.lib.format.read_magic(file)
                if version != (1, 0):
                    raise ValueError(f"format {version}")
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
                if dtype != record or len(shape) != 1:
                    raise ValueError(f"it has records of another kind, {dtype}")
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                self.records: NDArray[Any] = np.frombuffer(self._map, record, shape[0], file.tell())
            except OSError:
                raise
            except Exception as error:  # what reads a header raises anything where that is damaged
                raise Damaged(str(error).partition("\n")[0]) from error
        self.keys: Keys = self.records["key"].copy()
        self.let_go()

    @property
    def is_verified(self) -> bool:
        """Whether this process has compared its bytes with its name."""
        return _verified.get(str(self.path)) == self.stamp

    def verify(self) -> bool:
        """Whether its bytes are those it is named by. Safe to call in threads."""
        if self._is_shorter() or hashlib.sha256(self._map).hexdigest() != self.path.stem:
            return False
        self.let_go()
        _verified[str(self.path)] = self.stamp
        return True

    def take(self, places: NDArray[np.int64]) -> NDArray[Any]:
        """The rows at these places, a copy. Raises: RunFailed if the file was changed since it was verified."""
        now = self._now()
        if now is not None and now != self.stamp:
            changed, self.stamp = self._is_shorter(), now
            if changed or not self.verify():
                raise RunFailed(f"{self.path}: changed on the disk while it was in use; start again: it is computed anew")
        found: NDArray[Any] = self.records["row"][places]
        return found

    def let_go(self) -> None:
        """The pages that were read need not stay in memory."""
        if hasattr(self._map, "madvise"):  # not on Windows
            self._map.madvise(mmap.MADV_DONTNEED)

    def _now(self) -> _Stamp | None:
        """The stamp of the file that is mapped, if it still has its name: what was removed or replaced cannot be changed any more."""
        try:
            now = _stamp(self.path.stat())
        except OSError:
            return None
        return now if now[:2] == self.stamp[:2] else None

    def _is_shorter(self) -> bool:
        """Whether its end is gone: to read there would end the process."""
        now = self._now()
        return now is not None and now[2] < len(self._map)


def _stamp(state: os.stat_result) -> _Stamp:
    return state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns


def is_shard(path: Path) -> bool:
    """Whether a file has the name of a shard."""
    return path.suffix == SUFFIX and len(path.stem) == 64 and set(path.stem) <= _HEX


def write(folder: Path, records: NDArray[Any]) -> Shard:
    """A new shard in a folder. Raises: OutputError."""
    stream = io.BytesIO()
    np.save(stream, records, allow_pickle=False)
    content = stream.getbuffer()
    path = folder / f"{hashlib.sha256(content).hexdigest()}{SUFFIX}"
    folders.write_bytes(path, content)
    try:
        shard = Shard(path, records.dtype)
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}") from error
    _verified[str(path)] = shard.stamp
    return shard
