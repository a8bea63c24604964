"""Backbones from timm: built without a classifier, weights loaded strictly."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import timm
import torch
from timm.data.config import resolve_model_data_config
from torch import Tensor, nn

from zoo.backbones import generator, stages
from zoo.backbones import weights as sources
from zoo.backbones.backbone import Backbone, WeightsOrigin
from zoo.backbones.digest import digest
from zoo.backbones.images import ImagePreprocess
from zoo.errors import ConfigError, UnknownName, WeightsError, reason, reported
from zoo.registry import BackboneSpec


class TimmBackbone(Backbone):
    """One of timm's networks, with `num_classes=0`. Names of `net` are timm's own."""

    def __init__(self, spec: BackboneSpec, net: nn.Module, size: int, widths: tuple[int, int], origin: WeightsOrigin) -> None:
        super().__init__()
        self.spec = spec
        self.net = net
        self.feature_dim, self.token_dim = widths
        names = [name for name, _ in net.named_parameters()]
        self.stages = stages.family_stages(spec.family, names) if spec.family else stages.guessed_stages(net)
        self.norms = stages.norm_modules(net, spec.family)
        self.preprocess = _preprocess(net, size)
        self.origin = origin
        self.base_sha256 = digest(net)
        self.eval()

    def forward(self, inputs: Tensor) -> Tensor:
        """Pooled features `[B, feature_dim]` of images `[B, 3, size, size] float32`."""
        features: Tensor = self.net(inputs)
        return features

    def tokens(self, inputs: Tensor) -> Tensor:
        """Features before pooling, `[B, T, token_dim]`: tokens of a transformer (class token included), positions of a map.

        Raises: ConfigError where the network gives several sequences.
        """
        if not self.token_dim:
            raise ConfigError(
                f"{self.spec.name} gives several sequences of tokens; take a head on pooled features, such as linear"
            )
        return _as_tokens(self.net, self.net.forward_features(inputs))  # type: ignore[operator]


def load(
    spec: BackboneSpec, weights: str | None = None, *, image_size: int | None = None, drop_path: float = 0.0, seed: int = 0
) -> TimmBackbone:
    """As `zoo.backbones.load`, for timm's networks."""
    spec = tagged(spec)
    skeleton = build_empty(spec, image_size=image_size, drop_path=drop_path)
    arguments = _arguments(spec, image_size, drop_path)
    widths = _widths(spec, skeleton, image_size)
    if weights == "random":
        with generator.forked(seed), reported(f"{spec.name} cannot be built"):
            net = timm.create_model(spec.id, pretrained=False, num_classes=0, **arguments)
        _open_branches(net)
        origin = WeightsOrigin(f"random, seed {seed}", None, "unknown")
    else:
        found = sources.find(spec, weights)
        net = _load_strictly(spec, found, arguments)
        origin = WeightsOrigin(found.source, found.sha256, found.licence)
    if net.state_dict().keys() != skeleton.state_dict().keys():
        raise ConfigError(f"{spec.name}: timm's {type(net).__name__} changes when its classifier is taken off; it cannot be used")
    return TimmBackbone(spec, net, input_size(spec, image_size), widths, origin)


@torch.no_grad()
def _open_branches(net: nn.Module) -> None:
    """Set norms that timm starts at zero to one (the last ones of residual branches, in ResNet and SwinV2).

    A network of random weights would pass its branches by: with frozen norms, nothing in them could have a gradient.
    """
    for name in stages.norm_modules(net):
        weight = getattr(net.get_submodule(name), "weight", None)
        if isinstance(weight, nn.Parameter) and not weight.any():
            weight.fill_(1.0)


