"""`zoo resume`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from zoo.cli import flags
from zoo.cli.flags import Common
from zoo.cli.output import Output
from zoo.cli.verbs.finetune import finished


def resume(run: Annotated[Path, Parameter(converter=flags.place)], /, *, common: Common = flags.NONE) -> Output:
    """Resume a run from its last complete checkpoint, with the options it was started with.

    Try:
        zoo resume runs/resnet50-linear-probe-photos-1

    Args:
        run: The folder of the run (`zoo runs` lists them).
    """
    from zoo import api

    return finished(api.resume(run))
