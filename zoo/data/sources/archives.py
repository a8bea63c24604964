"""Tar archives of samples, as WebDataset writes them: `00042.jpg` and `00042.cls` are one sample, and each ending is a column.

    zoo finetune ... --data shards.tar                           one archive
    zoo finetune ... --data 'shards-{000..011}.tar'              several, by a range or a list in braces
    zoo finetune ... --data shards/                              a folder of them, where names begin with train, val or test by split

Images (`.jpg`, `.png`, ...), audio clips (`.wav`, `.flac`, ...), texts (`.txt`), classes (`.cls`) and the keys of `.json` are read. Members
of any other form are named and never decoded: WebDataset itself unpickles `.pyd` and `.pth`.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import re
import tarfile
import zlib
from collections.abc import Callable, Collection, Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import Any

from zoo import cache
from zoo.data.notices import Notice, NoticeEntry
from zoo.data.sets import Opened, TextSet
from zoo.data.sources.class_folders.listing import SUFFIXES
from zoo.data.sources.row_values import Chosen, split_of
from zoo.data.sources.source import Named, Request, Row, Source, Values
from zoo.data.sources.tables.columns import Columns, choose
from zoo.data.sources.tables.gathering import gather, take_inputs
from zoo.data.sources.tables.sample_sets import columns, from_table
from zoo.errors import ConfigError, DataError, OutputError
from zoo.folders import exists, expanded, is_folder, special
from zoo.types import Kind, Schema

log = logging.getLogger("zoo")

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
TEXT, CLASS, _FIELDS = "txt", "cls", "json"
"""Endings, as WebDataset has them, and columns, but that the keys of `json` are columns themselves. Images are the column `image` and audio
clips `audio`, as each sample may have another format."""
_SAMPLE = 200
"""Samples from which columns are told."""
_BRACES = re.compile(r"\{([^{}]*)\}")
_KEY = re.compile(r"((?:.*/)?[^./]+)\.([^/]+)$")
"""A member's key and ending: all before, and all behind, the first dot of its name."""


class Archives(Source):
    """Claims files, whether they are there or not, by the endings of their names, and folders that have such files at their top."""

    spelling = "a WebDataset (shards.tar, 'shards-{000..011}.tar')"
    columns = True

    def claims(self, spec: str, is_folder: bool) -> bool:
        return bool(_inside(expanded(spec))) if is_folder else spec.lower().endswith(ENDINGS)

    def exists(self, spec: str) -> bool:
        return all(map(exists, _shards(spec)))

    def open(self, request: Request) -> Opened:
        options, spec = request.options, request.spec
        parts, chosen = self._parts(request, labelled=True)
        if request.only and len(parts) > 1:
            parts = [next((part for name in request.only for part in parts if part.split == name), parts[0])]
        table = gather(
            spec,
            parts,
            chosen,
            task=None if options.task == "auto" else options.task,
            max_unreadable=options.max_unreadable,
            on_disk=options.streaming,
            trainable=request.trainable,
        )
        return from_table(table, f"WebDataset {spec}", parts[0].folder, TextSet, options, title=Path(spec).name)

    def inputs(self, request: Request) -> Iterator[Named]:
        """The samples in their order, each under the name of its member."""
        parts, chosen = self._parts(request, labelled=False)
        kind = request.kind or Kind.TEXT
        if chosen.kind is not kind:
            raise DataError(f"{request.spec}: no column of {kind.nouns} is found, which the model takes; name it with --column")
        if chosen.notice:
            log.warning("%s: %s", request.spec, chosen.notice)
        for part in parts:
            for sample in part.samples():
                name = f"{sample.path.name}, {sample.key}"
                try:
                    yield name, _input(chosen, sample.values(lambda member, content: content, chosen.inputs))
                except DataError as error:
                    yield name, DataError(f"{name}: {error}")

    def count(self, request: Request) -> int:
        return sum(1 for shard in _shards(request.spec) for _ in _samples(shard))

    def files(self, request: Request) -> list[Path]:
        return _shards(request.spec)

    def _parts(self, request: Request, *, labelled: bool) -> tuple[list[ArchiveRows], Chosen]:
        """The shards by split, and which of their columns are what. Raises: DataError, ConfigError, UnknownName."""
        shards = _shards(request.spec)
        missing = [path for path in shards if not exists(path)]
        if missing:
            raise DataError(f"{missing[0]}: no such file")
        by_split: dict[str | None, list[Path]] = {}
        for path in shards:
            by_split.setdefault(_split_of(path), []).append(path)
        if len(by_split) > 1 and None in by_split:
            raise DataError(
                f"{request.spec}: {by_split[None][0].name} is beside archives of splits; begin its name with train, val or test too"
            )
        folder = cache.passing()
        single = len(by_split) == 1
        order = [split for split in (None, "train", "val", "test") if split in by_split]
        parts = [ArchiveRows(by_split[split], folder, None if single else split) for split in order]
        sample = list(itertools.islice(parts[0].look(), _SAMPLE))
        asked = _told(request, sample, columns(request.options), labelled)
        chosen = choose(
            request.spec, sample, asked, labelled=labelled, kind=request.kind, schema=_known(request.schema), header=False
        )
        return parts, chosen


