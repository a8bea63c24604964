"""Folders of images, or of audio clips: what is in them, by names alone. Nothing is opened here."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from natsort import natsort_keygen

from zoo.data.decoding import audio_files, image_files
from zoo.data.decoding.formats import RAW
from zoo.data.sets import ALL
from zoo.data.sources.row_values import split_of
from zoo.data.splits import checks
from zoo.errors import DataError
from zoo.folders import exists, is_folder, special
from zoo.types import Kind

FORM = "DIR/<class>/*.jpg (or *.wav), or DIR/{train,val,test}/<class>/*.jpg"
LAYOUT = f"expected {FORM}"

_SHOWN = 3
"""Names in a message."""

SUFFIXES: dict[Kind, Callable[[], frozenset[str]]] = {Kind.IMAGE: image_files.suffixes, Kind.AUDIO: audio_files.suffixes}
"""What gives the endings of the names of each kind of file (Pillow takes a moment to say them)."""


@dataclass(frozen=True)
class Listing:
    """The image files, or the audio clips, of a folder by split and class, in natural order of their names."""

    root: Path
    parts: dict[str, dict[str, list[str]]]
    """Split (or `ALL`), then class (NFC), then paths relative to `root`; a class folder without any is an empty list."""
    ignored: list[str] = field(default_factory=list)
    """Files that are neither images nor audio clips by their names, or lie outside class folders."""
    links: list[str] = field(default_factory=list)
    """Links to folders; they are not followed, as one to a parent would repeat every file."""
    special: list[tuple[str, str]] = field(default_factory=list)
    """What is not a file, and is never opened, since reading it may wait for ever; and what it is: `a pipe`, `a socket`, `a device`."""
    raw: list[str] = field(default_factory=list)
    """Camera raw files beside an image of their name, as which the camera (or its owner) has developed them."""
    kind: Kind = Kind.IMAGE
    """What its files are."""

    def only(self, part: str) -> Listing:
        """One part of it."""
        return replace(self, parts={part: self.parts[part]})


def list_folder(root: Path) -> Listing:
    """List `root/<class>/**` or `root/<split>/<class>/**`; hidden names and those that begin with `__` are passed over.

    Raises: DataError if the folder is missing, cannot be read, is not laid out so, or holds both images and audio clips.
    """
    if not is_folder(root):
        raise DataError(f"{root}: {'not a folder' if exists(root) else 'no such folder'}; {LAYOUT}")
    listing = Listing(root, {})
    folders = _folders(listing, root)
    roles = _roles(root, folders)
    for part, folder in sorted(roles.items(), key=lambda item: ("train", "val", "test").index(item[0])):
        listing.parts[part] = _classes(listing, _folders(listing, root / folder))
    if not roles:
        listing.parts[ALL] = _classes(listing, folders)
    if not any(listing.parts.values()):
        counts = [f"{len(loose)} {kind.nouns}" for kind in SUFFIXES if (loose := _of(kind, listing.ignored))]
        found = f"{' and '.join(counts)} but no class folders" if counts else "no class folders"
        raise DataError(f"{root}: {found}; {LAYOUT}" + _mention_links(listing))
    names = [name for by_class in listing.parts.values() for inside in by_class.values() for name in inside]
    return replace(listing, kind=_kind(root, names))


def check_layout(listing: Listing) -> None:
    """Check the class folders of data to train on, by names alone.

    Raises: DataError: no train folder; one class; a class without samples; a class that train has not.
    """
    trained = listing.parts.get("train", listing.parts.get(ALL))
    if trained is None:
        raise DataError(f"{listing.root}: there is {' and '.join(listing.parts)} but no train folder; {LAYOUT}")
    if len(trained) < 2:
        only = f"one class only ({', '.join(trained)})" if trained else "no class folders in train"
        linked = f"; links to folders are not followed: {', '.join(listing.links[:_SHOWN])}" if listing.links else ""
        raise DataError(f"{listing.root}: {only}; at least two are needed: {LAYOUT}{linked}")
    empty = [name for name, samples in trained.items() if not samples]
    if empty:
        where = listing.root if ALL in listing.parts else listing.root / "train"
        raise DataError(
            f"{where}: no {listing.kind.nouns} of the class {', '.join(empty[:_SHOWN])}; add some, or remove the folder"
        )
    for part, by_class in listing.parts.items():
        checks.check_known(
            f"{listing.root}/{part}", [name for name, samples in by_class.items() if samples], list(trained), "train"
        )


def find_files(paths: Iterable[str | os.PathLike[str]], kind: Kind) -> list[str]:
    """The paths with each folder replaced by the images (or audio clips) in it, at any depth, in natural order.

    A file is taken as it was named, whatever its ending. Raises: DataError if a path does not exist or a folder has none.
    """
    found: list[str] = []
    for path in map(Path, paths):
        if not is_folder(path):
            if not exists(path):
                raise DataError(f"{path}: no such file or folder")
            found.append(str(path))
            continue
        listing = Listing(path, {})
        named = _walk(listing, "")
        unread = [name for name, _ in listing.special]  # each is told as an input that cannot be read
        inside = _of(kind, _in_order([*named, *unread]) if unread else named)
        if not inside:
            raise DataError(f"{path}: no {kind.nouns} in this folder")
        found += [str(path / name) for name in inside]
    return found


def _of(kind: Kind, names: Iterable[str]) -> list[str]:
    known = SUFFIXES[kind]()
    return [name for name in names if _ending(name) in known]


def _ending(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - a tenth of the time of a Path


def _kind(root: Path, names: list[str]) -> Kind:
    """What the files are: images where there are none. Raises: DataError where there are some of each."""
    by_kind = {kind: found for kind in SUFFIXES if (found := _of(kind, names))}
    if len(by_kind) > 1:
        counts = " and ".join(f"{len(found):,} {kind.nouns} (such as {found[0]})" for kind, found in by_kind.items())
        raise DataError(f"{root}: {counts}; a model takes one of them: move the others away")
    return next(iter(by_kind), Kind.IMAGE)


def _roles(root: Path, folders: dict[str, str]) -> dict[str, str]:
    """Split to the folder that holds it; empty where the folders are classes. (A class may be called `train`: a vehicle.)"""
    by_role: dict[str, list[str]] = {}
    for name in folders.values():
        if role := split_of(name):
            by_role.setdefault(role, []).append(name)
    others = [name for name in folders.values() if split_of(name) is None]
    if others and len(by_role) < 2:
        return {}
    if others:
        raise DataError(f"{root}: split folders beside other folders ({', '.join(others[:3])}); {LAYOUT}")
    for role, names in by_role.items():
        if len(names) > 1:
            raise DataError(f"{root}: {' and '.join(names)} both mean {role}; keep one of them")
    return {role: names[0] for role, names in by_role.items()}


def _classes(listing: Listing, folders: dict[str, str]) -> dict[str, list[str]]:
    """Class name to its files. Raises: DataError if two folders have one name in two Unicode forms."""
    found: dict[str, list[str]] = {}
    for path, name in folders.items():
        normal = unicodedata.normalize("NFC", name)
        if normal in found:
            raise DataError(f"{listing.root}: two folders are called {normal!r}, in different Unicode forms; merge them")
        try:
            normal.encode()
        except UnicodeEncodeError:
            raise DataError(f"{listing.root}: the name of the folder {name!r} is not UTF-8; rename it") from None
        found[normal] = _developed(listing, _walk(listing, path))
    return found


def _developed(listing: Listing, names: list[str]) -> list[str]:
    """The names without the camera raw files that lie beside an image of the same name, which are noted."""
    raw = frozenset(RAW.split())
    shot = {name for name in names if _ending(name) in raw}
    if not shot:
        return names
    shown = {os.path.splitext(name)[0] for name in _of(Kind.IMAGE, names) if name not in shot}  # noqa: PTH122
    twice = {name for name in shot if os.path.splitext(name)[0] in shown}  # noqa: PTH122
    listing.raw.extend(name for name in names if name in twice)
    return [name for name in names if name not in twice]


def _walk(listing: Listing, folder: str) -> list[str]:
    """Images and audio clips at any depth under a folder, relative to the listing's root as the folder is, in natural order."""
    known = frozenset().union(*(suffixes() for suffixes in SUFFIXES.values()))
    found: list[str] = []
    waiting: list[tuple[str, tuple[str, ...]]] = [(folder, (str(listing.root),))]
    while waiting:
        folder, way = waiting.pop()
        for entry in _entries(listing.root / folder):
            relative = os.path.join(folder, entry.name)  # noqa: PTH118 - a tenth of the time of a Path
            if entry.is_dir(follow_symlinks=False):
                waiting.append((relative, way))
            elif _links_to_folder(entry):
                way_there = (*way, str(listing.root / folder))
                if _leads_back(entry, way_there):
                    listing.links.append(relative)
                else:
                    waiting.append((relative, way_there))
            elif what := _special(entry):
                listing.special.append((relative, what))
            elif _ending(entry.name) in known:
                found.append(relative)
            else:
                listing.ignored.append(relative)
    return _in_order(found)


