"""How a run will be trained: what of it can be computed once.

solved     a linear head on an inert backbone: features once, then the head's optimum
rows       another head, or last stages that train: what comes before them once, then the loop on that
samples    everything else: the loop on samples
"""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import nn

from zoo import cache
from zoo.adaptation import boundary, layout
from zoo.adaptation.boundary import Cut
from zoo.adaptation.model import AdaptedModel
from zoo.config import FinetuneConfig
from zoo.errors import ConfigError
from zoo.types import Kind

WORTH = 0.2
"""Share of the forward pass from which computing it once is worth the room that activations take."""


@dataclass(frozen=True)
class Way:
    """How a model will be trained."""

    name: str
    """`solved`, `rows` or `samples`."""
    cut: Cut | None
    """Where what is computed once ends."""
    why: str
    """For people, in one line."""


def agreed_way(model: AdaptedModel, config: FinetuneConfig, samples: int, machine: Accelerator) -> Way:
    """As `choose_way`, as the first of several processes decides: it measures, and others may measure otherwise."""
    way = choose_way(model, config, samples)
    if machine.num_processes == 1:
        return way
    decided = [(way.name, way.why)]
    broadcast_object_list(decided)
    name, why = decided[0]
    return Way(name, None if name == "samples" else boundary.cut(model), why)


def choose_way(model: AdaptedModel, config: FinetuneConfig, samples: int) -> Way:
    """The fastest way that gives what the options ask for. `samples`: how many there are, all splits together."""
    data, kind = config.data, model.backbone.preprocess.kind
    if data.augment != "none" and data.views is None:
        varied = f"{kind.nouns} are varied anew each epoch (augment {data.augment})"
        return Way("samples", None, f"{varied}, so nothing can be computed once")
    cut = boundary.cut(model)
    if cut is None:
        kept = f"of {kind.nouns}, which differ in length, only pooled features are kept"
        why = "training reaches the first stage" if kind is Kind.IMAGE else kept
        return Way("samples", None, f"{why}, so nothing can be computed once")
    if _is_behind(cut):
        if config.model.keep_head and layout.is_plain_linear(model.head) and config.model.head_fit == "solved":
            raise ConfigError(
                "keep_head starts from another head, and this one is solved anew; add --head-fit stepped, or leave it out"
            )
        if layout.is_plain_linear(model.head) and config.model.head_fit == "solved":
            return Way("solved", cut, "the backbone is inert: features are computed once, and the head is solved on them")
        return Way("rows", cut, f"the backbone is inert: {cut.where} are computed once, and the head is trained on them")
    return _if_worth(cut, model, config, samples * (data.views or 1))


def _is_behind(cut: Cut) -> bool:
    return cut.where in ("pooled features", "tokens")


def _if_worth(cut: Cut, model: AdaptedModel, config: FinetuneConfig, rows: int) -> Way:
    """`rows` if what is saved is worth the room, and the room is there."""
    example = model.backbone.preprocess.example(4).to(next(model.parameters()).device)
    with torch.inference_mode():
        activations = cut.prefix(example)
    before, after = seconds(cut.prefix, example), seconds(cut.tail, activations)
    share = before / (before + after)
    free, need = room(config), rows * activations[0].numel() * 4
    what = f"activations at {cut.where}: {share:.0%} of the forward pass comes before; they take {_size(need)}"
    if share < WORTH:
        return Way("samples", None, f"{what}; not worth computing once")
    if need > free:
        return Way("samples", None, f"{what}, and there is room for {_size(free)} (--cache-gb, the disk): not computed once")
    return Way("rows", cut, f"{what}, and are computed once")


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def seconds(module: nn.Module, inputs: torch.Tensor) -> float:
    """Time of one forward pass, the better of two after one to warm up."""
    times = []
    with torch.inference_mode():
        for _ in range(3):
            began = time.perf_counter()
            module(inputs).sum().item()  # waits for a GPU
            times.append(time.perf_counter() - began)
    return min(times[1:])


def room(config: FinetuneConfig) -> float:
    """Bytes that what is computed once may take."""
    place = cache.place(config.machine.cache)
    existing = next(path for path in ((place or Path(tempfile.gettempdir())) / "x").absolute().parents if path.exists())
    free = 0.8 * shutil.disk_usage(existing).free
    return free if place is None else min(free, config.machine.cache_gb * 1e9)
