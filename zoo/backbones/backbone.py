"""What a backbone is, whatever library it comes from, and which options are for which kind of sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypedDict

from torch import Tensor, nn

from zoo.config import options
from zoo.errors import ConfigError
from zoo.registry import BackboneSpec
from zoo.types import Kind


@dataclass(frozen=True)
class Stage:
    """A part of the network between input and output, by the names of its parameters (relative to the network)."""

    name: str
    parameters: tuple[str, ...]


TRUNCATIONS = ("head", "tail", "head+tail", "window")
"""What is kept of a text or an audio clip that is too long: its beginning, its end, both, or all of it window by window."""


class Preprocess(ABC):
    """How one sample of the data becomes the network's input at evaluation and prediction; training may vary the same steps.

    A batch is one tensor, whatever the kind: what is not there (the padding of a short text) is marked in the tensor itself, as each
    kind says. So loaders, engines and what is computed once treat all kinds alike.
    """

    kind: ClassVar[Kind]

    @property
    def decode_at(self) -> int | None:
        """Of images: the shortest side, in pixels, at which a JPEG may be decoded. None: there is no choice."""
        return None

    @property
    def varying(self) -> bool:
        """Whether the last dimension of a batch differs from batch to batch."""
        return self.kind is not Kind.IMAGE

    @property
    def engines(self) -> tuple[str, ...] | None:
        """The engines that can run networks of this kind; None: all. Audio clips are cut and masked in ways that no converter takes."""
        return ("torch",) if self.kind is Kind.AUDIO else None

    @abstractmethod
    def prepare(self, item: Any) -> Tensor:
        """One item as a sample set gives it, without the batch dimension. Deterministic. Raises: ValueError saying what is wrong."""

    @abstractmethod
    def collate(self, samples: Sequence[Tensor]) -> Tensor:
        """Samples to a batch."""

    @abstractmethod
    def ready(self, batch: Tensor) -> Tensor:
        """A batch as the network takes it. On the batch's device, and a batch at a time; what is ready already stays as it is."""

    @abstractmethod
    def example(self, count: int) -> Tensor:
        """So many random samples as the network takes them, the same every time: to prove by, to measure with."""

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The options of `zoo.backbones.load` that give this again, all of them settled."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """As plain values, for `config.json`; everything that a sample's tensor depends on."""

    def save(self, folder: Path) -> None:  # noqa: B027 - most kinds have nothing to write
        """Write the files that it needs beside `config.json`."""


@dataclass(frozen=True)
class WeightsOrigin:
    """Where a backbone's weights came from."""

    source: str
    """For people: `file x.safetensors`, `package NAME`, `cache timm/NAME`, `Hub timm/NAME`, `random, seed 0`."""
    sha256: str | None
    """Digest of the file; None for random weights."""
    licence: str
    """SPDX identifier or `unknown`."""
    own: bool = False
    """Whether they were fine-tuned before, so that nobody else has them: what is built on them ships them whole."""

    @property
    def pretrained(self) -> bool:
        """Whether they are not random."""
        return self.sha256 is not None


class Backbone(nn.Module, ABC):
    """A pretrained network without its classifier.

    The network itself is `net`; names in `stages`, in a family's regular expressions and in plans are relative to it.
    """

    spec: BackboneSpec
    net: nn.Module
    feature_dim: int
    """D, the width of `forward`'s output."""
    token_dim: int
    """The width of `tokens`' output; 0 where the network has no single sequence of them."""
    stages: list[Stage]
    """Input to output; every parameter of `net` is in exactly one."""
    norms: list[str]
    """Names of the normalisation modules of `net`."""
    preprocess: Preprocess
    origin: WeightsOrigin
    base_sha256: str
    """Digest of every tensor of `net` right after loading, by name and value: what an adapter's file is tied to."""

    def ready(self, batch: Tensor) -> Tensor:
        """A batch of samples as the network takes it."""
        return self.preprocess.ready(batch)

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Pooled features `[B, feature_dim]` of a batch that is ready (of images: `[B, 3, size, size] float32`)."""

    @abstractmethod
    def tokens(self, inputs: Tensor) -> Tensor:
        """Features before pooling, `[B, T, token_dim]`: tokens of a transformer, positions of a feature map, frames of an audio clip.

        Tokens that are padding are NaN."""


class Options(TypedDict):
    """What `zoo.backbones.load` is told about samples, whatever their kind."""

    image_size: int | None
    max_length: int | None
    truncation: str
    pooling: str | None
    max_seconds: float | None
    tokenizer: str | Path | None


def check_options(spec: BackboneSpec, given: Options) -> None:
    """Raises: ConfigError for an option that is set, and is for another kind of sample than the backbone takes."""
    for name, value in given.items():
        kinds, default = ((Kind.TEXT,), None) if name == "tokenizer" else (options()[name].kinds, options()[name].default)
        if spec.kind not in kinds and value != default:
            wanted = " and ".join(kind.nouns for kind in kinds)
            raise ConfigError(f"{name} is for {wanted}; {spec.name} takes {spec.kind.nouns}: leave it out")
