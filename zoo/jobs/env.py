"""What a bug report needs to know of a machine: versions, processor, engines, folders. Nothing is sent anywhere."""

from __future__ import annotations

import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from zoo import cache
from zoo.engines import catalogue

_PACKAGE = "zoo-finetune"
_FOR_DEVELOPERS = ("dev", "bench", "corpus")
"""Extras that no user needs."""


def environment() -> dict[str, Any]:
    """By name: versions of zoo, Python, the system and the libraries, what computes, and where things are kept."""
    return {
        "zoo": metadata.version(_PACKAGE),
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(),
        "processor": _processor(),
        "cores": f"{len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()} of {os.cpu_count()}",
        "instructions": torch.backends.cpu.get_cpu_capability() + (" with bf16" if catalogue.has_bf16() else ""),
        "gpus": [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())],
        "engines": catalogue.installed(),
        "cache": None if (place := cache.place(None)) is None else str(place),
        "hub_cache": _hub_cache(),
        "libraries": libraries(),
    }


def libraries() -> dict[str, str | None]:
    """The libraries that zoo is declared to need, or to use where they are there: name to version, None where it is missing."""
    found: dict[str, str | None] = {}
    for line in metadata.requires(_PACKAGE) or []:
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        name = re.split(r"[^\w.-]", line, maxsplit=1)[0]
        if name == _PACKAGE or (extra and extra[1] in _FOR_DEVELOPERS):
            continue
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return dict(sorted(found.items()))


def _hub_cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE) + (" (offline)" if constants.HF_HUB_OFFLINE else "")


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:  # no Linux
        found = None
    return found[1] if found else platform.processor() or platform.machine()
