"""`gradual`: the head trains first, then a stage more at a time from the output. Batch-norm statistics rest, as under `partial`."""

from __future__ import annotations

import dataclasses

from zoo.adaptation.plan import NET, AdapterOptions, Phase, Plan
from zoo.adaptation.strategies.gradual import Gradual
from zoo.adaptation.strategies.partial.applying import live_modules
from zoo.backbones.backbone import Backbone


def apply(strategy: Gradual, backbone: Backbone, options: AdapterOptions) -> Plan:
    """The plan in which everything trains in the end, and the phases that lead there."""
    phases = [Phase((), ())]
    names: set[str] = set()
    for stage in reversed(backbone.stages):
        names |= set(stage.parameters)
        live = live_modules(backbone.net, names)
        phases.append(Phase(tuple(NET + name for name in sorted(names)), tuple(NET + name for name in live)))
    everything = {name: "backbone" for name, _ in backbone.net.named_parameters()}
    note = f"from the output, one of {len(backbone.stages)} stages more every {strategy.epochs:g} epochs; batch-norm statistics inert"
    plan = Plan.of_backbone(strategy, backbone, everything, live=live_modules(backbone.net, names), note=note)
    return dataclasses.replace(plan, phases=tuple(phases), phase_epochs=strategy.epochs)
