"""`make mutants`: break each promised rule by hand, one at a time, and see that its tests fail.

`table.yaml` lists the mutants: a rule, the file and the text that keep it, the text that breaks it, and the tests that must tell. Each is
put into a copy of the project, so that the checkout is never touched. General mutators cannot say most of these ("fsync gone").

    python tests/mutants/run.py [--jobs N] [WORD ...]      those whose rule or file contains a word; all without one
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("table.yaml")
COPIED = (
    "zoo",
    "adapters",
    "recipes",
    "model_cards",
    "tests",
    "benchmarks",
    "docs",
    "pyproject.toml",
    "README.md",
    "CHANGELOG.md",
)
SECONDS = 900
"""In which the tests of a mutant have to end: one that hangs is told apart as well, and counts as killed."""


@dataclass(frozen=True)
class Mutant:
    """A rule, and a change that breaks it."""

    rule: str
    file: str
    """Below the project's folder."""
    old: str
    """Occurs exactly once in the file."""
    new: str
    tests: tuple[str, ...]
    """As pytest names them: at least one must fail."""


def read() -> list[Mutant]:
    """The table."""
    return [Mutant(**{**row, "tests": tuple(row["tests"])}) for row in yaml.safe_load(TABLE.read_text(encoding="utf-8"))]


def outcome(mutant: Mutant, place: Path) -> str:
    """`killed` if a test fails, `lived` if all pass, else what is wrong with the table. `place` is a copy of the project of its own."""
    path = place / mutant.file
    before = path.read_text(encoding="utf-8")
    if before.count(mutant.old) != 1:
        return f"stale: its text occurs {before.count(mutant.old)} times"
    path.write_text(before.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "slow or not slow", *mutant.tests]
        environment = {**os.environ, "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        status = subprocess.run(command, cwd=place, env=environment, capture_output=True, timeout=SECONDS, check=False).returncode
    except subprocess.TimeoutExpired:
        return "killed"
    finally:
        path.write_text(before, encoding="utf-8")
    # pytest: 0 all passed, 1 some failed, 2 interrupted (an import that fails), 4 a test that is not there, 5 none at all.
    return {0: "lived", 1: "killed", 2: "killed"}.get(status, f"stale: pytest ended with status {status}")


def main() -> int:
    """Run the mutants, print a table, and give 1 if one is not killed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    chosen = [one for one in read() if not given.words or any(word in f"{one.rule} {one.file}" for word in given.words)]
    with tempfile.TemporaryDirectory(prefix="zoo-mutants-") as folder, ThreadPoolExecutor(given.jobs) as pool:
        places = [_copy(Path(folder) / str(number)) for number in range(given.jobs)]

        def run(mutant: Mutant) -> str:
            place, began = places.pop(), time.monotonic()
            try:
                found = outcome(mutant, place)
            finally:
                places.append(place)
            print(f"{found:8} {time.monotonic() - began:5.0f} s  {mutant.file}: {mutant.rule}", flush=True)
            return found

        found = list(pool.map(run, chosen))
    print(f"{found.count('killed')} of {len(found)} mutants killed")
    return int(found.count("killed") != len(found))


def _copy(place: Path) -> Path:
    place.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place / name)
    return place


if __name__ == "__main__":
    sys.exit(main())
