"""What each strategy does to a backbone: one module each, chosen by the dataclass that names it (zoo/strategy.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zoo.adaptation.plan import AdapterOptions, Plan
from zoo.adaptation.strategies import bias_only, full, gradual, linear_probe, lora, lp_ft, norm_only, partial
from zoo.backbones.base import Backbone
from zoo.strategy import BiasOnly, Full, Gradual, LinearProbe, LoRA, LpFt, NormOnly, Partial, Strategy

_APPLY: dict[type[Any], Callable[[Any, Backbone, AdapterOptions], Plan]] = {
    Full: full.apply,
    LinearProbe: linear_probe.apply,
    Partial: partial.apply,
    LoRA: lora.apply,
    NormOnly: norm_only.apply,
    BiasOnly: bias_only.apply,
    LpFt: lp_ft.apply,
    Gradual: gradual.apply,
}


def apply(strategy: Strategy, backbone: Backbone, options: AdapterOptions) -> Plan:
    """Do to `backbone` what the strategy says (`lora` inserts modules into it) and give the plan, as yet without a head.

    Raises: ConfigError where the backbone has nothing that the strategy could train.
    """
    return _APPLY[type(strategy)](strategy, backbone, options)
