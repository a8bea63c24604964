"""`full`: everything trains, and every module follows `train()`."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from zoo.adaptation.plan import AdapterOptions, Plan
from zoo.backbones.base import Backbone
from zoo.strategy import Full


def apply(strategy: Full, backbone: Backbone, options: AdapterOptions) -> Plan:
    """The plan in which all parameters and batch-norm statistics may change."""
    net = backbone.net
    buffers = _statistics(net)
    return Plan.of_backbone(
        strategy,
        backbone,
        {name: "backbone" for name, _ in net.named_parameters()},
        live=[name for name, _ in net.named_modules()],
        buffers=buffers,
        note="everything live" + (", batch-norm statistics included" if buffers else ""),
    )


def _statistics(net: nn.Module) -> list[str]:
    """Names of the running statistics that a forward in train mode moves."""
    return [
        f"{prefix}.{name}" if prefix else name
        for prefix, module in net.named_modules()
        if isinstance(module, _NormBase) and module.track_running_stats
        for name, _ in module.named_buffers(recurse=False)
    ]
