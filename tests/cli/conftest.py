"""The command line, run in this process."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from zoo.cli import main


@dataclass
class Ran:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The last line of stdout, read strictly (no NaN)."""
        return json.loads(self.out.splitlines()[-1], parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))

    def refused(self) -> str:
        """The one line of a mistake that the user can mend, without its prefix."""
        assert self.status == 2
        assert self.out == "" or self.json["exit_status"] == 2
        assert self.err.startswith("zoo: ")
        assert self.err.count("\n") == 1
        return self.err.removeprefix("zoo: ").rstrip("\n")


@pytest.fixture
def zoo_cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs `zoo WORDS...` and gives what it printed and its exit status."""

    def run(*words: str) -> Ran:
        capsys.readouterr()
        status = main(words)
        return Ran(status, *capsys.readouterr())

    return run
