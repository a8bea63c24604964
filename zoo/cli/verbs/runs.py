"""`zoo runs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from zoo.cli import flags
from zoo.cli.flags import Common
from zoo.cli.output import Output, table
from zoo.errors import ZooError

if TYPE_CHECKING:
    from zoo.runs import Run


def runs(folder: Annotated[Path, Parameter(converter=flags.place)] = Path("runs"), /, *, common: Common = flags.NONE) -> Output:
    """List the runs of a folder, oldest first.

    Try:
        zoo runs
        zoo runs experiments/ --json

    Args:
        folder: The folder that holds the runs.
    """
    from zoo import api

    notes: list[str] = []
    rows = [row for run in api.list_runs(folder) if (row := _row(run, notes))]
    return Output({"runs": rows}, table(rows) if rows else f"no runs in {folder}", notes=notes)


def _row(run: Run, notes: list[str]) -> dict[str, Any] | None:
    """What the run's own files say; a damaged one is named in `notes`, and the others are still listed."""
    try:
        model = run.resolved().config.model
        result = {"metric": run.metric, "value": run.value, "seconds": run.seconds}
    except ZooError as error:
        notes.append(f"zoo: left out: {error}")
        return None
    return {"run": str(run.path), "status": run.status, "backbone": model.backbone, "strategy": model.strategy, **result}
