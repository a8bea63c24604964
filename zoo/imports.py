"""Modules that will be needed, imported by a thread while others compute: together these imports take half a second."""

from __future__ import annotations

import contextlib
import importlib
import threading

LATER = ("matplotlib.figure", "matplotlib.backends.backend_agg", "matplotlib.style")
"""What measuring and describing a model takes, and training does not."""

_threads: list[threading.Thread] = []


def ahead() -> None:
    """Begin to import them, once. One that cannot be imported says so where it is used."""
    if _threads:
        return
    thread = threading.Thread(target=_import, name="imports", daemon=True)
    _threads.append(thread)
    thread.start()


def wait() -> None:
    """Go on when they are imported. Before a process forks: the locks of a module that is being imported would stay locked in the copy; and
    before they are used, as two threads that import one package can meet in the middle of a circle."""
    for thread in _threads:
        thread.join()


def _import() -> None:
    for module in LATER:
        with contextlib.suppress(Exception):
            importlib.import_module(module)
