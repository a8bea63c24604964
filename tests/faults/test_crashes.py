"""A death at any moment loses nothing that was whole before it: see crashing.py."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LEAST = {
    "Folder": 30,
    "NewFolder": 20,
    "File": 4,
    "NewRun": 8,
    "Checkpoints": 80,
    "BestModel": 20,
    "Cached": 6,
    "Answers": 80,
}
"""Deaths at least, both ways together: fewer, and the harness has gone deaf."""


def crash(unit, folder, *options):
    command = [sys.executable, str(HERE / "crashing.py"), unit, str(folder), *map(str, options)]
    path = os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["wrong"] == [], done.stderr
    return found["died"]


@pytest.mark.parametrize("unit", LEAST)
def test_a_death_at_every_event(tmp_path, unit):
    assert crash(unit, tmp_path / "crashes") >= LEAST[unit]


def test_a_file_of_another_format_at_some_events(tmp_path):
    assert crash("ParquetAnswers", tmp_path / "crashes", "--every", 45, "--offset", random.Random(3).randrange(45)) >= 2


@pytest.mark.slow
def test_a_file_of_another_format(tmp_path):
    assert crash("ParquetAnswers", tmp_path / "crashes", "--every", 9, "--offset", 4) >= 10


def test_a_run_that_dies_somewhere(tmp_path):
    assert crash("WholeRun", tmp_path / "crashes", "--every", 1000, "--offset", random.Random(12).randrange(20, 80)) == 2


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("offset", range(0, 20, 4))
def test_a_run_that_dies_at_many_moments(tmp_path, offset):
    assert crash("WholeRun", tmp_path / "crashes", "--every", 20, "--offset", offset) > 10
