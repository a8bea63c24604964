"""`lp-ft`, behind its solved head: everything trains, and every module follows `train()`, but for batch-norm.

Its statistics rest, since the head was solved on features that they gave: by the statistics of a batch the network gives others, which
that head does not fit, and the low rate that is to keep it never mends that.
"""

from __future__ import annotations

from torch.nn.modules.batchnorm import _NormBase

from zoo.adaptation.plan import AdapterOptions, Plan
from zoo.backbones.base import Backbone
from zoo.strategy import LpFt


def apply(strategy: LpFt, backbone: Backbone, options: AdapterOptions) -> Plan:
    """The plan in which all parameters may change."""
    modules = dict(backbone.net.named_modules())
    live = [name for name, module in modules.items() if not isinstance(module, _NormBase)]
    return Plan.of_backbone(
        strategy,
        backbone,
        {name: "backbone" for name, _ in backbone.net.named_parameters()},
        live=live,
        note="everything live" + (", batch-norm statistics inert" if len(live) < len(modules) else ""),
    )
