"""`zoo evaluate`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from zoo.cli import flags
from zoo.cli.answer import Answer, table
from zoo.cli.flags import Common

if TYPE_CHECKING:
    from zoo.evaluation.report import Report, Value


def evaluate(
    best: Path,
    /,
    *,
    data: str | None = None,
    metric: Annotated[list[str] | None, Parameter(negative="", completer=flags.COMPLETERS["metric"])] = None,
    batch_size: Annotated[int, Parameter(converter=flags.exactly)] = 32,
    weights: str | None = None,
    common: Common = flags.NONE,
) -> Answer:
    """Measure a fine-tuned model on labelled pictures.

    Try:
        zoo evaluate runs/resnet50-linear-probe-photos-1/best --data photos/test
        zoo evaluate published/ --data photos/test --metric macro_f1 --json

    Args:
        best: The `best` folder of a run, or a published folder.
        data: Folder of pictures, DIR/CLASS/*, or builtin:digits. [default: the data that the run set aside for its test]
        metric: Name of a metric (`zoo list metrics`), or evaluate:DIR; may be given more than once. [default: all of them]
        batch_size: Pictures in one forward pass.
        weights: File or folder of the pretrained weights, for a folder that holds the trained tensors alone.
    """
    from zoo import api

    return _answer(api.evaluate(best, data, metric=metric, weights=weights, batch_size=batch_size))


def _answer(report: Report) -> Answer:
    measured = [_row(name, one) for name, one in report.values.items()]
    classes = [asdict(row) for row in report.per_class]
    numbers = {name: one.value for name, one in report.values.items()}
    lines = (f"{report.n:,} pictures; always the most frequent class: {report.majority:.4f}", *report.warnings)
    return Answer({**numbers, "report": report.to_dict()}, table(measured), "", table(classes), "", *lines)


def _row(name: str, one: Value) -> dict[str, Any]:
    better = "higher" if one.higher_is_better else "lower"
    note = f"undefined: {one.why}" if one.value is None else one.why
    return {"metric": name, "value": one.value, "95 % from": one.low, "to": one.high, "better": better, "note": note}
