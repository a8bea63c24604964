"""`linear-probe`: nothing of the backbone trains."""

from __future__ import annotations

from zoo.adaptation.plan import AdapterOptions, Plan
from zoo.adaptation.strategies.linear_probe import LinearProbe
from zoo.backbones.backbone import Backbone


def apply(strategy: LinearProbe, backbone: Backbone, options: AdapterOptions) -> Plan:
    """The plan in which the backbone is inert."""
    return Plan.of_backbone(strategy, backbone, {}, note="backbone inert")
