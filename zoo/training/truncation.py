"""Which samples a network does not see whole, as it takes so much of a text or an audio clip and no more."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from zoo.backbones.audio import AudioPreprocess
from zoo.backbones.base import Preprocess
from zoo.backbones.texts import TextPreprocess
from zoo.data.notices import Entry, Notice
from zoo.data.sets import SampleSet, SoundFiles

LOOKED_AT = 1000
"""Texts that are counted, each of which is tokenized for it (0.8 ms for 200 words); of more, these are spread evenly, and their share is
within 3 points of that of all (95 %)."""

Places = list[tuple[str, int]]
"""Sets, and samples' numbers in them."""


def cut_off(parts: Mapping[str, SampleSet], preprocess: Preprocess) -> list[Notice]:
    """What is said of the samples of which something is left out, and which they are; nothing if none is, or it is not known."""
    if isinstance(preprocess, TextPreprocess):
        looked_at = _spread(parts)
        cut = [(name, index) for name, index in looked_at if preprocess.truncated(parts[name].item(index))]
        return _notices(parts, cut, f"have more than {preprocess.max_length} tokens", preprocess.truncation, len(looked_at))
    if isinstance(preprocess, AudioPreprocess) and preprocess.truncation != "window":
        files = {name: samples for name, samples in parts.items() if isinstance(samples, SoundFiles)}
        limit = 1000 * preprocess.max_seconds
        cut = [(name, index) for name, one in files.items() for index in np.flatnonzero(one.milliseconds > limit).tolist()]
        most = f"last longer than {preprocess.max_seconds:g} seconds"
        return _notices(parts, cut, most, preprocess.truncation, sum(map(len, files.values())))
    return []


def _spread(parts: Mapping[str, SampleSet]) -> Places:
    """All samples, or as many as are looked at."""
    total = sum(map(len, parts.values()))
    chosen = np.unique(np.linspace(0, total - 1, min(LOOKED_AT, total)).astype(int))
    found: Places = []
    for name, samples in parts.items():
        found += [(name, index) for index in chosen[(chosen >= 0) & (chosen < len(samples))].tolist()]
        chosen = chosen - len(samples)
    return found


def _notices(parts: Mapping[str, SampleSet], cut: Places, most: str, truncation: str, looked_at: int) -> list[Notice]:
    """One on those that are longer than the network takes, if there are any. looked_at: among how many they were found."""
    if not cut:
        return []
    total, nouns = sum(map(len, parts.values())), next(iter(parts.values())).kind.nouns
    some = f"{looked_at:,} {nouns}" if looked_at == total else f"{looked_at:,} {nouns} that were looked at ({total:,} in all)"
    said = f"{len(cut):,} of {some} {most} and are cut (truncation {truncation}; window would keep all): "
    entries = [Entry(parts[name].name(index), split=name) for name, index in cut]
    return [Notice.naming(said, entries, what="sample", why=most, done="cut")]
