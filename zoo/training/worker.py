"""One of several training processes: `python -m torch.distributed.run ... -m zoo.training.worker RUN`."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from zoo import runs
from zoo.errors import ZooError
from zoo.training import session


def main(path: str) -> int:
    """Train the run in `path`; the first process to fail leaves its one-line message in problem.txt."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    problem = Path(path) / "problem.txt"
    try:
        session.resume(runs.open_run(path), session.Extras())
    except (ZooError, KeyboardInterrupt) as error:
        if not problem.exists():
            problem.write_text(str(error), encoding="utf-8")
        return error.exit_status if isinstance(error, ZooError) else 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
