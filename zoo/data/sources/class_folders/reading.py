"""Read every file of a listing once: its digest, and whether it decodes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from zoo.data.decoding.audio_files import CheckedAudio, check_audio
from zoo.data.decoding.image_files import Checked, check_file
from zoo.data.decoding.pixel_values import FULL, depth_of, too_bright
from zoo.data.notices import Notice, NoticeEntry, first
from zoo.data.sets import ALL, DIGEST, AudioFiles, FileSet, Integers, Opened, SampleSet
from zoo.data.sources.class_folders.file_checks import Known, check_all
from zoo.data.sources.class_folders.listing import Listing
from zoo.data.targets import Targets
from zoo.errors import DataError, escaped
from zoo.types import Kind, Labels

_SMALL = 8
"""Pixels; a side shorter than this is worth a word (reliability measurements, section on bad input)."""
_SHORT = 0.025
"""Seconds that a frame of every network hears; a shorter audio clip is filled up with silence."""
_DARK = 14
"""Bits of 16 that colours use at most for them to become dark."""


def read_listing(listing: Listing, max_unreadable: float, place: Path | None = None, bit_depth: int | None = None) -> Opened:
    """Check every file that was not checked before.

    Args:
        max_unreadable: share of the files that may be left out, 0 to 1.
        place: the cache, which remembers what was checked; None: everything is.
        bit_depth: of 16-bit images; None: what their values need.

    Raises: DataError if more cannot be read, naming the first.
    """
    classes = Labels.sort(name for part in listing.parts.values() for name in part).names
    places = {one: place for place, one in enumerate(classes)}
    rows = [
        (part, places[one], name)
        for part, by_class in listing.parts.items()
        for one in sorted(by_class, key=places.__getitem__)
        for name in by_class[one]
    ]
    names = [row[2] for row in rows]
    results, unreadable = read_files(listing.root, names, listing.kind, max_unreadable, place, bit_depth)
    depth = bit_depth_of(results, bit_depth)
    targets = np.array([row[1] for row in rows], dtype=np.int64)
    parts: dict[str, SampleSet] = {}
    for part in listing.parts:
        own = [index for index, row in enumerate(rows) if row[0] == part]
        parts[part] = file_set(listing.root, listing.kind, own, names, results, targets, depth)
    splits = {name: part for part, _, name in rows if part != ALL}
    notices = file_notices(listing.kind, names, results, depth, splits) + _outside(listing)
    ignored = len(listing.ignored) + len(listing.special) + len(listing.links) + len(listing.raw)
    description = f"folder {listing.root}"
    return Opened(description, "unknown", classes, parts, unreadable, ignored, notices, kind=listing.kind, bit_depth=depth)


def read_files(
    root: Path, names: list[str], kind: Kind, max_unreadable: float, place: Path | None, bit_depth: int | None = None
) -> tuple[list[Known | DataError], list[str]]:
    """What is known of each file under `root`, or why it cannot be read; and these reasons alone, `name: reason`.

    Raises: DataError if more than the share cannot be read, naming the first.
    """
    check = check_file if kind is Kind.IMAGE else check_audio

    def tried(name: str) -> Known | DataError:
        try:
            return check(root / name, name)
        except DataError as error:
            return error

    results = check_all(root, names, tried, place, kind)
    if bit_depth is not None:
        results = [_fitting(name, one, bit_depth) for name, one in zip(names, results, strict=True)]
    unreadable = [str(result) for result in results if isinstance(result, DataError)]
    if len(unreadable) > max_unreadable * len(names):
        share = (
            f"{len(unreadable):,} of {len(names):,} {kind.nouns} cannot be read, more than --max-unreadable {max_unreadable:.2%}"
        )
        raise DataError(f"{root}: {share}: {first(unreadable)}")
    return results, unreadable


def file_set(
    root: Path,
    kind: Kind,
    rows: Iterable[int],
    names: Sequence[str],
    results: Sequence[Known | DataError],
    targets: Targets,
    bit_depth: int | None = None,
    groups: Integers | None = None,
) -> SampleSet:
    """The files at these places of `names` that can be read."""
    kept = [(index, found) for index in rows if not isinstance(found := results[index], DataError)]
    places = np.array([index for index, _ in kept], dtype=np.int64)
    common: dict[str, Any] = {
        "root": root,
        "groups": None if groups is None else groups[places],
        "names": np.array([os.fsencode(names[index]) for index, _ in kept], dtype=np.bytes_),
        "targets": targets[places],
        "digests": np.array([found.sha256 for _, found in kept], dtype=DIGEST),
    }
    if kind is Kind.IMAGE:
        return FileSet(**common, bit_depth=bit_depth)
    clips = [(round(1000 * found.seconds), found.rate, found.channels) for _, found in kept if isinstance(found, CheckedAudio)]
    milliseconds, rates, channels = np.array(clips, dtype=np.int64).reshape(-1, 3).T
    return AudioFiles(**common, milliseconds=milliseconds, rates=rates, channels=channels)


def bit_depth_of(results: Iterable[Known | DataError], asked: int | None) -> int | None:
    """Bits that the 16-bit values of a set of images use: as was asked, else as few as hold them all; None where there are no such
    images. Never decided image by image, which would take away what tells a dark one from a bright one."""
    found = [one.bits for one in results if isinstance(one, Checked) and one.bits and not one.upper]
    return asked or (depth_of(max(found)) if found else None)


def _fitting(name: str, found: Known | DataError, bit_depth: int) -> Known | DataError:
    """What is known of a file; an error where its values do not fit into so many bits."""
    if isinstance(found, Checked) and found.bits > bit_depth and not found.upper:
        return DataError(f"{name}: {too_bright((1 << found.bits) - 1, bit_depth)}; give a larger --bit-depth, or leave it out")
    return found


def file_notices(
    kind: Kind,
    names: Sequence[str],
    results: Sequence[Known | DataError],
    bit_depth: int | None = None,
    splits: Mapping[str, str] | None = None,
) -> list[str]:
    """What a person should know of the files: a line each. splits: those of the files, by name, where their names do not say it."""
    found = list(zip(names, results, strict=True))
    images = [(name, one) for name, one in found if isinstance(one, Checked)]
    clips = [(name, one) for name, one in found if isinstance(one, CheckedAudio)]
    bad = [(name, f": {_reason(name, one)}") for name, one in found if isinstance(one, DataError)]
    some: list[tuple[Sequence[tuple[str, Any]], str, str, str]] = [
        (bad, "cannot be read", " and left out", "left out"),
        (
            [one for one in images if min(one[1].width, one[1].height) < _SMALL],
            f"with a side under {_SMALL} pixels",
            "",
            "kept",
        ),
        ([one for one in images if one[1].animated], "of several frames", f", of which {_FRAME}", _FRAME),
        ([one for one in images if one[1].bands], f"with {_BANDS}", ", which are left out", "these bands are left out"),
        (
            [one for one in clips if one[1].channels > 1 and not one[1].cancels],
            "of several channels",
            ", which are averaged",
            "averaged",
        ),
        ([one for one in clips if one[1].cancels], "whose channels cancel each other", f", so that {_LOUDEST}", _LOUDEST),
        ([one for one in clips if one[1].broken], f"that {_BROKEN}", ", so that some of them may be missing", "kept"),
        ([one for one in clips if one[1].silent], "in which nothing is heard", "", "kept"),
        ([one for one in clips if one[1].seconds < _SHORT], f"shorter than {_SHORT} seconds", "", "kept"),
    ]
    known = splits or {}
    notices: list[str] = []
    for those, why, rest, done in some:
        entries = [NoticeEntry(name, one if isinstance(one, str) else "", known.get(name, "")) for name, one in those]
        if entries:
            before = f"{len(entries):,} {kind.nouns} {why}{rest}: "
            notices.append(Notice.naming(before, entries, what="file", why=why, done=done))
    return notices + _depths(images, bit_depth, known) + _lengths_and_rates([one for _, one in clips])


_FRAME, _LOUDEST = "only the first is used", "the loudest is used"
_BROKEN = "end in the middle of a frame and do not say how long they are"
_BANDS = "bands beyond red, green, blue and transparency"


def _reason(name: str, error: DataError) -> str:
    """Why a file cannot be read, without its name."""
    return str(error).removeprefix(f"{escaped(name)}: ")


def _depths(images: list[tuple[str, Checked]], bit_depth: int | None, splits: Mapping[str, str]) -> list[str]:
    """What becomes of 16 bits a channel, where not all of them are used."""
    grey = [(name, one.bits) for name, one in images if one.bits and not one.upper]
    colour = [(name, one.bits) for name, one in images if one.upper]
    notices: list[str] = []
    if grey and bit_depth is not None:
        few = depth_of(max(1, round(median(bits for _, bits in grey))))
        if bit_depth < FULL:
            scaled = f"their values from 0 to {(1 << bit_depth) - 1:,} become 0 to 255"
            notices.append(f"{len(grey):,} images of 16 bits are read as of {bit_depth} bits (--bit-depth): {scaled}")
        if few < bit_depth:
            needing = [NoticeEntry(name, split=splits.get(name, "")) for name, bits in grey if bits > few]
            said = f"half of {len(grey):,} images of 16 bits use at most {few} bits and become dark"
            why = f"uses more than the {few} bits of half of the images"
            notices.append(
                Notice.naming(f"{said}, since others use more: ", needing, what="file", why=why, done="the others become dark")
                if needing
                else f"{said}; --bit-depth {few} would do"
            )
    if colour and max(bits for _, bits in colour) <= _DARK:
        why = f"16 bits a channel, of which at most {max(bits for _, bits in colour)} are used"
        said = (
            f"{len(colour):,} images have 16 bits a channel, use at most {max(bits for _, bits in colour)} of them and become dark, "
            "as only the upper 8 are read; save them with 8 bits a channel: "
        )
        entries = [NoticeEntry(name, split=splits.get(name, "")) for name, _ in colour]
        notices.append(Notice.naming(said, entries, what="file", why=why, done="the upper 8 bits are read"))
    return notices


def _outside(listing: Listing) -> list[str]:
    """Notices of what was passed over."""
    nouns = listing.kind.nouns
    some = [
        (
            list(map(NoticeEntry, listing.ignored)),
            "file",
            f"files are not {nouns} of a class and ignored",
            f"not {nouns} of a class",
            "ignored",
        ),
        (
            [NoticeEntry(name, f": {what}") for name, what in listing.special],
            "file",
            "files are left out",
            "not a file",
            "left out",
        ),
        (
            list(map(NoticeEntry, listing.raw)),
            "file",
            "camera raw files lie beside an image of their name, which is read in their place",
            "a camera raw file beside an image of its name",
            "left out",
        ),
        (
            list(map(NoticeEntry, listing.links)),
            "link",
            "links to folders that lead back are not followed",
            "leads back",
            "not followed",
        ),
    ]
    return [
        Notice.naming(f"{len(entries):,} {said}: ", sorted(entries), what=what, why=why, done=done)
        for entries, what, said, why, done in some
        if entries
    ]


def _lengths_and_rates(clips: list[CheckedAudio]) -> list[str]:
    """One line on all audio clips: a class that has another length or rate than the others is told by it, and not by what is heard."""
    if not clips:
        return []
    seconds = [one.seconds for one in clips]
    rates = sorted(Counter(one.rate for one in clips).items(), key=lambda item: (-item[1], item[0]))
    counts = ", ".join(f"{count:,} at {rate / 1000:g} kHz" for rate, count in rates)
    lasting = f"audio clips of {min(seconds):.3g} to {max(seconds):.3g} s, half of them over {median(seconds):.3g} s"
    return [f"{lasting}; {counts}, resampled where the backbone takes another rate"]
