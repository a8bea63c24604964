"""One of several training processes: `python -m zoo.jobs.worker RUN FOLDER PARENT [LOCK]`; see `launch.run_workers`."""

from __future__ import annotations

import logging
import os
import signal
import sys
import traceback
from pathlib import Path

from zoo import interrupts

# Until `main` handles it: Ctrl-C would leave a traceback of what is being imported. Whoever started this process says what there is to say.
if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    interrupts.let_through()

from zoo import locks, runs, streams
from zoo.data.loading import workers
from zoo.interrupts import Stopped
from zoo.jobs import preparing, resume
from zoo.training import launch


def main(run_path: str, folder: str, parent: str, lock: str | None = None) -> int:
    """Train the run beside the others; what ends it is left in `folder` for the parent, which decides when signals come again."""
    launch.end_with(int(parent))
    if lock is not None:
        locks.keep(int(lock))
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        with interrupts.handled(patient=True):
            run = runs.open_run(run_path)
            launch.meet(Path(folder), run.resolved().config.machine.device)
            resume.train(run, preparing.Extras())
    except (Exception, KeyboardInterrupt) as error:
        launch.report(Path(folder), error, traceback.format_exc())
        return error.exit_status if isinstance(error, Stopped) else 1
    return 0


if __name__ == "__main__":
    status = main(*sys.argv[1:])
    workers.end_workers()
    logging.shutdown()
    streams.lasting(sys.stderr).flush()
    os._exit(status)  # all is written; what Python takes apart at its end costs seconds, for which the others would wait
