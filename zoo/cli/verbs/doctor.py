"""`zoo doctor`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from zoo.cli import flags
from zoo.cli.flags import Common
from zoo.cli.output import Output, table


def doctor(path: Annotated[Path | None, Parameter(converter=flags.place)] = None, /, *, common: Common = flags.NONE) -> Output:
    """Say what of a run, a model or the cache is whole, and what to do about what is not.

    Every file that has a digest is read; nothing is changed. The exit status is
    1 where something is not whole.

    Try:
        zoo doctor runs/resnet50-linear-probe-photos-1
        zoo doctor published/
        zoo doctor

    Args:
        path: A run, its `best` folder, a published folder, or a cache. [default: the cache]
    """
    from zoo import api

    found = api.examine(path)
    rows = [{"part": one.part, "state": "whole" if one.whole else "not whole", "found": one.said} for one in found]
    advice = dict.fromkeys(one.advice for one in found if one.advice)
    whole = all(one.whole for one in found)
    values = {"whole": whole, "parts": [asdict(one) for one in found]}
    return Output(values, table(rows), "", *advice, status=0 if whole else 1)
