"""What is imported while others compute is there when it is used, and none of it before."""

import subprocess
import sys

import pytest

from zoo import imports

HEAVY = ("sklearn", "matplotlib", "pandas", "scipy.stats", "datasets", "evaluate")

STATE = f"print([name for name in {HEAVY} if name in sys.modules])"


def ran(*lines: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", "\n".join(("import sys", *lines))], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.parametrize("module", ["zoo.jobs.finetune", "zoo.jobs.predict", "zoo.jobs.evaluate", "zoo.inference"])
def test_nothing_heavy_is_imported_before_it_is_used(module: str) -> None:
    assert ran(f"import {module}", STATE) == "[]\n"


def test_what_comes_ahead_is_there_after_waiting() -> None:
    assert (
        ran("from zoo import imports", "imports.ahead(); imports.wait()", f"print(set({imports.LATER}) <= set(sys.modules))")
        == "True\n"
    )


def test_a_process_forks_only_when_the_imports_are_done() -> None:
    """A lock that a thread holds while the process forks is held for ever in the copy."""
    code = """
import os, threading, time
from zoo import imports
def slowly():
    time.sleep(0.5)
    done.append(True)
done = []
imports._import = slowly
imports.ahead()
import numpy as np, torch
from torch.utils.data import DataLoader
from zoo.data.loading.loaders import _Feed
class Samples:
    samples = None
feed = _Feed(DataLoader([1, 2], num_workers=0), Samples())
print(done)
"""
    assert ran(code) == "[True]\n"
