"""What a strategy does to a backbone, written down: the one object that optimiser, checkpoints, audits and `zoo show` read."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from zoo.backbones.backbone import Backbone
from zoo.strategy import Strategy

NET = "backbone.net."
"""Before the names of the network's tensors and modules, to make them names in AdaptedModel."""


@dataclass(frozen=True)
class AdapterOptions:
    """The options of `lora:R` beside its rank."""

    alpha: float | None = None
    """The update is scaled by alpha / rank. None: twice the rank."""
    dropout: float = 0.0
    """Dropout before the update; 0 to 1."""
    targets: str | None = None
    """Regular expression for the whole names of the modules that are adapted. None: the family's."""


@dataclass(frozen=True)
class Phase:
    """What of a backbone trains for a while; by name in AdaptedModel, as in the plan."""

    tensors: tuple[str, ...]
    live: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """Everything that training may change, by name in AdaptedModel. All else is inert: no gradient, and always in eval mode."""

    strategy: Strategy
    tensors: Mapping[str, str]
    """Each parameter that trains, and its group: `backbone`, `adapter`, `norm`, `bias` or `head`."""
    live: tuple[str, ...]
    """Modules that follow `train()`; each for itself, not with its children."""
    buffers: tuple[str, ...]
    """State that changes or is made here without a gradient: batch-norm statistics under `full`, and what else the head holds."""
    count: int
    """Numbers in `tensors`."""
    total: int
    """Numbers in all parameters of the model, frozen ones included."""
    note: str
    """What is special about the frozen part, in a few words."""
    phases: tuple[Phase, ...] = ()
    """What trains one after another, each with all before it; the head always does. Empty: everything from the first step."""
    phase_epochs: float = 1.0
    """Epochs from one phase to the next."""

    @classmethod
    def of_backbone(
        cls,
        strategy: Strategy,
        backbone: Backbone,
        tensors: Mapping[str, str],
        *,
        live: Iterable[str] = (),
        buffers: Iterable[str] = (),
        note: str,
    ) -> Plan:
        """The plan of a backbone as yet without a head; names are relative to its network (`""` is the network itself)."""
        sizes = {name: parameter.numel() for name, parameter in backbone.net.named_parameters()}
        return cls(
            strategy=strategy,
            tensors={NET + name: group for name, group in tensors.items()},
            live=tuple(full for name in live for full in ([NET + name] if name else ["backbone", NET.rstrip(".")])),
            buffers=tuple(NET + name for name in buffers),
            count=sum(sizes[name] for name in tensors),
            total=sum(sizes.values()),
            note=note,
        )

    def with_head(self, head: nn.Module) -> Plan:
        """The plan with everything in `head` added. Parameters that came frozen stay so, and are kept with the trained state."""
        parameters = dict(head.named_parameters())
        trained = {name: parameter for name, parameter in parameters.items() if parameter.requires_grad}
        state = set(head.state_dict())
        kept = [name for name, _ in (*head.named_parameters(), *head.named_buffers()) if name in state and name not in trained]
        return dataclasses.replace(
            self,
            tensors={**self.tensors, **{f"head.{name}": "head" for name in trained}},
            live=(*self.live, *(f"head.{name}".rstrip(".") for name, _ in head.named_modules())),
            buffers=(*self.buffers, *(f"head.{name}" for name in kept)),
            count=self.count + sum(parameter.numel() for parameter in trained.values()),
            total=self.total + sum(parameter.numel() for parameter in parameters.values()),
        )

    def phase_at(self, epoch: float) -> int:
        """Number of the phase in which a step `epoch` epochs after the start falls; 0 where there are no phases."""
        return min(int(epoch / self.phase_epochs), len(self.phases) - 1) if self.phases else 0

    def summary(self) -> str:
        """One line for people: `trains 2 tensors, 20,490 parameters, 0.1 % of 23.5 M; backbone inert`."""
        share = 100 * self.count / max(self.total, 1)
        percent = f"{share:.1f}" if share >= 0.05 or share == 0 else f"{share:.1g}"
        total = f"{self.total / 1e6:.1f} M" if self.total >= 1e5 else f"{self.total:,}"
        noun = "tensor" if len(self.tensors) == 1 else "tensors"
        return f"trains {len(self.tensors)} {noun}, {self.count:,} parameters, {percent} % of {total}; {self.note}"
