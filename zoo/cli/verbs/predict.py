"""`zoo predict`."""

from __future__ import annotations

import csv as formats
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from zoo.cli import flags
from zoo.cli.answer import Answer, table
from zoo.cli.flags import Common
from zoo.errors import ConfigError

if TYPE_CHECKING:
    from zoo.types import Prediction


def predict(
    best: Path,
    paths: list[Path],
    /,
    *,
    top: Annotated[int | None, Parameter(converter=flags.exactly)] = None,
    csv: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    batch_size: Annotated[int, Parameter(converter=flags.exactly)] = 32,
    weights: str | None = None,
    common: Common = flags.NONE,
) -> Answer:
    """Say what is in pictures. Files that cannot be read are named on stderr.

    Try:
        zoo predict runs/resnet50-linear-probe-photos-1/best cat.jpg dogs/
        zoo predict published/ dogs/ --top 3 --csv > answers.csv

    Args:
        best: The `best` folder of a run, or a published folder.
        paths: Pictures, and folders of pictures.
        top: How many classes to give for a picture, most probable first. [default: 1; all with --json]
        csv: Print comma-separated values: input, rank, label, probability.
        batch_size: Pictures in one forward pass.
        weights: File or folder of the pretrained weights, for a folder that holds the trained tensors alone.
    """
    if csv and common.json:
        raise ConfigError("--csv and --json exclude each other; give one of them")
    if top is not None and top < 1:
        raise ConfigError(f"--top is {top}; it is 1 or more")
    from zoo import api

    answers = api.predict(best, [str(path) for path in paths], weights=weights, batch_size=batch_size)
    values = {"predictions": [_values(answer, top) for answer in answers], "unreadable": list(answers.unreadable)}
    rows = [row for answer in answers for row in _rows(answer, top or 1)]
    return Answer(values, _csv(rows) if csv else table(rows), notes=[f"zoo: {reason}" for reason in answers.unreadable])


def _values(answer: Prediction, top: int | None) -> dict[str, Any]:
    return {
        "input": answer.input,
        "label": answer.label,
        "probability": answer.probability,
        "probabilities": dict(list(answer.probabilities.items())[:top]),
    }


def _rows(answer: Prediction, top: int) -> list[dict[str, Any]]:
    ranked = list(answer.probabilities.items())[:top]
    return [
        {"input": answer.input, "rank": rank, "label": label, "probability": probability}
        for rank, (label, probability) in enumerate(ranked, start=1)
    ]


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = formats.DictWriter(text, ("input", "rank", "label", "probability"), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().removesuffix("\n")
