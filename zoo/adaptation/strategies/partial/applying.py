"""`partial`: the last stages train. Batch-norm statistics rest, as a small data set would only spoil them (features.md 4a)."""

from __future__ import annotations

import re

from torch import nn

from zoo.adaptation.plan import AdapterOptions, Plan
from zoo.adaptation.strategies.partial import Partial
from zoo.backbones.backbone import Backbone, Stage
from zoo.backbones.stages import OF_STATISTICS
from zoo.errors import ConfigError, nearest


def apply(strategy: Partial, backbone: Backbone, options: AdapterOptions) -> Plan:
    """The plan in which the chosen parameters train, and modules that belong wholly to them are live, but for batch-norm.

    Raises: ConfigError for more stages than there are, a network whose stages are not known, or a pattern that is in no parameter's name.
    """
    if strategy.pattern is not None:
        names = _matching(strategy.pattern, backbone)
        what = f"parameters matching {strategy.pattern!r}"
    else:
        stages = _last(strategy, backbone)
        names = {name for stage in stages for name in stage.parameters}
        what = f"{'stage' if len(stages) == 1 else 'stages'} {', '.join(stage.name for stage in stages)}"
    tensors = {name: "backbone" for name, _ in backbone.net.named_parameters() if name in names}
    live = live_modules(backbone.net, names)
    rest = (
        "batch-norm statistics and the rest"
        if any(isinstance(one, OF_STATISTICS) for one in backbone.net.modules())
        else "the rest"
    )
    return Plan.of_backbone(strategy, backbone, tensors, live=live, note=f"{what} live, {rest} inert")


def _last(strategy: Partial, backbone: Backbone) -> list[Stage]:
    stages = backbone.stages
    if len(stages) == 1:
        raise ConfigError(
            f"strategy '{strategy}': the stages of {backbone.spec.name} are not known, so that all of it would train; "
            "name parameters (partial:REGEX), or take full"
        )
    share = (strategy.percent or 0) / 100
    count = strategy.stages or max(1, round(len(stages) * share))
    if count > len(stages):
        raise ConfigError(
            f"strategy '{strategy}': {backbone.spec.name} has {len(stages)} stages, from input to output "
            f"{', '.join(stage.name for stage in stages)}; use partial:{len(stages)} or less"
        )
    return stages[len(stages) - count :]


def _matching(pattern: str, backbone: Backbone) -> set[str]:
    names = [name for name, _ in backbone.net.named_parameters()]
    found = {name for name in names if re.search(pattern, name)}
    if not found:
        offer = nearest(pattern.replace("\\", ""), names) or names[:3]
        raise ConfigError(
            f"strategy 'partial:{pattern}' matches no parameter of {backbone.spec.name}; some of its names: {', '.join(offer)}"
        )
    return found


def live_modules(net: nn.Module, names: set[str]) -> list[str]:
    """Modules all of whose parameters are in `names`; one without parameters goes with the module that it is in.
    Never batch-norm."""
    live: set[str] = set()
    for name, module in net.named_modules():
        own = [f"{name}.{leaf}" if name else leaf for leaf, _ in module.named_parameters()]
        whole = all(leaf in names for leaf in own) if own else name.rpartition(".")[0] in live
        if whole and name and not isinstance(module, OF_STATISTICS):
            live.add(name)
    return [name for name, _ in net.named_modules() if name in live]
