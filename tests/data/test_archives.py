"""Tar archives as WebDataset writes them: every member is read as what it is, or named; nothing in them is ever run."""

import io
import json
import pickle  # noqa: TID251 - what must never be read
import tarfile
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from zoo.config import DataConfig
from zoo.data import sources
from zoo.data.sets import Opened
from zoo.data.sources.source import Request
from zoo.errors import ConfigError, DataError
from zoo.inference import count, find
from zoo.types import Kind, Schema

RANDOM = np.random.default_rng(0)
Member = tuple[str, bytes]


def image(form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(RANDOM.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(stream, form)
    return stream.getvalue()


def sound() -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, RANDOM.uniform(-0.5, 0.5, 4000), 8000, format="WAV")
    return stream.getvalue()


def write(path: Path, members: Iterable[Member], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def images(count: int = 12, first: int = 0) -> list[Member]:
    """Two classes, two formats."""
    return [
        member
        for number in range(first, first + count)
        for member in ((f"{number:03d}.{'jpg' if number % 3 else 'png'}", image("JPEG" if number % 3 else "PNG")),
                       (f"{number:03d}.cls", str(number % 2).encode()))
    ]  # fmt: skip


def opened(spec: str | Path, kind: Kind | None = None, **options: Any) -> Opened:
    return sources.open_source(Request(DataConfig(data=str(spec), **options), kind=kind))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # that library leaves its files open
def test_what_webdataset_writes_is_read_as_it_reads_it(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import webdataset
    with webdataset.ShardWriter(f"{tmp_path}/shard-%03d.tar", maxcount=5, verbose=0) as writer:
        for number in range(12):
            pixels = RANDOM.integers(0, 256, (9, 12, 3), dtype=np.uint8)
            writer.write({"__key__": f"{number:06d}", "png": pixels, "cls": number % 3, "json": {"origin": f"camera {number}"}})
    names = sorted(map(str, tmp_path.glob("*.tar")))
    theirs = list(webdataset.WebDataset(names, shardshuffle=False).decode("rgb8"))
    ours = opened(f"{tmp_path}/shard-{{000..002}}.tar").parts["all"]
    assert len(ours) == len(theirs) == 12
    for index, sample in enumerate(theirs):
        assert np.array_equal(np.asarray(ours.item(index)), sample["png"])
        assert ours.target(index) == sample["cls"]
        assert sample["__key__"] in ours.name(index)


@pytest.mark.parametrize("ending", ["tar", "tar.gz", "tar.bz2", "tar.xz", "tgz"])
def test_compressed_or_not_it_is_the_same(tmp_path: Path, ending: str) -> None:
    members = images()
    plain = opened(write(tmp_path / "plain.tar", members)).parts["all"]
    mode = {"tar.gz": "w:gz", "tgz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}.get(ending, "w")
    other = opened(write(tmp_path / f"other.{ending}", members, mode)).parts["all"]
    assert plain.digests.tolist() == other.digests.tolist()
    assert plain.targets.tolist() == other.targets.tolist() == [0, 1] * 6


def test_a_folder_of_archives_has_the_splits_that_their_names_begin_with(tmp_path: Path) -> None:
    for place, name in enumerate(("train-0", "train-1", "val", "test_a")):
        write(tmp_path / f"{name}.tar", images(4, 4 * place))
    found = opened(tmp_path)
    assert {split: len(samples) for split, samples in found.parts.items()} == {"train": 8, "val": 4, "test": 4}
    only = sources.open_source(Request(DataConfig(data=str(tmp_path)), trainable=False, only=("test", "val")))
    assert [len(samples) for samples in only.parts.values()] == [4]
    write(tmp_path / "more.tar", images(4))
    with pytest.raises(DataError, match=r"more\.tar is beside archives of splits"):
        opened(tmp_path)


def test_texts_with_their_classes_in_json(tmp_path: Path) -> None:
    rows = [(f"a.b/{number}", f"text number {number}", "good" if number % 2 else "bad") for number in range(8)]
    members = [
        one
        for key, text, kind in rows
        for one in ((f"{key}.txt", text.encode()), (f"{key}.json", json.dumps({"rating": kind, "page": 3}).encode()))
    ]
    found = opened(write(tmp_path / "texts.tar", members), label="rating")
    assert found.kind is Kind.TEXT
    assert found.classes == ("bad", "good")
    assert [found.parts["all"].item(index) for index in range(8)] == [text for _, text, _ in rows]


def test_audio_clips(tmp_path: Path) -> None:
    members = [one for number in range(4) for one in ((f"{number}.wav", sound()), (f"{number}.cls", b"ab"[number % 2 :][:1]))]
    found = opened(write(tmp_path / "clips.tar", members))
    assert (found.kind, found.classes, len(found.parts["all"])) == (Kind.AUDIO, ("a", "b"), 4)


def test_two_images_a_sample_are_two_columns(tmp_path: Path) -> None:
    members = [
        one
        for number in range(4)
        for one in ((f"{number}.left.png", image()), (f"{number}.right.png", image()), (f"{number}.cls", b"01"[number % 2 :][:1]))
    ]
    path = write(tmp_path / "pairs.tar", members)
    with pytest.raises(ConfigError, match="left.png"):
        opened(path)
    found = opened(path, image="right.png").parts["all"]
    assert all("right.png" in found.name(index) for index in range(4))


class Trap:
    """What unpickling it would leave behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_other_members_are_named_and_never_decoded(tmp_path: Path) -> None:
    trap = pickle.dumps(Trap(tmp_path / "ran"))
    members = [*images(), ("011.pyd", trap), ("011.pth", trap), ("readme", b"hello"), (".hidden.cls", b"3")]
    found = opened(write(tmp_path / "odd.tar", members))
    assert len(found.parts["all"]) == 12
    (notice,) = [one for one in found.notices if "not read" in one]
    assert all(name in notice for name in ("011.pyd", "011.pth", "readme")), notice
    assert not (tmp_path / "ran").exists()


def test_links_and_devices_are_named_and_never_followed(tmp_path: Path) -> None:
    path = write(tmp_path / "links.tar", images())
    (tmp_path / "secret.png").write_bytes(image())
    with tarfile.open(path, "a") as archive:
        for name, form in (("012.png", tarfile.SYMTYPE), ("013.png", tarfile.LNKTYPE), ("014.png", tarfile.FIFOTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = form, str(tmp_path / "secret.png")
            archive.addfile(info)
    found = opened(path)
    assert len(found.parts["all"]) == 12
    (notice,) = [one for one in found.notices if "not read" in one]
    assert all(name in notice for name in ("012.png", "013.png", "014.png")), notice


def test_a_name_that_leads_out_of_the_folder_is_only_a_name(tmp_path: Path) -> None:
    members = [(f"../../../{tmp_path.name}/evil{number}.{end}", content) for number in range(4)
               for end, content in (("png", image()), ("cls", str(number % 2).encode()))]  # fmt: skip
    members += [(f"{tmp_path}/absolute.png", image()), (f"{tmp_path}/absolute.cls", b"1")]
    found = opened(write(tmp_path / "in" / "paths.tar", members)).parts["all"]
    assert len(found) == 5
    assert [path.name for path in tmp_path.rglob("*.png")] == []


@pytest.mark.parametrize("cut", [700, 1_300, 9_000])
@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_a_cut_archive_is_an_error_that_names_it(tmp_path: Path, mode: str, cut: int) -> None:
    path = write(tmp_path / "whole.tar", images(60), mode)
    assert path.stat().st_size > cut
    short = tmp_path / "short.tar"
    short.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"short\.tar: not a tar archive, damaged or cut off"):
        opened(short)


def test_samples_that_lack_something_are_left_out_by_name(tmp_path: Path) -> None:
    members = [
        *images(),
        ("012.cls", b"1"),
        ("013.png", image()),
        ("014.png", image()),
        ("014.jpg", image("JPEG")),
        ("014.cls", b"0"),
    ]
    path = write(tmp_path / "holes.tar", members)
    with pytest.raises(DataError, match="3 of 15 rows cannot be read"):
        opened(path)
    found = opened(path, max_unreadable=0.5)
    assert len(found.parts["all"]) == 12
    assert [line.partition(":")[0] for line in found.unreadable] == [f"holes.tar, {key}" for key in ("012", "013", "014")]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("missing.tar", "no such file"),
        ("empty.tar", "no samples"),
        ("text.tar", "not a tar archive"),
        ("{0..2}.tar", "0.tar: no such"),
    ],
)
def test_what_cannot_be_opened_says_so(tmp_path: Path, spec: str, said: str) -> None:
    write(tmp_path / "empty.tar", [])
    (tmp_path / "text.tar").write_text("hello")
    with pytest.raises(DataError, match=said) as error:
        opened(tmp_path / spec)
    assert "\n" not in str(error.value)


def test_prediction_needs_no_classes_and_unpacks_nothing(tmp_path: Path) -> None:
    members = [(name, content) for name, content in images() if not name.endswith("cls")]
    path = write(tmp_path / "new.tar", members)
    schema = Schema(inputs=("image",), labels=("cls",))
    found = list(find(Kind.IMAGE, [str(path)], schema=schema))
    assert [name for name, _ in found] == [f"new.tar, {number:03d}" for number in range(12)]
    assert [content for _, content in found] == [content for _, content in members]
    assert count(Kind.IMAGE, [str(path)]) == 12
    with pytest.raises(ConfigError, match="which column is the input"):
        list(find(Kind.TEXT, [str(path)]))
    texts = write(tmp_path / "texts.tar", [("1.txt", b"one"), ("2.txt", b" \n"), ("3.txt", "zwölf".encode("latin-1"))])
    first, *flawed = find(Kind.TEXT, [str(texts)])
    assert first == ("texts.tar, 1", "one")
    assert all(isinstance(one, DataError) and name in str(one) for name, one in flawed)


def test_braces_are_those_of_a_shell(tmp_path: Path) -> None:
    for name in ("a-08", "a-09", "a-10", "b-08", "b-09", "b-10"):
        write(tmp_path / f"{name}.tar", images(2))
    names = [name for name, _ in find(Kind.IMAGE, [f"{tmp_path}/{{a,b}}-{{08..10}}.tar"])]
    assert names[::2] == [f"{name}.tar, 000" for name in ("a-08", "a-09", "a-10", "b-08", "b-09", "b-10")]