def build_empty(spec: BackboneSpec, *, image_size: int | None = None, drop_path: float = 0.0, num_classes: int = 0) -> nn.Module:
    """The network without memory (on torch's meta device), in eval mode: names and shapes only.

    Raises: UnknownName, ConfigError.
    """
    arguments = _arguments(tagged(spec), image_size, drop_path)
    size = input_size(spec, image_size)
    try:
        with reported(f"{spec.name} cannot be built with {_spell(arguments)}"), torch.device("meta"):
            net: nn.Module = timm.create_model(tagged(spec).id, pretrained=False, num_classes=num_classes, **arguments)
    except ConfigError as error:
        if drop_path and "drop_path_rate" in str(error.__cause__):
            raise ConfigError(f"{spec.name} has no drop-path: leave drop_path at 0") from error
        raise
    patch = getattr(getattr(net, "patch_embed", None), "patch_size", None)
    side = max(patch) if isinstance(patch, tuple) else patch  # XCiT's is a number
    if side is not None and size % side:
        low = max(size // side, 1) * side
        raise ConfigError(f"image_size {size} is not a multiple of {side}, the side of its patches; try {low} or {low + side}")
    return net.eval()


def tagged(spec: BackboneSpec) -> BackboneSpec:
    """`spec` with the tag of its pretrained weights in its id (timm's default tag where none was given).

    Raises: UnknownName for an architecture or a tag that timm does not have.
    """
    architecture, _, tag = spec.id.partition(".")
    if not timm.is_model(architecture):
        raise UnknownName("timm network", architecture or spec.id, timm.list_models())
    tags = [config.partition(".")[2] for config in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise UnknownName(f"{architecture} with the pretrained tag", tag, tags, f"(tags: {', '.join(tags) or 'none'})")
    config = _config(spec)
    if tag or config.tag not in tags:
        return spec
    name = f"{spec.name}.{config.tag}" if spec.name == f"timm/{spec.id}" else spec.name
    return replace(spec, id=f"{architecture}.{config.tag}", name=name)


def input_size(spec: BackboneSpec, image_size: int | None = None) -> int:
    """Side of the input in pixels: as asked, else the backbone's own. Raises: ConfigError if it is not positive."""
    if image_size is not None and image_size < 1:
        raise ConfigError(f"image_size is {image_size}; expected 1 or more pixels")
    own: int = spec.arguments.get("img_size") or _config(spec).input_size[-1]
    return image_size or spec.input_size or own


def _config(spec: BackboneSpec) -> Any:
    """timm's description of the pretrained weights: where they are, and the input they were trained on."""
    return timm.get_pretrained_cfg(spec.id)


def _arguments(spec: BackboneSpec, image_size: int | None, drop_path: float) -> dict[str, Any]:
    """Keyword arguments of `timm.create_model`, weights and classes aside."""
    arguments = dict(spec.arguments)
    if _config(spec).fixed_input_size:
        arguments["img_size"] = input_size(spec, image_size)
    if drop_path > 0:
        arguments["drop_path_rate"] = drop_path
    return arguments


def _widths(spec: BackboneSpec, skeleton: nn.Module, image_size: int | None) -> tuple[int, int]:
    """(width of the pooled features, width of the tokens), by a forward pass without memory. Raises: ConfigError."""
    size = input_size(spec, image_size)
    image = torch.empty(1, 3, size, size, device="meta")
    with reported(f"{spec.name} cannot take images of {size} x {size}"), torch.no_grad():
        features = skeleton.forward_features(image)  # type: ignore[operator]
        pooled = skeleton.forward_head(features)  # type: ignore[operator]
        token_dim = _as_tokens(skeleton, features).shape[2] if _is_sequence(features) else 0
    if not isinstance(pooled, Tensor) or pooled.ndim != 2 or spec.feature_dim not in (None, pooled.shape[1]):
        found = tuple(pooled.shape) if isinstance(pooled, Tensor) else f"a {type(pooled).__name__}"
        raise ConfigError(f"{spec.name}: features are {found}; expected (1, {spec.feature_dim or 'D'})")
    return pooled.shape[1], token_dim


def _is_sequence(features: Any) -> bool:
    """Whether features before pooling are one map or sequence of tokens; CrossViT, CoaT and EfficientViM give several."""
    return isinstance(features, Tensor) and features.ndim in (3, 4)


def _as_tokens(net: nn.Module, features: Tensor) -> Tensor:
    """`[B, T, C]` from tokens `[B, T, C]`, a map `[B, C, H, W]`, or `[B, H, W, C]` (Swin)."""
    if features.ndim == 3:
        return features
    return features.flatten(1, 2) if getattr(net, "output_fmt", "NCHW") == "NHWC" else features.flatten(2).transpose(1, 2)


def _preprocess(net: nn.Module, size: int) -> ImagePreprocess:
    config: dict[str, Any] = resolve_model_data_config(net)  # type: ignore[no-untyped-call]
    return ImagePreprocess(size, tuple(config["mean"]), tuple(config["std"]), config["interpolation"], config["crop_pct"])


def _load_strictly(spec: BackboneSpec, found: sources.Weights, arguments: dict[str, Any]) -> nn.Module:
    """Build with as many classes as the file has, then drop the classifier: timm loads strictly only then.

    Its own filter runs on the way, which renames the tensors of other layouts and resamples position tables.
    """
    state = found.state()
    classes = _classes(spec, state)
    overlay = {"state_dict": state, "num_classes": classes, "label_offset": 0}
    try:
        with generator.forked(), _builder_log() as lines:
            net: nn.Module = timm.create_model(
                spec.id, pretrained=True, num_classes=classes, pretrained_cfg_overlay=overlay, **arguments
            )
    except Exception as error:  # timm's filters take files of many layouts apart, and raise whatever they meet
        raise WeightsError(f"{found.source} does not fit {spec.name}: {_misfit(error)}") from error
    missing = next((line for line in lines if line.startswith("Missing keys")), None)
    if missing:  # timm itself is not strict for a few networks
        raise WeightsError(f"{found.source} does not fit {spec.name}: {missing.partition(' discovered')[0]}")
    net.reset_classifier(0)  # type: ignore[operator]
    net.pretrained_cfg.pop("state_dict", None)  # type: ignore[union-attr, operator]  # else the file's tensors stay in memory
    return net


def _classes(spec: BackboneSpec, state: dict[str, Tensor]) -> int:
    """How many classes the file's own classifier has, be it linear or a convolution of 1 x 1; 0 if it has none."""
    slot = spec.family.head_slot if spec.family else _config(spec).classifier
    slots = (slot,) if isinstance(slot, str) else tuple(slot or ())
    for name in (*slots, "head", "fc", "classifier"):  # authors' own files may use another name than timm
        weight = state.get(f"{name}.weight")
        if weight is not None and weight.ndim >= 2 and weight.numel() == weight.shape[0] * weight.shape[1]:
            return weight.shape[0]
    return 0


def _misfit(error: Exception) -> str:
    """The first tensor that torch complains of, and how many more, in one line."""
    message = str(error)
    missing = re.findall(r'"([^"]+)"', _after(message, "Missing key(s) in state_dict:"))
    unexpected = re.findall(r'"([^"]+)"', _after(message, "Unexpected key(s) in state_dict:"))
    shapes = re.findall(r"size mismatch for (\S+): .*?torch\.Size\((.*?)\).*?torch\.Size\((.*?)\)", message)
    faults = [f"tensor {name!r} is missing" for name in missing]
    faults += [f"tensor {name!r} is unknown there" for name in unexpected]
    faults += [f"tensor {name!r} has shape {given}, expected {wanted}" for name, given, wanted in shapes]
    if not faults:
        return reason(error)
    return faults[0] + (f" ({len(faults) - 1} more do not fit)" if len(faults) > 1 else "")


def _after(message: str, heading: str) -> str:
    return message.partition(heading)[2].partition("\n")[0]


@contextlib.contextmanager
def _builder_log() -> Iterator[list[str]]:
    """Collect what timm logs while it loads, instead of printing it: it reports there, and only there, what it left out."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("timm.models._builder")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate


def _spell(arguments: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in arguments.items()) or "no arguments"
