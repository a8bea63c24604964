"""Files of samples, read whole; which formats of image files are read, and what is said of a file in another.

Pillow decodes. Formats that it does not know are named with what to do; HEIF is read where its plug-in `pillow-heif` is installed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import io
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

from PIL import Image

from zoo.data.decoding import headers

_NOT_DECODED = frozenset({"BUFR", "GRIB", "HDF5", "MPEG", "EPS", "WMF"})
"""Formats that Pillow recognises and cannot decode by itself; for EPS and WMF it would run another program on the file."""
_FREQUENT = frozenset({"JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"})
RAW = ".3fr .arw .cr2 .cr3 .crw .dcr .dng .erf .iiq .kdc .mef .mos .mrw .nef .nrw .orf .pef .raf .rw2 .sr2 .srf .srw .x3f"  # fmt: skip
"""Endings of the names of camera raw files."""
_BUILD = "this build of Pillow cannot read it: save it as PNG or JPEG"
_REGISTERING = threading.Lock()
Look = Callable[[IO[bytes], int], None]
"""What is given an open file and its size before it is read, and raises where it should not be."""
_REPLACED = "replaced since it was checked; start again (after `zoo cache clear checked` if its time of change was set back)"


@dataclass(frozen=True)
class Unread:
    """A format that Pillow does not read by itself."""

    what: str
    remedy: str
    starts: tuple[tuple[int, bytes], ...]
    """Any of these bytes at any of these places says that a file has the format."""
    endings: str = ""
    """Of names whose files are images: listed among the samples, so that they are named and not passed over."""
    format: str = ""
    """Pillow's name of the format, where some builds or plug-ins read it."""


_UNREAD = (
    Unread(
        "an HEIF image (HEIC)",
        "it is read by a plug-in: pip install 'zoo-finetune[heif]', or save it as JPEG",
        tuple((4, b"ftyp" + brand) for brand in (b"hei", b"hev", b"mif1", b"msf1")),
        ".heic .heif .hif",
        "HEIF",
    ),
    Unread("an AVIF image", _BUILD, ((4, b"ftypavi"),), ".avif", "AVIF"),
    Unread("a WebP image", _BUILD, ((8, b"WEBP"),), ".webp", "WEBP"),
    Unread(
        "a JPEG XL image",
        "save it as PNG or JPEG",
        ((0, b"\xff\x0a"), (0, b"\0\0\0\x0cJXL ")),
        ".jxl",
    ),
    Unread(
        "a camera raw file",
        "develop it to JPEG or TIFF",
        (
            (8, b"CR\x02"),
            (4, b"ftypcrx"),
            (6, b"HEAPCCDR"),
            (0, b"FUJIFILMCCD-RAW"),
            (0, b"IIRO"),
            (0, b"IIRS"),
            (0, b"MMOR"),
            (0, b"IIU\0"),
            (0, b"FOVb"),
            (0, b"\0MRM"),
        ),
        RAW,
    ),
    Unread("a JPEG XR image", "save it as PNG or JPEG", ((0, b"II\xbc"),), ".jxr .wdp .hdp"),
    Unread("an OpenEXR image", "save it with 8 or 16 bits a channel", ((0, b"v/1\x01"),), ".exr"),
    Unread("a Radiance image", "save it with 8 or 16 bits a channel", ((0, b"#?R"),)),
    Unread("a DICOM file", "save its image as PNG of 16 bits", ((128, b"DICM"),), ".dcm .dicom"),
    Unread("a film", "save its frames as images", ((4, b"ftyp"), (0, b"\x1aE\xdf\xa3"), (8, b"AVI "))),
    Unread("a PDF", "save its pages as images", ((0, b"%PDF"),)),
    Unread("a PostScript file", "save its pages as images", ((0, b"%!PS"), (0, b"\xc5\xd0\xd3\xc6"))),
    Unread("a NumPy array", "save it as PNG, or give the arrays in Python", ((0, b"\x93NUMPY"),)),
    Unread("a compressed file", "unpack it", ((0, b"PK\3\4"), (0, b"\x1f\x8b"), (0, b"BZh"), (0, b"\xfd7zXZ"), (0, b"7z\xbc"))),
    Unread("a pointer of Git LFS", "fetch the file itself with `git lfs pull`", ((0, b"version https://git-lfs"),)),
)
"""The first that a file's beginning fits is said."""


