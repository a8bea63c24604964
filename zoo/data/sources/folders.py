"""Folders of pictures: what is in them, by names alone. Nothing is opened here."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from natsort import natsorted

from zoo.data.pictures import suffixes
from zoo.errors import DataError

ALL = "all"
"""The part that stands for everything, where a folder has no split folders."""
LAYOUT = "expected DIR/<class>/*.jpg, or DIR/{train,val,test}/<class>/*.jpg"

_SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


@dataclass(frozen=True)
class Listing:
    """The picture files of a folder by split and class, in natural order of their names."""

    root: Path
    parts: dict[str, dict[str, list[str]]]
    """Split (or `ALL`), then class (NFC), then paths relative to `root`; a class folder without pictures is an empty list."""
    ignored: list[str] = field(default_factory=list)
    """Files that are no pictures by their names, or lie outside class folders."""
    links: list[str] = field(default_factory=list)
    """Links to folders; they are not followed, as one to a parent would repeat every picture."""

    def only(self, part: str) -> Listing:
        """One part of it."""
        return Listing(self.root, {part: self.parts[part]}, self.ignored, self.links)


def list_folder(root: Path) -> Listing:
    """List `root/<class>/**` or `root/<split>/<class>/**`; hidden names and those that begin with `__` are passed over.

    Raises: DataError if the folder is missing, cannot be read, or is not laid out so.
    """
    if not root.is_dir():
        raise DataError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}; {LAYOUT}")
    listing = Listing(root, {})
    folders = _folders(listing, root)
    roles = _roles(root, folders)
    for part, folder in sorted(roles.items(), key=lambda item: ("train", "val", "test").index(item[0])):
        listing.parts[part] = _classes(listing, _folders(listing, root / folder))
    if not roles:
        listing.parts[ALL] = _classes(listing, folders)
    if not any(listing.parts.values()):
        loose = sum(Path(name).suffix.lower() in suffixes() for name in listing.ignored)
        found = f"{loose} pictures but no class folders" if loose else "no class folders"
        raise DataError(f"{root}: {found}; {LAYOUT}" + _mention_links(listing))
    return listing


def find_pictures(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """The paths with each folder replaced by the pictures in it, at any depth, in natural order.

    A file is taken as it was named, whatever its ending. Raises: DataError if a path does not exist or a folder has no pictures.
    """
    found: list[str] = []
    for path in map(Path, paths):
        if not path.is_dir():
            if not path.exists():
                raise DataError(f"{path}: no such file or folder")
            found.append(str(path))
            continue
        inside = _walk(Listing(path, {}), path)
        if not inside:
            raise DataError(f"{path}: no pictures in this folder")
        found += [str(path / name) for name in inside]
    return found


def _roles(root: Path, folders: dict[str, str]) -> dict[str, str]:
    """Split to the folder that holds it; empty where the folders are classes. (A class may be called `train`: a vehicle.)"""
    by_role: dict[str, list[str]] = {}
    for name in folders.values():
        if name.casefold() in _SPLITS:
            by_role.setdefault(_SPLITS[name.casefold()], []).append(name)
    others = [name for name in folders.values() if name.casefold() not in _SPLITS]
    if others and len(by_role) < 2:
        return {}
    if others:
        raise DataError(f"{root}: split folders beside other folders ({', '.join(others[:3])}); {LAYOUT}")
    for role, names in by_role.items():
        if len(names) > 1:
            raise DataError(f"{root}: {' and '.join(names)} both mean {role}; keep one of them")
    return {role: names[0] for role, names in by_role.items()}


def _classes(listing: Listing, folders: dict[str, str]) -> dict[str, list[str]]:
    """Class name to its pictures. Raises: DataError if two folders have one name in two Unicode forms."""
    found: dict[str, list[str]] = {}
    for path, name in folders.items():
        normal = unicodedata.normalize("NFC", name)
        if normal in found:
            raise DataError(f"{listing.root}: two folders are called {normal!r}, in different Unicode forms; merge them")
        try:
            normal.encode()
        except UnicodeEncodeError:
            raise DataError(f"{listing.root}: the name of the folder {name!r} is not UTF-8; rename it") from None
        found[normal] = _walk(listing, listing.root / path)
    return found


def _walk(listing: Listing, folder: Path) -> list[str]:
    """Pictures at any depth under a folder, relative to the listing's root, in natural order."""
    found: list[str] = []
    waiting = [folder]
    while waiting:
        for entry in _entries(waiting.pop()):
            relative = os.path.relpath(entry.path, listing.root)
            if entry.is_dir(follow_symlinks=False):
                waiting.append(Path(entry.path))
            elif _links_to_folder(entry):
                listing.links.append(relative)
            elif Path(entry.name).suffix.lower() in suffixes():
                found.append(relative)
            else:
                listing.ignored.append(relative)
    return natsorted(sorted(found))  # sorted first: `1.jpg` and `01.jpg` are equal to natsort, and the disk's order is any


def _folders(listing: Listing, folder: Path) -> dict[str, str]:
    """Folders directly inside (path relative to the root, name), in natural order; files beside them are noted as ignored."""
    found: dict[str, str] = {}
    for entry in _entries(folder):
        relative = os.path.relpath(entry.path, listing.root)
        if entry.is_dir(follow_symlinks=False):
            found[relative] = entry.name
        else:
            (listing.links if _links_to_folder(entry) else listing.ignored).append(relative)
    return {relative: found[relative] for relative in natsorted(sorted(found))}


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What is in a folder, but for `.ipynb_checkpoints`, `__MACOSX`, `._x.jpg` and their like."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith((".", "__")))
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from error


def _links_to_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and Path(entry.path).is_dir()  # unlike the entry's own is_dir, this is False for a circle of links


def _mention_links(listing: Listing) -> str:
    return f" (links to folders are not followed: {', '.join(listing.links[:3])})" if listing.links else ""
