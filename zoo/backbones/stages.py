"""Which parts a network has: its stages and its normalisation modules, by name.

A family's YAML says it in regular expressions; where the family is not known, timm's own grouping of the parameters does, or the
longest list of layers.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from timm.models import group_parameters
from torch import nn

from zoo.backbones.base import Stage
from zoo.errors import ConfigError
from zoo.registry import Family


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


def guessed_stages(net: Any) -> list[Stage]:
    """The stages of a network of unknown family: timm's groups, which it uses for layer-wise learning rates.

    A last group of nothing but normalisation joins the one before it. Where there are no groups, one stage a layer: see `layers`.
    """
    if not hasattr(net, "group_matcher"):
        return layers(net)
    # group_parameters applies timm's patterns as timm means them, with re.match: several have alternatives without an anchor.
    group_of = group_parameters(net, net.group_matcher(coarse=True), reverse=True)
    groups: dict[int, list[str]] = defaultdict(list)
    for parameter, _ in net.named_parameters():
        groups[group_of[parameter]].append(parameter)
    ordered = [groups[number] for number in sorted(groups)]
    norms = set(norm_modules(net))
    if len(ordered) > 1 and all(parameter.rpartition(".")[0] in norms for parameter in ordered[-1]):
        ordered[-2:] = [ordered[-2] + ordered[-1]]
    return [Stage(f"group{number}", tuple(inside)) for number, inside in enumerate(ordered)]


def layers(net: nn.Module) -> list[Stage]:
    """A stage for each layer of the longest list of modules, after one for what stands before it (`embeddings`).

    What stands behind the list joins its last layer. One stage in all (`network`) where there is no list of two or more.
    """
    lists = [(name, len(module)) for name, module in net.named_modules() if isinstance(module, nn.ModuleList) and len(module) > 1]
    parameters = [name for name, _ in net.named_parameters()]
    if not lists:
        return [Stage("network", tuple(parameters))]
    longest, count = max(lists, key=lambda item: item[1])  # of equals the first, so the outermost
    members: list[list[str]] = [[] for _ in range(count + 1)]
    at = 0
    for parameter in parameters:
        if parameter.startswith(f"{longest}."):
            at = 1 + int(parameter.removeprefix(f"{longest}.").partition(".")[0])
        elif at:
            at = count
        members[at].append(parameter)
    names = ["embeddings", *(f"layer{number}" for number in range(count))]
    return [Stage(name, tuple(inside)) for name, inside in zip(names, members, strict=True) if inside]


def norm_modules(net: nn.Module, family: Family | None = None) -> list[str]:
    """Names of the normalisation modules that hold tensors; of those, the ones that the family's expression names if it is known.

    A norm is told by the name of its class: torch's, timm's and transformers' all have `Norm` in it, and share no base class.
    """
    pattern = re.compile(family.norms if family else ".*")
    return [
        name
        for name, module in net.named_modules()
        if "Norm" in type(module).__name__ and pattern.fullmatch(name) and _holds_tensors(module)
    ]


def _holds_tensors(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False)) or any(True for _ in module.buffers(recurse=False))
