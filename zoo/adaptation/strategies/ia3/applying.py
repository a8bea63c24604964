"""`ia3`: y = l * (W x + b), l one number an output, which begins at 1 (arxiv.org/abs/2205.05638), through peft.

The paper puts l on keys, values and the inside of the MLP. Networks name these in a hundred ways, and many compute queries, keys and
values in one module, so here all modules that LoRA would adapt have it.
"""

from __future__ import annotations

from zoo.adaptation.inserting import insert, named_once, targets
from zoo.adaptation.plan import AdapterOptions, Plan
from zoo.adaptation.strategies.ia3 import IA3
from zoo.backbones.backbone import Backbone


def apply(strategy: IA3, backbone: Backbone, options: AdapterOptions) -> Plan:
    """Insert factors into the network, in place, and prove that each is used. Raises: as `zoo.adaptation.inserting`."""
    from peft import IA3Config

    names = targets(backbone, strategy, options.targets)
    insert(backbone, strategy, IA3Config(target_modules=named_once(names), feedforward_modules=[]), names)
    tensors = {f"{name}.ia3_l.default": "adapter" for name in names}
    return Plan.of_backbone(strategy, backbone, tensors, note=f"{len(names)} modules adapted, backbone in eval mode")
