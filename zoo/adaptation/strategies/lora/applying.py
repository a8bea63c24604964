"""`lora:R`: low-rank updates beside frozen weights, W x + (alpha / R) B A x (arxiv.org/abs/2106.09685), through peft.

peft is imported when it is used: its import takes longer than that of the rest.
"""

from __future__ import annotations

from torch import nn

from zoo.adaptation.inserting import insert, named_once, targets
from zoo.adaptation.plan import AdapterOptions, Plan
from zoo.adaptation.strategies.lora import LoRA
from zoo.backbones.backbone import Backbone


def apply(strategy: LoRA, backbone: Backbone, options: AdapterOptions) -> Plan:
    """Insert updates into the network, in place, and prove that each is called. Raises: as `zoo.adaptation.inserting`."""
    from peft import LoraConfig

    net = backbone.net
    names = targets(backbone, strategy, options.targets)
    config = LoraConfig(
        r=strategy.rank,
        lora_alpha=2 * strategy.rank if options.alpha is None else options.alpha,  # type: ignore[arg-type]
        lora_dropout=options.dropout,
        target_modules=named_once(names),
        bias="none",
    )
    insert(backbone, strategy, config, names)
    tensors = {f"{name}.{part}.default.weight": "adapter" for name in names for part in ("lora_A", "lora_B")}
    live = [inner for name in names for inner in _dropout(net, name)]
    return Plan.of_backbone(strategy, backbone, tensors, live=live, note=f"{len(names)} modules adapted, backbone in eval mode")


def _dropout(net: nn.Module, name: str) -> list[str]:
    """Names of the dropout modules that peft put before the update."""
    return [f"{name}.lora_dropout.{key}" for key, _ in net.get_submodule(f"{name}.lora_dropout").named_children()]
