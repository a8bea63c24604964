"""Modules of peft beside those of a network: which can be adapted, how they are inserted, and the proof that each takes part.

peft is imported when it is used: its import takes longer than that of the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import Tensor, nn

from zoo.backbones.backbone import Backbone
from zoo.backbones.digest import is_unfilled
from zoo.errors import ConfigError, nearest, reported
from zoo.strategy import Strategy

WAY_OUT = "take norm-only, bias-only or partial, or name other modules with --lora-targets"


def named_once(names: Iterable[str]) -> str:
    """What peft takes for these names and no other: it matches a string whole, but the items of a list as suffixes too
    (github.com/huggingface/peft/issues/1206)."""
    return "|".join(map(re.escape, names))


def insert(backbone: Backbone, strategy: Strategy, config: Any, names: Sequence[str]) -> None:
    """Insert into the network, in place, what a configuration of peft says, and prove that each module takes part.

    Raises: ConfigError where peft cannot adapt the network, or the network reads a module's weight without calling the module.
    """
    from peft import inject_adapter_in_model

    net, kind = backbone.net, f"strategy '{strategy.kind}'"
    _call_fused_attention(net, names)
    with reported(f"{kind}: {backbone.spec.name} cannot be adapted; {WAY_OUT}"):
        inject_adapter_in_model(config, net)
    _check_adapted(backbone, kind, names)
    with reported(
        f"{kind}: {backbone.spec.name} does not run with updates beside {names[0]} and {len(names) - 1} more; {WAY_OUT}"
    ):
        _check_called(backbone, kind, names)


def targets(backbone: Backbone, strategy: Strategy, pattern: str | None) -> list[str]:
    """Names of the modules to adapt: those that match and can be, in the network's order.

    pattern: None: the family's. Raises: ConfigError if there is none, the family is not known and no pattern is given, or the backbone has
        been adapted before.
    """
    if hasattr(backbone.net, "peft_config"):
        raise ConfigError(f"backbone {backbone.spec.name} is adapted already; load it again")
    kind = f"strategy '{strategy.kind}'"
    family = backbone.spec.family
    name = backbone.spec.name
    if pattern is None and family is None:
        raise ConfigError(f"{kind}: the family of {name} is not known; name its modules with --lora-targets REGEX")
    wanted = pattern if pattern is not None or family is None else family.lora
    if wanted is None:
        raise ConfigError(f"{kind} is not offered for {name}; use partial, norm-only or bias-only")
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
        raise ConfigError(f"{kind}: {wanted!r} matches only what cannot be adapted in {name}: {module} is {reason}")
    others = [module for module, _ in backbone.net.named_modules() if not _obstacle(backbone, module)]
    offer = nearest(wanted.replace("\\", ""), others) or others[:3]
    ending = f"some that can be adapted: {', '.join(offer)}" if offer else "it has none that can be adapted; use partial:1"
    raise ConfigError(f"{kind}: {wanted!r} matches no module of {name}; {ending}")


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


def _check_adapted(backbone: Backbone, kind: str, names: Sequence[str]) -> None:
    """peft has a mind of its own about mixtures of experts: it adapts parameters in place of what was named."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = {name for name, module in backbone.net.named_modules() if isinstance(module, BaseTunerLayer)}
    others = adapted.symmetric_difference(names)
    if others:
        raise ConfigError(f"{kind}: peft adapts {len(others)} other modules of {backbone.spec.name} than were named; {WAY_OUT}")


@torch.no_grad()
def _check_called(backbone: Backbone, kind: str, names: Sequence[str]) -> None:
    """Prove on one sample that every update takes part: its module is called, and together they change the features.

    Leaves each tensor as it was. On the meta device, where there are no values, and where they are to come (`unfilled`), the calls alone
    are proven.
    """
    layers: dict[str, Any] = {name: backbone.net.get_submodule(name) for name in names}
    updates = [tensor for layer in layers.values() for tensor in _updates(layer)]
    device = next(backbone.parameters()).device
    generator = torch.Generator().manual_seed(0)
    sample = backbone.preprocess.example(1).to(device)
    called: set[str] = set()
    handles = [layer.register_forward_hook(lambda *_, name=name: called.add(name)) for name, layer in layers.items()]
    backbone.eval()
    kept = [tensor.clone() for tensor in updates]
    try:
        before: Tensor = backbone(sample)
        called.clear()
        for tensor in updates:
            # Not one value everywhere: a layer norm takes away what is equal in all channels.
            tensor += torch.randn(tensor.shape, generator=generator).to(tensor)
        after: Tensor = backbone(sample)
    finally:
        for handle in handles:
            handle.remove()
        for tensor, value in zip(updates, kept, strict=True):
            tensor.copy_(value)
    passed_by = [name for name in names if name not in called]
    if passed_by:
        raise ConfigError(
            f"{kind}: {backbone.spec.name} reads the weight of {passed_by[0]} without calling it, so an update there "
            f"would do nothing ({len(passed_by)} of {len(names)} modules); leave it out with --lora-targets"
        )
    if not before.is_meta and not is_unfilled() and torch.equal(before, after):
        raise ConfigError(
            f"{kind}: updates of {names[0]} and {len(names) - 1} more do not change the features of "
            f"{backbone.spec.name}; name other modules with --lora-targets"
        )


def _updates(layer: Any) -> list[Tensor]:
    """The tensors that peft put beside a module."""
    own = [getattr(layer, name) for name in layer.adapter_layer_names if hasattr(layer, name)]
    return [parameter.data for one in own if isinstance(one, nn.Module) for parameter in one.parameters()]
