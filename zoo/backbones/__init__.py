"""Backbones: pretrained networks without their classifier, and where their weights come from. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.backbones.base import Backbone
    from zoo.registry import BackboneSpec


def load(
    spec: BackboneSpec, weights: str | None = None, *, image_size: int | None = None, drop_path: float = 0.0, seed: int = 0
) -> Backbone:
    """Build a backbone and load its weights: in eval mode, float32, on the CPU.

    Args:
        spec: which one.
        weights: None looks for pretrained ones (installed packages, the Hub's cache, the Hub); `random` draws them from `seed`;
            anything else is a file or a folder.
        image_size: side of the input in pixels; None is `spec.input_size`, else what the network was trained at.
        drop_path: probability with which a residual branch is left out in train mode (stochastic depth), 0 to 1.
        seed: of random weights.

    Raises: UnknownName for a network that timm does not have; ConfigError for an impossible `image_size` or `drop_path`;
        WeightsError if weights are missing, damaged, or belong to another network.
    """
    from zoo.backbones.timm import load

    return load(spec, weights, image_size=image_size, drop_path=drop_path, seed=seed)
