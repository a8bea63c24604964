"""Which options of `zoo.backbones.load` are for which kind of sample. No torch here."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from zoo.config import options
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


def check(spec: BackboneSpec, given: Options) -> None:
    """Raises: ConfigError for an option that is set, and is for another kind of sample than the backbone takes."""
    for name, value in given.items():
        kinds, default = ((Kind.TEXT,), None) if name == "tokenizer" else (options()[name].kinds, options()[name].default)
        if spec.kind not in kinds and value != default:
            wanted = " and ".join(kind.nouns for kind in kinds)
            raise ConfigError(f"{name} is for {wanted}; {spec.name} takes {spec.kind.nouns}: leave it out")
