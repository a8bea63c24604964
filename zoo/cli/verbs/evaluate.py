"""`zoo evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from zoo.cli import flags
from zoo.cli.flags import Common, Device
from zoo.cli.output import Output, table
from zoo.options import EVALUATE

if TYPE_CHECKING:
    from zoo.evaluation.report import Report, Value

    Flags = dict[str, Any]
else:
    Flags = flags.typed(EVALUATE)


def evaluate(
    best: Annotated[Path, Parameter(converter=flags.place)],
    /,
    *,
    data: str | None = None,
    metric: Annotated[list[str] | None, Parameter(negative="", completer=flags.COMPLETERS["metric"])] = None,
    batch_size: Annotated[int, Parameter(converter=flags.exactly)] = 32,
    weights: str | None = None,
    device: Device = "auto",
    options: Annotated[Flags | None, Parameter(name="*")] = None,
    common: Common = flags.NONE,
) -> Output:
    """Measure a fine-tuned model on labelled samples.

    Try:
        zoo evaluate runs/resnet50-linear-probe-photos-1/best --data photos/test
        zoo evaluate published/ --data photos/test --metric macro_f1 --json
        zoo evaluate published/ --data reviews.csv --text body --label stars

    Args:
        best: The `best` folder of a run, or a published folder.
        data: As for `zoo finetune --data`: a folder, a table, hf:NAME, or builtin:digits. [default: the test set of the run]
        metric: Name of a metric (`zoo list metrics`), or evaluate:DIR; may be given more than once. [default: all of them]
        batch_size: Samples in one forward pass.
        weights: File or folder of the pretrained weights, for a folder that holds the trained tensors alone.
        device: Where to compute; auto: a GPU of CUDA if there is one, else the CPU.
    """
    from zoo import api

    return _output(
        api.evaluate(best, data, metric=metric, weights=weights, batch_size=batch_size, device=device, **(options or {}))
    )


def _output(report: Report) -> Output:
    measured = [_row(name, one) for name, one in report.values.items()]
    whole = report.to_dict()
    rows = whole["per_class"] or whole["per_label"] or whole["per_value"]
    parts = [{name: value for name, value in row.items() if name not in _DRAWN} for row in rows]
    numbers = {name: one.value for name, one in report.values.items()}
    against = report.baseline
    lines = (f"{report.n:,} samples; {against.answer}: {against.metric} {against.value:.4f}", *report.warnings)
    return Output({**numbers, "report": whole}, table(measured), "", table(parts), "", *lines)


_DRAWN = ("residuals", "low", "high", "grid")
"""What a card draws of a value, and no table can show."""


def _row(name: str, one: Value) -> dict[str, Any]:
    better = "higher" if one.higher_is_better else "lower"
    note = f"undefined: {one.why}" if one.value is None else one.why
    return {"metric": name, "value": one.value, "95 % from": one.low, "to": one.high, "better": better, "note": note}
