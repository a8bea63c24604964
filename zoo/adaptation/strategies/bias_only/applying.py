"""`bias-only`: the biases train (BitFit, arxiv.org/abs/2106.10199)."""

from __future__ import annotations

import re

from zoo.adaptation.plan import AdapterOptions, Plan
from zoo.adaptation.strategies.bias_only import BiasOnly
from zoo.backbones.backbone import Backbone
from zoo.errors import ConfigError

_BIAS = re.compile(r"(.*[._])?bias")
"""`attn.proj.bias`, and BEiT's `attn.q_bias`; not tables such as `relative_position_bias_table`."""


def apply(strategy: BiasOnly, backbone: Backbone, options: AdapterOptions) -> Plan:
    """The plan in which the biases train, those of the normalisation layers included, all in eval mode.

    Raises: ConfigError where there is no bias at all.
    """
    tensors = {name: "bias" for name, _ in backbone.net.named_parameters() if _BIAS.fullmatch(name)}
    if not tensors:
        raise ConfigError(f"strategy 'bias-only': {backbone.spec.name} has no biases; use norm-only or partial:1")
    of_norms = {f"{norm}.bias" for norm in backbone.norms}
    only_norms = of_norms.issuperset(tensors)
    note = "backbone in eval mode" + ("; its only biases are those of the normalisation layers" if only_norms else "")
    return Plan.of_backbone(strategy, backbone, tensors, note=note)
