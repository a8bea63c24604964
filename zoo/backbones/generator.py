"""torch's global generators: one a process and a device, which dropout, initial weights and a user's own code draw from.

Whoever seeds them holds them for as long as it draws, so that a model that another thread loads meanwhile changes nothing of what a
training step draws, nor the other way round.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import torch

_lock = threading.RLock()


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Let no other thread seed the generators or draw from them while in here."""
    with _lock:
        yield


@contextlib.contextmanager
def forked(seed: int | None = None, device: torch.device | None = None) -> Iterator[None]:
    """Hold the generators of the CPU and of `device`, seeded where `seed` is given; after this they are as they were."""
    gpus = [device] if device is not None and device.type == "cuda" else []
    with held(), torch.random.fork_rng(devices=gpus):
        if seed is not None:
            torch.default_generator.manual_seed(seed)
            if gpus:
                torch.cuda.manual_seed(seed)
        yield


def _renew() -> None:
    """In a forked child, to which the thread that held the lock has not come along."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
