"""How a run will be trained: what of it can be computed once.

solved     a linear head on an inert backbone: features once, then the head's optimum
rows       another head, or last stages that train: what comes before them once, then the loop on that
samples    everything else: the loop on samples
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from zoo import cache, decisions
from zoo.adaptation import boundary, layout
from zoo.adaptation.boundary import Cut
from zoo.adaptation.model import AdaptedModel
from zoo.config import FinetuneConfig
from zoo.decisions import Decision
from zoo.errors import ConfigError
from zoo.types import Kind

log = logging.getLogger("zoo")

WORTH = 0.2
"""Share of the forward pass's multiplications from which computing it once is worth the room that activations take."""


@dataclass(frozen=True)
class Method:
    """How a model will be trained."""

    name: str
    """`solved`, `rows` or `samples`."""
    cut: Cut | None
    """Where what is computed once ends."""
    why: str
    """For people, in one line."""
    keep_features: str | None = None
    """Value of the option of this name where this was decided by what a machine has: another would decide otherwise."""


def agreed_method(model: AdaptedModel, config: FinetuneConfig, samples: int, machine: Accelerator) -> Method:
    """As `choose_method`, as the first of several processes decides: it looks at the room on its disk, and others might find another."""
    method = choose_method(model, config, samples)
    if machine.num_processes == 1:
        return method
    decided = [(method.name, method.why, method.keep_features)]
    broadcast_object_list(decided)
    name, why, keep_features = decided[0]
    return Method(name, None if name == "samples" else boundary.cut(model), why, keep_features)


def choose_method(model: AdaptedModel, config: FinetuneConfig, samples: int) -> Method:
    """The fastest way that gives what the options ask for. `samples`: how many there are, all splits together. Raises: ConfigError."""
    data, kind = config.data, model.backbone.preprocess.kind
    if data.keep_features == "never":
        return Method("samples", None, "nothing is computed once (keep_features never)")
    if data.augment != "none" and data.views is None:
        return _on_samples(config, f"{kind.nouns} are varied anew each epoch (augment {data.augment})")
    cut = boundary.cut(model)
    if cut is None:
        kept = f"of {kind.nouns}, which differ in length, only pooled features are kept"
        return _on_samples(config, "training reaches the first stage" if kind is Kind.IMAGE else kept)
    if not _is_behind(cut):
        return _between(cut, model, config, samples * (data.views or 1))
    if not (layout.is_plain_linear(model.head) and config.model.head_fit == "solved"):
        return Method("rows", cut, f"the backbone is inert: {cut.where} are computed once, and the head is trained on them")
    if config.model.keep_head:
        raise ConfigError(
            "keep_head starts from another head, and this one is solved anew; add --head-fit stepped, or leave it out"
        )
    return Method("solved", cut, "the backbone is inert: features are computed once, and the head is solved on them")


def _on_samples(config: FinetuneConfig, why: str) -> Method:
    """Raises: ConfigError if features were to be kept whatever it takes."""
    if config.data.keep_features == "always":
        raise ConfigError(f"keep_features is always, and {why}, so nothing can be computed once; give --keep-features auto")
    return Method("samples", None, f"{why}, so nothing can be computed once")


def _is_behind(cut: Cut) -> bool:
    return cut.where in ("pooled features", "tokens")


def _between(cut: Cut, model: AdaptedModel, config: FinetuneConfig, rows: int) -> Method:
    """`rows` if what is saved is worth the room, and the room is there. The choice is settled: a resumed run finds another room."""
    example = model.backbone.preprocess.example(1).to(next(model.parameters()).device)
    with torch.no_grad():
        activations = cut.prefix(example)
    before, after = flops(cut.prefix, example), flops(cut.tail.eval(), activations)
    cut.tail.train(model.training)
    share, need = before / max(1, before + after), rows * activations[0].numel() * 4
    what = f"activations at {cut.where}: {share:.0%} of the forward pass comes before; they take {_size(need)}"
    if config.data.keep_features == "always":
        if need > room(config):
            log.warning("%s, and %s: make room, or give --keep-features never", what, _there_was(room(config)))
        return Method("rows", cut, f"{what}, and are computed once", "always")
    if share < WORTH:
        return Method("samples", None, f"{what}; not worth computing once", "never")
    decided = _by_room(cut, model, config, need)
    if decided.options["keep_features"] == "always":
        return Method("rows", cut, f"{what}, and are computed once", "always")
    return Method("samples", None, f"{what}, and {decided.why}", "never")


def _by_room(cut: Cut, model: AdaptedModel, config: FinetuneConfig, need: int) -> Decision:
    """Whether there is room, as it was when this was decided: other runs fill the disk, and equal ones are to be equal."""

    def decide() -> Decision:
        free = room(config)
        why = f"{_there_was(free)} when this was decided (`zoo cache clear decisions` forgets it): not computed once"
        return Decision({"keep_features": "never" if need > free else "always"}, why)

    place, backbone = cache.place(config.machine.cache), model.backbone
    facts = {"backbone": backbone.spec.id, "weights": backbone.base_sha256, "what": cut.where, "bytes": need}
    facts |= {"cache_gb": config.machine.cache_gb} | decisions.machine(["torch", backbone.spec.loader])
    return decisions.once(place, facts, ("keep_features",), decide)


def _there_was(free: float) -> str:
    return f"there was room for {_size(free)} (--cache-gb, the disk)"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def flops(module: nn.Module, inputs: Tensor) -> int:
    """Multiplications and additions of one forward pass: the same on every machine, whatever else it does."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(inputs)
    return int(counter.get_total_flops())


def seconds(module: nn.Module, inputs: Tensor) -> float:
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
