"""`zoo publish`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from zoo.cli import flags
from zoo.cli.flags import Common
from zoo.cli.output import Output


def publish(
    best: Annotated[Path, Parameter(converter=flags.place)],
    /,
    *,
    to: str,
    force: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    public: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    common: Common = flags.NONE,
) -> Output:
    """Copy a fine-tuned model and its card into a folder, or upload them to the Hub (privately, unless --public is given).

    Try:
        zoo publish runs/resnet50-linear-probe-photos-1/best --to ./published
        zoo publish runs/resnet50-linear-probe-photos-1/best --to me/pets

    Args:
        best: The `best` folder of a run.
        to: A folder (./NAME or /PATH), or a repository of the Hub (OWNER/NAME); the Hub's own login is used.
        force: Replace a card that differs, and publish a card or figures that were edited here.
        public: Let everybody see a new repository.
    """
    from zoo import api

    place = api.publish(best, to, force=force, private=not public)
    return Output({"published": place}, f"published: {place}")
