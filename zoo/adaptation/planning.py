"""Strategies at work: each does to a backbone what its own module `applying` says, and gives the plan."""

from __future__ import annotations

import importlib
from typing import Literal

from zoo.adaptation.plan import AdapterOptions, Plan
from zoo.adaptation.strategies.full.applying import with_live_statistics
from zoo.backbones.base import Backbone
from zoo.errors import ConfigError
from zoo.strategy import Strategy, forms

BatchNorm = Literal["auto", "live", "frozen"]
"""Whether batch-norm normalises by the statistics of a batch while training, or by those that it has. auto: as the latter, but under
`full` of random weights, whose statistics are of nothing."""


def has_live_batch_norm(strategy: Strategy, backbone: Backbone, asked: BatchNorm) -> bool:
    """What `asked` comes down to; of a backbone without batch-norm, what it would be. Raises: ConfigError where it cannot be live."""
    able = strategy.live_statistics
    if asked == "live" and not able:
        takers = " and ".join(kind for kind, form in forms().items() if form.live_statistics)
        raise ConfigError(f"batch_norm live is for strategy {takers}; under {strategy} its statistics rest: leave it out")
    return asked == "live" or (asked == "auto" and able and not backbone.origin.pretrained)


def apply(strategy: Strategy, backbone: Backbone, options: AdapterOptions, batch_norm: BatchNorm = "auto") -> Plan:
    """Do to `backbone` what the strategy says (`lora` inserts modules into it) and give the plan, as yet without a head.

    Raises: ConfigError where the backbone has nothing that the strategy could train, or its batch-norm cannot be live.
    """
    live = has_live_batch_norm(strategy, backbone, batch_norm)
    plan: Plan = importlib.import_module(f"{type(strategy).__module__}.applying").apply(strategy, backbone, options)
    return with_live_statistics(plan, backbone) if live else plan
