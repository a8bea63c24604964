"""Which parts a network has: its stages and its normalisation modules, by name.

A family's YAML says it in regular expressions; where the family is not known, timm's own grouping of the parameters does, or the
list of layers that holds most of the network.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from timm.models import group_parameters
from torch import nn

from zoo.backbones.backbone import Stage
from zoo.errors import ConfigError
from zoo.registry import Family

WHOLE = 0.95
"""A last stage with a greater share of the parameters is not part of a network, but nearly all of it: the stages were found wrongly."""
HARDLY = 0.02
"""A last group with a smaller share is not a stage that anybody would train alone: a norm, a neck, tables that all layers use."""

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
OF_STATISTICS = (*BATCH_NORMS, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d)
"""Norms that can keep running statistics."""
_TORCHS = (*OF_STATISTICS, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def family_stages(family: Family, parameters: Iterable[str]) -> list[Stage]:
    """The stages of these parameters, input to output, as the family's regular expressions say.

    Raises: ConfigError if a parameter belongs to no stage, or to two.
    """
    members: dict[tuple[int, int], list[str]] = defaultdict(list)
    tail: list[str] = []
    patterns = [re.compile(pattern) for pattern in family.stages.values()]
    for parameter in parameters:
        hits = [(order, match) for order, pattern in enumerate(patterns) if (match := pattern.match(parameter))]
        in_tail = family.tail is not None and re.match(family.tail, parameter) is not None
        if len(hits) + in_tail != 1:
            found = "two stages" if hits else "no stage"
            raise ConfigError(f"adapters/{family.name}.yaml: parameter {parameter!r} belongs to {found}")
        if in_tail:
            tail.append(parameter)
        else:
            order, match = hits[0]
            number = next((int(group) for group in match.groups() if group and group.isdigit()), -1)
            members[order, number].append(parameter)
    names = list(family.stages)
    stages = [(names[order] + (str(number) if number >= 0 else ""), members[order, number]) for order, number in sorted(members)]
    stages[-1][1].extend(tail)
    return [Stage(name, tuple(inside)) for name, inside in stages]


def guessed_stages(net: nn.Module) -> list[Stage]:
    """The stages of a network of unknown family: timm's groups, which it uses for layer-wise learning rates, else one stage a layer.

    Coarse groups, finer ones, layers: the first of which the last stage is a part of the network. One stage in all (`network`) where
    none is.
    """
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    for stages in (_groups(net, coarse=True), _groups(net, coarse=False), layers(net)):
        if len(stages) > 1 and _share(stages[-1].parameters, sizes) <= WHOLE:
            return stages
    return _one_stage(net)


def _groups(net: Any, *, coarse: bool) -> list[Stage]:
    """timm's own groups, in their order; none where it has none, or fails at it (RDNet has no coarse ones).

    What is hardly a part of the network, as a last norm or what timm's patterns do not name, joins what stands before it.
    """
    try:
        # group_parameters applies timm's patterns as timm means them, with re.match: several have alternatives without an anchor.
        group_of = group_parameters(net, net.group_matcher(coarse=coarse), reverse=True)
    except Exception:  # whatever each network's own method raises
        return []
    groups: dict[int, list[str]] = defaultdict(list)
    for parameter, _ in net.named_parameters():
        groups[group_of[parameter]].append(parameter)
    ordered = [groups[number] for number in sorted(groups)]
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    norms = set(norm_modules(net))
    of_norms = all(parameter.rpartition(".")[0] in norms for parameter in ordered[-1])
    if len(ordered) > 1 and (of_norms or _share(ordered[-1], sizes) < HARDLY):
        ordered[-2:] = [ordered[-2] + ordered[-1]]
    return [Stage(f"group{number}", tuple(inside)) for number, inside in enumerate(ordered)]


def layers(net: nn.Module) -> list[Stage]:
    """A stage for each layer of the list of modules that holds most of the network, after one for what stands before it (`embeddings`).

    A list is a ModuleList or a Sequential of two or more; of equals the outermost. One that has nearly all of it in its last layer is
    passed over. What stands behind the list joins its last layer. One stage in all (`network`) where there is no such list.
    """
    sizes = {name: parameter.numel() for name, parameter in net.named_parameters()}
    lists = [(name, module) for name, module in net.named_modules() if isinstance(module, (nn.ModuleList, nn.Sequential))]
    held = {name: sum(parameter.numel() for parameter in module.parameters()) for name, module in lists}
    for name, module in sorted(lists, key=lambda item: -held[item[0]]):  # stable, so of equals the outermost
        stages = _along(name, module, sizes)
        if len(module) > 1 and len(stages) > 1 and _share(stages[-1].parameters, sizes) <= WHOLE:
            return stages
    return _one_stage(net)


def _along(name: str, layers: nn.ModuleList | nn.Sequential, parameters: Iterable[str]) -> list[Stage]:
    """What stands before a list of layers, and each layer that holds parameters; what stands behind goes with the last."""
    places = {child: number for number, (child, _) in enumerate(layers.named_children(), start=1)}
    members: list[list[str]] = [[] for _ in range(len(places) + 1)]
    at, prefix = 0, f"{name}." if name else ""
    for parameter in parameters:
        child = parameter.removeprefix(prefix).partition(".")[0]
        if parameter.startswith(prefix) and child in places:
            at = places[child]
        elif at:
            at = len(places)
        members[at].append(parameter)
    names = ["embeddings", *(f"layer{number}" for number in range(len(places)))]
    return [Stage(own, tuple(inside)) for own, inside in zip(names, members, strict=True) if inside]


def _one_stage(net: nn.Module) -> list[Stage]:
    return [Stage("network", tuple(name for name, _ in net.named_parameters()))]


def _share(parameters: Iterable[str], sizes: Mapping[str, int]) -> float:
    return sum(sizes[name] for name in parameters) / max(sum(sizes.values()), 1)


def norm_modules(net: nn.Module, family: Family | None = None) -> list[str]:
    """Names of the normalisation modules that hold tensors; of those, the ones that the family's expression names if it is known."""
    pattern = re.compile(family.norms if family else ".*")
    return [
        name for name, module in net.named_modules() if pattern.fullmatch(name) and _is_norm(module) and _holds_tensors(module)
    ]


def _is_norm(module: nn.Module) -> bool:
    """Whether a module normalises. timm's and transformers' own classes share no base with torch's: they have `Norm` in their name, and,
    unlike what only has norms in it (`RobertaPreLayerNormEmbeddings`, `NormFreeBlock`), numbers of their own for each channel alone."""
    if isinstance(module, _TORCHS):
        return True
    a_number_a_channel = all(own.numel() == max(own.shape, default=1) for own in module.parameters(recurse=False))
    inner = any(True for child in module.children() for _ in child.parameters())
    return "Norm" in type(module).__name__ and a_number_a_channel and not inner


def _holds_tensors(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False)) or any(True for _ in module.buffers(recurse=False))