def _known(schema: Schema | None) -> Schema | None:
    return schema if schema and schema.inputs else None


def _told(request: Request, sample: list[Values], asked: Columns, labelled: bool) -> Columns:
    """What was asked for, and where that leaves it open, the columns of images, audio clips and classes."""
    if not sample:
        raise DataError(f"{request.spec}: no samples; expected members such as 00042.jpg and 00042.cls")
    names = dict.fromkeys(name for values in sample for name in values)
    changes: dict[str, Any] = {}
    if not asked.inputs:
        media = [kind for kind in (Kind.IMAGE, Kind.AUDIO) if kind.value in names and request.kind in (None, kind)]
        if len(media) > 1:
            raise ConfigError(f"{request.spec}: both images and audio clips could be meant; say --image image or --audio audio")
        if media:
            changes[media[0].value] = media[0].value
    if labelled and asked.label is None and CLASS in names and not (request.schema and request.schema.labels):
        changes["label"] = (CLASS,)
    return Columns(**(vars(asked) | changes))


def _shards(spec: str) -> list[Path]:
    """The archives that a name stands for, in their order."""
    path = expanded(spec)
    return _inside(path) if is_folder(path) else [expanded(one) for one in _expand(spec)]


def _inside(folder: Path) -> list[Path]:
    """The archives at the top of a folder; none where it cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.name.lower().endswith(ENDINGS) and not path.name.startswith("."))
    except OSError:
        return []


def _expand(spec: str) -> list[str]:
    """A name with braces as all names that it stands for, as a shell expands them: `{000..011}`, `{train,val}`."""
    found = _BRACES.search(spec)
    if found is None:
        return [spec]
    bounds = re.fullmatch(r"(\d+)\.\.(\d+)", found[1])
    inside = found[1].split(",")
    if bounds:
        first, last = bounds.groups()
        width = len(first) if first.startswith("0") else 0
        inside = [f"{number:0{width}}" for number in range(int(first), int(last) + 1)]
    return [whole for one in inside for whole in _expand(spec[: found.start()] + one + spec[found.end() :])]


def _split_of(path: Path) -> str | None:
    """The split that the name of an archive begins with."""
    return split_of(re.split(r"[-_.]", path.name.lower())[0])


@dataclass
class ArchiveRows:
    """The samples of the archives of a split as rows. Images and audio clips are unpacked into a passing folder, as they are read."""

    paths: list[Path]
    folder: Path
    split: str | None = None
    typed: bool = field(default=True, init=False)
    _keys: list[str] = field(default_factory=list, init=False)

    def read(self, only: Collection[str] | None = None, notices: list[str] | None = None) -> Iterator[Row]:
        """The samples, numbered from 1 through all archives; in place of an image or an audio clip, its file's name in the folder."""
        self._keys.clear()
        unread: list[NoticeEntry] = []
        for sample in itertools.chain.from_iterable(map(_keys, self.paths)):
            unread += [NoticeEntry(f"{sample.path.name}, {member}", split=self.split or "") for member in sample.unread]
            if sample.is_one:
                self._keys.append(f"{sample.path.name}, {sample.key}")
                number = len(self._keys)
                try:
                    yield number, sample.values(partial(_unpack, self.folder, sample.path), only)
                except DataError as error:
                    yield number, self.bad(number, str(error))
        if notices is not None and unread:
            before = f"{len(unread):,} members are of forms that are not read: "
            notices.append(Notice.naming(before, unread, what="file", why="a form that is not read", done="left out"))

    def samples(self) -> Iterator[_Sample]:
        """Those of all archives, one after another."""
        return itertools.chain.from_iterable(map(_samples, self.paths))

    def look(self) -> Iterator[Values]:
        """As `read`, with nothing unpacked: a name stands for each file, and what cannot be read is passed over."""
        for sample in self.samples():
            with contextlib.suppress(DataError):
                yield sample.values(lambda member, content: member.name, None)

    def name(self, number: int) -> str:
        """`train-000.tar, 00042`."""
        return self._keys[number - 1]

    def bad(self, number: int, reason: str) -> DataError:
        """`train-000.tar, 00042: reason`."""
        return DataError(f"{self.name(number)}: {' '.join(reason.split())}")


Put = Callable[[tarfile.TarInfo, bytes], Any]
"""What becomes of a file: of its member and its content."""


def _unpack(folder: Path, archive: Path, member: tarfile.TarInfo, content: bytes) -> str:
    """The name, in the passing folder, of a new file with a member's content; no other name than inside that folder is ever written."""
    name = PurePosixPath(member.name)
    safe = not name.is_absolute() and ".." not in name.parts
    target = folder / archive.name / (name if safe else f"{member.offset}{name.suffix}")
    if target.exists():  # two archives of one name in two folders, or a key that comes twice
        target = target.with_name(f"{member.offset} {target.name}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{archive}: its samples cannot be unpacked into {folder}: {error.strerror}; make room") from error
    return str(target.relative_to(folder))


