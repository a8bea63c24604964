"""Freed memory stays with the process while a call lasts, and goes back to the system after it."""

import json
import os
import subprocess
import sys

import pytest

WORK = """
import json, resource, sys
import psutil, torch
from zoo import memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        [torch.ones(1 << 24), torch.ones(1 << 22)]  # 64 and 16 MB: above and below what glibc maps for itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

found = {"before": faults()}
with memory.kept():
    with memory.kept():
        faults()
    found["within"] = faults()
    found["size"] = psutil.Process().memory_info().rss
found["given_back"] = found.pop("size") - psutil.Process().memory_info().rss
print(json.dumps(found))
"""
PAGES = 10 * (64 << 20) // 4096


def counted(**environment):
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, text=True, env=plain | environment, check=True)
    return json.loads(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
def test_pages_are_cleared_once_and_not_at_each_step():
    found = counted()
    assert found["before"] > PAGES / 2
    assert found["within"] < PAGES / 100
    assert found["given_back"] > 60e6


@pytest.mark.skipif(sys.platform != "linux", reason="glibc is Linux's")
@pytest.mark.parametrize("variable", [{"MALLOC_MMAP_MAX_": "65536"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}])
def test_who_has_tuned_the_allocator_keeps_what_was_set(variable):
    assert counted(**variable)["within"] > PAGES / 2
