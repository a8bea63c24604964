"""`norm-only`: scales and shifts of the normalisation layers train; their statistics rest (arxiv.org/abs/2003.00152)."""

from __future__ import annotations

from zoo.adaptation.plan import AdapterOptions, Plan
from zoo.adaptation.strategies.norm_only import NormOnly
from zoo.backbones.backbone import Backbone
from zoo.errors import ConfigError


def apply(strategy: NormOnly, backbone: Backbone, options: AdapterOptions) -> Plan:
    """The plan in which the parameters of the normalisation modules train, all in eval mode.

    Raises: ConfigError where no normalisation module has any.
    """
    modules = dict(backbone.net.named_modules())
    inside = {f"{norm}.{leaf}" for norm in backbone.norms for leaf, _ in modules[norm].named_parameters(recurse=False)}
    tensors = {name: "norm" for name, _ in backbone.net.named_parameters() if name in inside}
    if not tensors:
        raise ConfigError(f"strategy 'norm-only': no normalisation layer of {backbone.spec.name} has parameters; use partial:1")
    return Plan.of_backbone(strategy, backbone, tensors, note="backbone in eval mode, normalisation statistics included")
