"""`full` and `lp-ft`: everything trains, and every module follows `train()`, but for batch-norm.

Its statistics rest: by those of a batch a pretrained network gives other features than those that it, and a solved head, have learnt by,
and a few hundred steps do not mend that (docs/decisions/0014 has what it costs). Where there is nothing to keep, they are live.
"""

from __future__ import annotations

import dataclasses

from zoo.adaptation.plan import NET, AdapterOptions, Plan
from zoo.backbones.backbone import Backbone
from zoo.backbones.stages import OF_STATISTICS
from zoo.strategy import Strategy

EVERYTHING = "everything live"


def apply(strategy: Strategy, backbone: Backbone, options: AdapterOptions) -> Plan:
    """The plan in which all parameters may change, and batch-norm statistics rest."""
    modules = dict(backbone.net.named_modules())
    live = [name for name, module in modules.items() if not isinstance(module, OF_STATISTICS)]
    return Plan.of_backbone(
        strategy,
        backbone,
        {name: "backbone" for name, _ in backbone.net.named_parameters()},
        live=live,
        note=EVERYTHING + (", batch-norm statistics inert" if len(live) < len(modules) else ""),
    )


def with_live_statistics(plan: Plan, backbone: Backbone) -> Plan:
    """The plan in which batch-norm normalises by the statistics of a batch, and its running statistics change too."""
    norms = {f"{NET}{name}": module for name, module in backbone.net.named_modules() if isinstance(module, OF_STATISTICS)}
    buffers = [
        f"{name}.{leaf}"
        for name, module in norms.items()
        if module.track_running_stats
        for leaf, _ in module.named_buffers(recurse=False)
    ]
    note = EVERYTHING + (", batch-norm statistics included" if buffers else "")
    return dataclasses.replace(plan, live=(*plan.live, *norms), buffers=(*plan.buffers, *buffers), note=note)