@cache
def _registered() -> dict[str, str]:
    """Ending to Pillow's name of the format, once its plug-ins and that for HEIF are there."""
    with _REGISTERING:
        Image.init()
        headers.hush_libtiff()
        logging.getLogger("PIL").addHandler(logging.NullHandler())  # as libtiff's, its lines name no file
        if importlib.util.find_spec("pillow_heif"):
            importlib.import_module("pillow_heif").register_heif_opener()
        return dict(Image.registered_extensions())


@cache
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read; a file is tried by each in turn, so those that most files have come first."""
    _registered()
    read = [name for name in Image.ID if name in Image.OPEN and name not in _NOT_DECODED]
    return tuple(sorted(read, key=lambda name: name not in _FREQUENT))


@cache
def suffixes() -> frozenset[str]:
    """Endings of the names of image files, in lower case, with their dot; those that cannot be read here are among them."""
    read = (ending for ending, name in _registered().items() if name in formats())
    return frozenset(read).union(*(one.endings.split() for one in _UNREAD))


def why_not(content: bytes) -> str:
    """Why a file is not read, of which Pillow knows no format: what it is, as far as its bytes tell, and what to do."""
    read = frozenset(_registered().values())
    for one in _UNREAD:
        if any(content.startswith(start, place) for place, start in one.starts):
            return _of_format(one.format, content) if one.format in read else f"{one.what}; {one.remedy}"
    beginning = content[:1024].lstrip().lower()
    if not content[:4096].strip(b"\0"):
        return "not an image: it begins with zeros alone, as a file that was not written does; copy it again"
    if beginning.startswith((b"<!doctype html", b"<html")):
        return "not an image but a web page; download the image itself"
    if b"<svg" in beginning:
        return "not an image of pixels but an SVG drawing; save it as PNG"
    for name in formats():
        accept = Image.OPEN[name][1]
        if accept is not None and accept(content[:16]) is True:
            return _of_format(name, content)
    return "not an image in a format that can be read"


def _of_format(name: str, content: bytes) -> str:
    """What is wrong with a file that begins as this format does."""
    try:
        Image.OPEN[name][0](io.BytesIO(content), "")
    except Exception as error:
        reason = str(error) or type(error).__name__
        if name == "TIFF" and (reason == "unknown pixel mode" or reason.isdecimal()):  # the number of an unknown compression
            return f"{headers.described_tiff(content)}; save it with 8 or 16 bits a channel, uncompressed or by LZW or Deflate"
        if name == "PSD" and reason.startswith("("):  # Photoshop's colour mode and bits
            return "a Photoshop file of a colour mode or depth that cannot be read; save it in RGB with 8 bits a channel"
        return f"begins as a {name} file and cannot be read: {reason}"
    return f"begins as a {name} file and cannot be read"


def read_file(path: Path, sha256: str = "", look: Look | None = None) -> bytes:
    """All bytes of a regular file; of anything else (a folder, a pipe that would never end), or nothing, a ValueError or OSError.

    Args:
        sha256: what they had when the file was checked; a ValueError if they have another now, since everything that is computed is kept
            under it. Empty: it was not checked.
        look: what looks at the file's size and beginning first, so that what is too large, or no sample at all, takes no memory.

    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a file")
    with path.open("rb", buffering=0) as file:
        if look is not None:
            look(file, os.fstat(file.fileno()).st_size)
            file.seek(0)
        content = file.readall()
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(_REPLACED)
    if not content:
        raise ValueError("an empty file")
    return content


@contextlib.contextmanager
def opened_file(path: Path, sha256: str = "") -> Iterator[tuple[IO[bytes], str]]:
    """A file to be read from its beginning, and the sha256 of its bytes, of which none are kept.

    Raises: as `read_file`; on leaving, ValueError if it was written to meanwhile: what was read may be other than what has the digest.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a file")
    with path.open("rb") as file:
        before = _version(file)
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 and found != sha256:
            raise ValueError(_REPLACED)
        if not file.tell():
            raise ValueError("an empty file")
        file.seek(0)
        yield file, found
        if _version(file) != before:
            raise ValueError(_REPLACED)


def _version(file: IO[bytes]) -> tuple[int, int]:
    """What changes when an open file is written to: its size and time of change."""
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns
