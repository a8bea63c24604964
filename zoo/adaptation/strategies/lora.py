"""`lora:R`: low-rank updates beside frozen weights, W x + (alpha / R) B A x (arxiv.org/abs/2106.09685), through peft.

peft is imported when it is used: its import takes longer than that of the rest.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from zoo.adaptation.plan import AdapterOptions, Plan
from zoo.backbones.base import Backbone
from zoo.backbones.faults import reported
from zoo.backbones.unfilled import is_unfilled
from zoo.errors import ConfigError, nearest
from zoo.strategy import LoRA

WAY_OUT = "take norm-only, bias-only or partial, or name other modules with --lora-targets"


def apply(strategy: LoRA, backbone: Backbone, options: AdapterOptions) -> Plan:
    """Insert updates into the network, in place, and prove that each is called.

    Raises: ConfigError where nothing can be adapted, where the family is not known and no targets are given, where the network
        reads a module's weight without calling the module, and where the backbone has been adapted before.
    """
    from peft import LoraConfig, inject_adapter_in_model

    net = backbone.net
    if hasattr(net, "peft_config"):
        raise ConfigError(f"backbone {backbone.spec.name} has LoRA already; load it again")
    names = targets(backbone, options.targets)
    _call_fused_attention(net, names)
    alpha = 2 * strategy.rank if options.alpha is None else options.alpha
    # One string: peft matches a string whole, but the items of a list as suffixes too (github.com/huggingface/peft/issues/1206).
    pattern = "|".join(re.escape(name) for name in names)
    config = LoraConfig(
        r=strategy.rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=options.dropout,
        target_modules=pattern,
        bias="none",
    )
    with reported(f"strategy 'lora': {backbone.spec.name} cannot be adapted; {WAY_OUT}"):
        inject_adapter_in_model(config, net)
    _check_adapted(backbone, names)
    with reported(
        f"strategy 'lora': {backbone.spec.name} does not run with updates beside {names[0]} and {len(names) - 1} more; {WAY_OUT}"
    ):
        _check_called(backbone, names)
    tensors = {f"{name}.{part}.default.weight": "adapter" for name in names for part in ("lora_A", "lora_B")}
    live = [inner for name in names for inner in _dropout(net, name)]
    return Plan.of_backbone(strategy, backbone, tensors, live=live, note=f"{len(names)} modules adapted, backbone in eval mode")


def targets(backbone: Backbone, pattern: str | None) -> list[str]:
    """Names of the modules to adapt: those that match and can be, in the network's order. Raises: ConfigError if none."""
    family = backbone.spec.family
    name = backbone.spec.name
    if pattern is None and family is None:
        raise ConfigError(f"strategy 'lora': the family of {name} is not known; name its modules with --lora-targets REGEX")
    wanted = pattern if pattern is not None or family is None else family.lora
    if wanted is None:
        raise ConfigError(f"strategy 'lora' is not offered for {name}; use partial, norm-only or bias-only")
    try:
        found = [module for module, _ in backbone.net.named_modules() if re.fullmatch(wanted, module)]
    except re.error as error:
        raise ConfigError(f"lora_targets {wanted!r}: not a regular expression: {error}") from error
    reasons = {module: _obstacle(backbone, module) for module in found}
    able = [module for module, reason in reasons.items() if not reason]
    if able:
        return able
    if reasons:
        module, reason = min(reasons.items(), key=lambda item: "not a Linear" in item[1])  # what tells most
        raise ConfigError(f"strategy 'lora': {wanted!r} matches only what cannot be adapted in {name}: {module} is {reason}")
    others = [module for module, _ in backbone.net.named_modules() if not _obstacle(backbone, module)]
    offer = nearest(wanted.replace("\\", ""), others) or others[:3]
    ending = f"some that can be adapted: {', '.join(offer)}" if offer else "it has none that can be adapted; use partial:1"
    raise ConfigError(f"strategy 'lora': {wanted!r} matches no module of {name}; {ending}")


