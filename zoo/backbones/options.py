"""Which options of `zoo.backbones.load` are for which kind of sample. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from zoo.errors import ConfigError
from zoo.registry import BackboneSpec
from zoo.types import Kind


class Options(TypedDict):
    """What `zoo.backbones.load` is told about samples, whatever their kind."""

    image_size: int | None
    max_length: int | None
    truncation: str
    pooling: str | None
    max_seconds: float | None
    tokenizer: str | Path | None


_KINDS: dict[str, tuple[Kind, ...]] = {
    "image_size": (Kind.IMAGE,),
    "max_length": (Kind.TEXT,),
    "truncation": (Kind.TEXT, Kind.AUDIO),
    "pooling": (Kind.TEXT, Kind.AUDIO),
    "max_seconds": (Kind.AUDIO,),
    "tokenizer": (Kind.TEXT,),
}
_DEFAULTS = {"truncation": "head"}


def check(spec: BackboneSpec, given: Options) -> None:
    """Raises: ConfigError for an option that is set, and is for another kind of sample than the backbone takes."""
    for name, value in given.items():
        kinds = _KINDS[name]
        if spec.kind not in kinds and value != _DEFAULTS.get(name):
            wanted = " and ".join(kind.nouns for kind in kinds)
            raise ConfigError(f"{name} is for {wanted}; {spec.name} takes {spec.kind.nouns}: leave it out")
