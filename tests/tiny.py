"""Backbones small enough that a forward pass takes milliseconds: one of each family, for tests, with random weights.

    from tiny import TINY
    backbone = zoo.backbones.load(TINY[0], "random")

Each has dropout and drop-path in it, so that a part which should be inert and is not shows; the
convolutional ones have batch-norm (ConvNeXt aside).
None is registered: `registry.register_backbone(spec)` makes one available by name, in a process that does not mind.
"""

from typing import Any

from zoo import registry
from zoo.registry import BackboneSpec


def _tiny(family: str, identity: str, size: int, **arguments: Any) -> BackboneSpec:
    return BackboneSpec(
        name=f"tiny_{family}",
        id=identity,
        family=registry.families()[family],
        input_size=size,
        arguments={"drop_path_rate": 0.2, **arguments},
    )


TINY: list[BackboneSpec] = [
    _tiny("resnet", "resnet18.a1_in1k", 32, layers=(1, 1, 1, 1), channels=(16, 24, 32, 48), drop_rate=0.1),
    _tiny("efficientnet", "test_efficientnet.r160_in1k", 32, drop_rate=0.1),
    _tiny("mobilenetv3", "mobilenetv3_small_050.lamb_in1k", 64, drop_rate=0.1),
    _tiny("convnext", "convnext_atto.d2_in1k", 32, depths=(1, 1, 2, 1), dims=(16, 24, 32, 40), drop_rate=0.1),
    _tiny("vit", "test_vit.r160_in1k", 32, depth=3, proj_drop_rate=0.1),
    _tiny("dinov2", "vit_small_patch14_dinov2.lvd142m", 28, embed_dim=48, depth=3, num_heads=3, proj_drop_rate=0.1),
    _tiny(
        "swin",
        "swin_tiny_patch4_window7_224.ms_in1k",
        32,
        embed_dim=16,
        depths=(2, 2),
        num_heads=(1, 2),
        window_size=4,
        proj_drop_rate=0.1,
    ),
]
"""One a family: resnet, efficientnet, mobilenetv3, convnext, vit, dinov2, swin."""

BY_FAMILY: dict[str, BackboneSpec] = {spec.family.name: spec for spec in TINY if spec.family}
"""The same by family."""