def _obstacle(backbone: Backbone, name: str) -> str:
    """Why peft's update beside this module would be impossible or wrong; empty if it is right (features.md 4d)."""
    module = backbone.net.get_submodule(name)
    family = backbone.spec.family
    if not isinstance(module, (nn.Linear, nn.Conv2d)):
        return f"a {type(module).__name__}, not a Linear or a Conv2d"
    if family is not None and re.search(family.lora_never, name):
        return f"excluded by the family {family.name}"
    if type(module).forward not in (nn.Linear.forward, nn.Conv2d.forward, Conv2dSame.forward) or hasattr(
        module, "parametrizations"
    ):
        return f"a {type(module).__name__}, which changes its weight in the forward"
    if isinstance(module, nn.Conv2d) and module.groups != 1:
        return f"a convolution in {module.groups} groups"
    if isinstance(module, nn.Conv2d) and (module.dilation != (1, 1) or module.padding_mode != "zeros"):
        return "a dilated or specially padded convolution"
    return ""


def _call_fused_attention(net: nn.Module, names: Sequence[str]) -> None:
    """Let timm's BEiT, EVA-02 and SwinV2 attention call `qkv` where they would read its weight and so pass the update by.

    Its own switch: the same mathematics, with differences in the last bit. Opening a saved model comes through here again.
    """
    for name in names:
        parent, _, leaf = name.rpartition(".")
        module = net.get_submodule(parent)
        if leaf == "qkv" and hasattr(module, "qkv_bias_separate"):
            setattr(module, "qkv_bias_separate", True)  # noqa: B010 - an attribute that torch's types do not know


def _dropout(net: nn.Module, name: str) -> list[str]:
    """Names of the dropout modules that peft put before the update."""
    return [f"{name}.lora_dropout.{key}" for key, _ in net.get_submodule(f"{name}.lora_dropout").named_children()]


def _check_adapted(backbone: Backbone, names: Sequence[str]) -> None:
    """peft has a mind of its own about mixtures of experts: it adapts parameters in place of what was named."""
    from peft.tuners.lora import LoraLayer

    adapted = {name for name, module in backbone.net.named_modules() if isinstance(module, LoraLayer)}
    others = adapted.symmetric_difference(names)
    if others:
        raise ConfigError(
            f"strategy 'lora': peft adapts {len(others)} other modules of {backbone.spec.name} than were named; {WAY_OUT}"
        )


@torch.no_grad()
def _check_called(backbone: Backbone, names: Sequence[str]) -> None:
    """Prove on one sample that every update takes part: it is called, and together they change the features.

    Leaves each B as it was, zero. On the meta device, where there are no values, and where they are to come (`unfilled`), the calls alone
    are proven.
    """
    layers: dict[str, Any] = {name: backbone.net.get_submodule(name) for name in names}
    device = next(backbone.parameters()).device
    generator = torch.Generator().manual_seed(0)
    sample = backbone.preprocess.example(1).to(device)
    called: set[str] = set()
    handles = [
        layer.lora_A["default"].register_forward_hook(lambda *_, name=name: called.add(name)) for name, layer in layers.items()
    ]
    backbone.eval()
    try:
        before: Tensor = backbone(sample)
        called.clear()
        for layer in layers.values():
            weight = layer.lora_B["default"].weight
            # Not one value everywhere: a layer norm takes away what is equal in all channels.
            weight.copy_(torch.randn(weight.shape, generator=generator))
        after: Tensor = backbone(sample)
    finally:
        for handle in handles:
            handle.remove()
        for layer in layers.values():
            layer.lora_B["default"].weight.zero_()
    passed_by = [name for name in names if name not in called]
    if passed_by:
        raise ConfigError(
            f"strategy 'lora': {backbone.spec.name} reads the weight of {passed_by[0]} without calling it, so an update there "
            f"would do nothing ({len(passed_by)} of {len(names)} modules); leave it out with --lora-targets"
        )
    if not before.is_meta and not is_unfilled() and torch.equal(before, after):
        raise ConfigError(
            f"strategy 'lora': updates of {names[0]} and {len(names) - 1} more do not change the features of "
            f"{backbone.spec.name}; name other modules with --lora-targets"
        )
