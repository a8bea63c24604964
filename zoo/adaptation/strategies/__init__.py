"""What each strategy does to a backbone: one module each, chosen by the dataclass that names it (zoo/strategy.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from zoo.adaptation.plan import AdapterOptions, Plan
from zoo.adaptation.strategies import bias_only, full, gradual, linear_probe, lora, norm_only, partial
from zoo.backbones.base import Backbone
from zoo.errors import ConfigError
from zoo.strategy import BiasOnly, Full, Gradual, LinearProbe, LoRA, LpFt, NormOnly, Partial, Strategy

_APPLY: dict[type[Any], Callable[[Any, Backbone, AdapterOptions], Plan]] = {
    Full: full.apply,
    LinearProbe: linear_probe.apply,
    Partial: partial.apply,
    LoRA: lora.apply,
    NormOnly: norm_only.apply,
    BiasOnly: bias_only.apply,
    LpFt: full.apply,
    Gradual: gradual.apply,
}


BatchNorm = Literal["auto", "live", "frozen"]
"""Whether batch-norm normalises by the statistics of a batch while training, or by those that it has. auto: as the latter, but under
`full` of random weights, whose statistics are of nothing."""


def apply(strategy: Strategy, backbone: Backbone, options: AdapterOptions, batch_norm: BatchNorm = "auto") -> Plan:
    """Do to `backbone` what the strategy says (`lora` inserts modules into it) and give the plan, as yet without a head.

    Raises: ConfigError where the backbone has nothing that the strategy could train, or its batch-norm cannot be live.
    """
    everything = isinstance(strategy, Full)
    if batch_norm == "live" and not everything:
        raise ConfigError(f"batch_norm live is for strategy full; under {strategy} its statistics rest: leave it out")
    plan = _APPLY[type(strategy)](strategy, backbone, options)
    live = batch_norm == "live" or (batch_norm == "auto" and everything and backbone.origin.sha256 is None)
    return full.with_live_statistics(plan, backbone) if live else plan
