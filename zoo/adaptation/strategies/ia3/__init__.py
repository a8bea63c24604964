"""`ia3`: learned factors on the outputs of modules whose weights are frozen."""

from __future__ import annotations

from dataclasses import dataclass

from zoo.strategy import Strategy


@dataclass(frozen=True)
class IA3(Strategy):
    """A factor for each output of the modules that `lora` would adapt, (IA)3, arxiv.org/abs/2205.05638."""

    kind = "ia3"
    use = "little data, small files: a factor for each output of attention and MLP"

    adapter = True
    adapter_options = ("lora_targets",)
