"""Folders that exist only whole: written aside, hashed, flushed to the disk, then renamed. No torch here.

A kill at any moment leaves either the old folder or the new one, and at worst a folder named `.aside-*`, which `sweep` removes at
the next start. The reasons and the measurements behind the order of the steps are in docs/decisions/0004-whole-folders.md.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from zoo.errors import CheckpointError, OutputError

MANIFEST = "manifest.json"
_ASIDE = ".aside-"
_OLD = ".old-"


@contextlib.contextmanager
def whole(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill; on leaving, it becomes `target`, with a manifest of its files' sizes and sha256.

    Where the body raises, or anything cannot be written, nothing is left of it and `target` is as it was.
    Raises: OutputError if `target` exists (unless `replace`), or the disk refuses.
    """
    if target.exists() and not replace:
        raise OutputError(f"{target} exists; nothing of yours is overwritten: name another folder")
    aside = target.parent / f"{_ASIDE}{target.name}-{os.getpid()}"
    try:
        aside.mkdir(parents=True)
        yield aside
        _seal(aside)
        _put(aside, target)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(f"{target} cannot be written: {reason}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _seal(folder: Path) -> None:
    """Write the manifest; make every file readable as the umask says (safetensors writes 0600) and flush it to the disk."""
    umask = os.umask(0)
    os.umask(umask)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != MANIFEST]
    entries = {path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": sha256(path)} for path in files}
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    for path in (*files, manifest):
        path.chmod(0o666 & ~umask)
        _flush(path)
    for path in (*(child for child in folder.rglob("*") if child.is_dir()), folder):
        _flush(path)


def _put(aside: Path, target: Path) -> None:
    old = target.parent / f"{_OLD}{target.name}"
    if target.exists():
        shutil.rmtree(old, ignore_errors=True)
        target.rename(old)
    aside.rename(target)
    _flush(target.parent)
    shutil.rmtree(old, ignore_errors=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sweep(parent: Path) -> None:
    """Clear what killed writers left in `parent`; a folder that was about to be replaced and lost its successor comes back."""
    if not parent.is_dir():
        return
    for leftover in parent.glob(f"{_ASIDE}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for old in parent.glob(f"{_OLD}*"):
        target = parent / old.name.removeprefix(_OLD)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(target)


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of a folder whose files all have the size and sha256 it states.

    Raises: CheckpointError naming the first file that is missing, damaged, or not listed.
    """
    path = folder / MANIFEST
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder")
    try:
        entries: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        wanted = {name: (entry["size"], entry["sha256"]) for name, entry in entries.items()}
    except FileNotFoundError:
        raise CheckpointError(f"{folder}: incomplete, it has no {MANIFEST}; use another") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise CheckpointError(f"{path}: not a manifest; use another folder") from error
    for name, (size, digest) in wanted.items():
        file = folder / name
        if not file.is_file():
            raise CheckpointError(f"{file}: missing; use another folder")
        if file.stat().st_size != size or sha256(file) != digest:
            raise CheckpointError(f"{file}: damaged, its sha256 is not the one in {MANIFEST}; use another folder")
    return entries


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """As `write_bytes`, of a text in UTF-8."""
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Replace one file so that a kill leaves the old or the new one. Raises: OutputError."""
    aside = path.with_name(f"{_ASIDE}{path.name}-{os.getpid()}")
    try:
        aside.write_bytes(content)
        _flush(aside)
        aside.replace(path)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