@dataclass
class _Sample:
    """The members of one key, which stand one after another."""

    path: Path
    key: str
    archive: tarfile.TarFile
    members: dict[str, tarfile.TarInfo] = field(default_factory=dict)
    """By column."""
    unread: list[str] = field(default_factory=list)
    fault: str = ""
    contents: dict[str, bytes] = field(default_factory=dict)
    """By column, where they had to be read in passing."""

    @property
    def is_one(self) -> bool:
        """Whether any of its members is read."""
        return bool(self.members or self.fault)

    def values(self, put: Put, only: Collection[str] | None) -> Values:
        """The sample as a row. put: gives what stands for an image or an audio clip. only: these columns. Raises: DataError."""
        if self.fault:
            raise DataError(self.fault)
        found: Values = {}
        for column, member in self.members.items():
            if only is not None and column not in (*only, _FIELDS):
                continue
            content = self._content(column, member)
            if column == _FIELDS:
                found = _fields(member, content) | found
            elif _medium(column) is None:
                found[column] = _text(content, number=column == CLASS)
            else:
                found[column] = put(member, content)
        return found

    def read_now(self, column: str, member: tarfile.TarInfo) -> None:
        """Read a member in passing: going back in a compressed archive means to decompress it again from its beginning."""
        self.contents[column] = self._content(column, member)

    def _content(self, column: str, member: tarfile.TarInfo) -> bytes:
        if column in self.contents:
            return self.contents[column]
        stream = self.archive.extractfile(member)
        return b"" if stream is None else stream.read()


def _fields(member: tarfile.TarInfo, content: bytes) -> Values:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{member.name} is not JSON: {error}") from error
    return {str(name): one for name, one in value.items()} if isinstance(value, dict) else {_FIELDS: value}


def _input(chosen: Chosen, values: Values) -> Any:
    """What the model takes. Raises: DataError."""
    if chosen.kind is not Kind.TEXT:
        found = values.get(chosen.inputs[0])
        if not isinstance(found, bytes):
            raise DataError(f"no {chosen.inputs[0]}")
        return found
    texts = take_inputs(chosen, values, Path())
    return texts[0] if len(texts) == 1 else texts


def _samples(path: Path) -> Iterator[_Sample]:
    """The samples of an archive. Raises: as `_keys`."""
    return (sample for sample in _keys(path) if sample.is_one)


def _keys(path: Path) -> Generator[_Sample]:
    """What stands under each key of an archive. Raises: DataError, at once or later, for one that is missing, damaged or cut off."""
    if what := special(path):
        raise DataError(f"{path}: {what}, not a file; write what it gives into a file first")
    try:
        with tarfile.open(path) as archive:
            plain = isinstance(archive.fileobj, io.BufferedReader)
            yield from _grouped(path, archive, plain)
            if plain and path.stat().st_size % tarfile.BLOCKSIZE:
                raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, EOFError, zlib.error, LZMAError) as error:
        reason = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
        raise DataError(f"{path}: not a tar archive, damaged or cut off ({reason}); fetch it again") from error
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error


def _grouped(path: Path, archive: tarfile.TarFile, plain: bool) -> Iterator[_Sample]:
    """plain: the archive is not compressed, so that members can be read in any order."""
    sample: _Sample | None = None
    for member in archive:
        if member.isdir() or PurePosixPath(member.name).name.startswith((".", "__")):
            continue
        found = _KEY.fullmatch(member.name)
        key, ending = (found[1], found[2].lower()) if found else (member.name, "")
        if sample is None or key != sample.key:
            if sample is not None:
                yield sample
            sample = _Sample(path, key, archive)
        column = _column(ending) if member.isfile() else None  # links and devices are named, never followed
        if column is None:
            sample.unread.append(member.name)
        elif column in sample.members:
            sample.fault = f"two members are {column}: {sample.members[column].name} and {member.name}"
        else:
            sample.members[column] = member
            if not plain:
                sample.read_now(column, member)
    if sample is not None:
        yield sample


def _column(ending: str) -> str | None:
    """The column of members with this ending; None: they are not read. Of `left.jpg`, an image beside others, it is the whole."""
    if ending in (CLASS, TEXT, "text", _FIELDS):
        return TEXT if ending == "text" else ending
    kind = _medium(ending)
    return None if kind is None else ending if "." in ending else kind.value


def _medium(column: str) -> Kind | None:
    """Whether a column is of images or of audio clips."""
    if column in (Kind.IMAGE.value, Kind.AUDIO.value):
        return Kind(column)
    ending = f".{column.rpartition('.')[2]}"
    return next((kind for kind, suffixes in SUFFIXES.items() if ending in suffixes()), None)


def _text(content: bytes, *, number: bool) -> Any:
    """What stands in a member: a text, or of a class its number, or its name."""
    text = content.decode(errors="surrogateescape")
    bare = text.strip()
    return int(bare) if number and re.fullmatch(r"-?\d{1,18}", bare) else bare if number else text.removesuffix("\n")


SOURCE = Archives()