def _folders(listing: Listing, folder: Path) -> dict[str, str]:
    """Folders directly inside (path relative to the root, name), in natural order; files beside them are noted as ignored."""
    found: dict[str, str] = {}
    for entry in _entries(folder):
        relative = os.path.relpath(entry.path, listing.root)
        linked = _links_to_folder(entry)
        if linked and _leads_back(entry, (str(folder),)):
            listing.links.append(relative)
        elif linked or entry.is_dir(follow_symlinks=False):
            found[relative] = entry.name
        elif what := _special(entry):
            listing.special.append((relative, what))
        else:
            listing.ignored.append(relative)
    return {relative: found[relative] for relative in _in_order(found)}


_natural = natsort_keygen()


def _in_order(names: Iterable[str]) -> list[str]:
    """In natural order; sorted first, since `1.jpg` and `01.jpg` are equal to natsort, and the disk's order is any."""
    return sorted(sorted(names), key=_natural)


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What is in a folder, but for `.ipynb_checkpoints`, `__MACOSX`, `._x.jpg` and their like."""
    try:
        with os.scandir(folder) as entries:
            yield from (entry for entry in entries if not entry.name.startswith((".", "__")))
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}") from error


def _links_to_folder(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and is_folder(entry.path)  # unlike the entry's own is_dir, this is False for a circle of links


def _special(entry: os.DirEntry[str]) -> str | None:
    """As `folders.special`; of a plain file, the disk is not asked again."""
    return None if entry.is_file(follow_symlinks=False) else special(entry.path)


def _leads_back(entry: os.DirEntry[str], way: Iterable[str]) -> bool:
    """Whether a link leads to one of these folders, or to one that they are in: whoever follows it never comes to an end."""
    target = os.path.realpath(entry.path)
    return any(os.path.commonpath((target, os.path.realpath(folder))) == target for folder in way)


def _mention_links(listing: Listing) -> str:
    return f" (links to folders that lead back are not followed: {', '.join(listing.links[:3])})" if listing.links else ""
