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


def has_live_batch_norm(strategy: Strategy, backbone: Backbone, asked: BatchNorm) -> bool:
    """What `asked` comes down to; of a backbone without batch-norm, what it would be. Raises: ConfigError where it cannot be live."""
    everything = isinstance(strategy, Full)
    if asked == "live" and not everything:
        raise ConfigError(f"batch_norm live is for strategy full; under {strategy} its statistics rest: leave it out")
    return asked == "live" or (asked == "auto" and everything and not backbone.origin.pretrained)


def apply(strategy: Strategy, backbone: Backbone, options: AdapterOptions, batch_norm: BatchNorm = "auto") -> Plan:
    """Do to `backbone` what the strategy says (`lora` inserts modules into it) and give the plan, as yet without a head.

    Raises: ConfigError where the backbone has nothing that the strategy could train, or its batch-norm cannot be live.
    """
    live = has_live_batch_norm(strategy, backbone, batch_norm)
    plan = _APPLY[type(strategy)](strategy, backbone, options)
    return full.with_live_statistics(plan, backbone) if live else plan
