"""Backbones: pretrained networks without their classifier, and where their weights come from. Importing this imports no torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo.backbones.backbone import Backbone, Options, Preprocess
    from zoo.registry import BackboneSpec


def load(
    spec: BackboneSpec,
    weights: str | None = None,
    *,
    image_size: int | None = None,
    max_length: int | None = None,
    truncation: str = "head",
    pooling: str | None = None,
    max_seconds: float | None = None,
    tokenizer: str | Path | None = None,
    drop_path: float = 0.0,
    seed: int = 0,
) -> Backbone:
    """Build a backbone and load its weights: in eval mode, float32, on the CPU.

    Args:
        spec: which one.
        weights: None looks for pretrained ones (installed packages, the Hub's cache, the Hub); `random` draws them from `seed`;
            anything else is a file or a folder.
        image_size: side of the input in pixels; None is `spec.input_size`, else what the network was trained at.
        max_length: tokens of a text, special ones included; None is `spec.max_length`, else what the network was trained at, at
            most 512.
        truncation: what is kept of a longer text or audio clip: `head`, `tail`, `head+tail`, or `window` for all of it.
        pooling: how the features of tokens or frames become one vector (`cls`, `mean`, `max`, `last`); None is what is said beside
            the weights, else the family's way.
        max_seconds: seconds of an audio clip; None is the family's.
        tokenizer: folder of the tokenizer to take instead of the one beside the weights.
        drop_path: probability with which a residual branch is left out in train mode (stochastic depth), 0 to 1.
        seed: of random weights.

    Raises: UnknownName for a network that the library does not have; ConfigError for an impossible value, or an option for another
        kind of sample; WeightsError if weights are missing, damaged, or belong to another network.
    """
    from zoo.backbones import backbone

    given: Options = {
        "image_size": image_size,
        "max_length": max_length,
        "truncation": truncation,
        "pooling": pooling,
        "max_seconds": max_seconds,
        "tokenizer": tokenizer,
    }
    if spec.loader == "timm" or spec.family:  # else the configuration beside the weights tells the kind
        backbone.check_options(spec, given)
    if spec.loader == "transformers":
        from zoo.backbones import transformers_networks

        return transformers_networks.load(spec, weights, given, drop_path=drop_path, seed=seed)
    from zoo.backbones import timm_networks

    return timm_networks.load(spec, weights, image_size=image_size, drop_path=drop_path, seed=seed)


def identify(spec: BackboneSpec, weights: str | None = None) -> BackboneSpec:
    """`spec` with its family, where only the configuration beside the weights tells it (`hf/ORGANISATION/NAME`).

    No torch, no network: what is not on this machine yet stays without a family. Raises: WeightsError for a damaged configuration.
    """
    from zoo import registry
    from zoo.backbones import weights as sources

    if spec.loader != "transformers" or spec.family:
        return spec
    values = sources.configuration(spec, weights) or {}
    return replace(spec, family=registry.family_of("transformers", str(values.get("model_type"))))


def restore_preprocess(values: dict[str, Any], folder: Path | None) -> Preprocess:
    """What `Preprocess.to_dict` gave, with the files that `Preprocess.save` wrote to the folder.

    Raises: CheckpointError if the files are missing, or others.
    """
    kind = values.get("kind", "image")
    if kind == "text":
        from zoo.backbones.texts import TextPreprocess

        return TextPreprocess.from_dict(values, folder)
    if kind == "audio":
        from zoo.backbones.audio import AudioPreprocess

        return AudioPreprocess.from_dict(values)
    from zoo.backbones.images import ImagePreprocess

    return ImagePreprocess.from_dict({name: value for name, value in values.items() if name != "kind"})
