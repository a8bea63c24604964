"""How much of the training samples a network does not see, as it takes so much of a text or a recording and no more."""

from __future__ import annotations

import numpy as np

from zoo.backbones.base import Preprocess
from zoo.backbones.sounds import AudioPreprocess
from zoo.backbones.texts import TextPreprocess
from zoo.data.sets import SampleSet, SoundFiles

LOOKED_AT = 1000
"""Texts that are counted: a share of them is within 3 points of the share of all (95 %)."""


def cut_off(samples: SampleSet, preprocess: Preprocess) -> list[str]:
    """A sentence on the share of the training samples of which something is left out; none if nothing is, or it is not known."""
    if isinstance(preprocess, TextPreprocess):
        return _texts(samples, preprocess)
    if isinstance(preprocess, AudioPreprocess) and isinstance(samples, SoundFiles) and preprocess.truncation != "window":
        longer = float((samples.milliseconds > 1000 * preprocess.max_seconds).mean())
        return _sentence(
            longer, "the training recordings", f"last longer than {preprocess.max_seconds:g} seconds", preprocess.truncation
        )
    return []


def _texts(samples: SampleSet, preprocess: TextPreprocess) -> list[str]:
    """Counted on texts that are spread evenly over all of them."""
    places = np.unique(np.linspace(0, len(samples) - 1, min(LOOKED_AT, len(samples))).astype(int)).tolist()
    longer = sum(preprocess.truncated(samples.item(place)) for place in places) / len(places)
    some = "the training texts" if len(places) == len(samples) else f"{len(places):,} training texts"
    return _sentence(longer, some, f"have more than {preprocess.max_length} tokens", preprocess.truncation)


def _sentence(share: float, some: str, how: str, truncation: str) -> list[str]:
    return [f"{share:.1%} of {some} {how} and are cut (truncation {truncation}; window would keep all)"] if share else []
