"""`zoo predict`."""

from __future__ import annotations

import csv as formats
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from zoo.cli import flags
from zoo.cli.flags import Common, Device
from zoo.cli.output import Output, table
from zoo.errors import ConfigError

if TYPE_CHECKING:
    from zoo.types import Prediction


def predict(
    best: Annotated[Path, Parameter(converter=flags.place)],
    inputs: list[str],
    /,
    *,
    top: Annotated[int | None, Parameter(converter=flags.exactly)] = None,
    threshold: Annotated[float | None, Parameter(converter=flags.exactly)] = None,
    out: Annotated[Path | None, Parameter(converter=flags.place)] = None,
    column: str | None = None,
    engine: str = "auto",
    csv: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    batch_size: Annotated[int, Parameter(converter=flags.exactly)] = 32,
    weights: str | None = None,
    device: Device = "auto",
    common: Common = flags.NONE,
) -> Output:
    """Predict the classes, labels or values of images, texts or audio clips.

    Inputs that cannot be read are named on stderr. With --out, memory does not
    grow with the number of inputs, and a call that was stopped continues when it
    is repeated. The file has a row for each input; one that cannot be read has
    its reason in place of a prediction, and is listed in OUT.unreadable.csv.

    Try:
        zoo predict runs/resnet50-linear-probe-photos-1/best cat.jpg dogs/
        zoo predict published/ dogs/ --top 3 --csv > predictions.csv
        zoo predict reviews-model/ "a waste of two hours" "go and see it"
        zoo predict reviews-model/ reviews.csv --column body --out predictions.parquet
        zoo predict mails-model/ - --out predictions.csv < mails.txt

    Args:
        best: The `best` folder of a run, or a published folder.
        inputs: Files and folders of images or audio clips; texts; tables of either; or `-` for the lines of stdin (in
            UTF-8).
        top: How many classes to give for an input, most probable first. [default: 1; all with --json]
        threshold: Probability at which a label of a multilabel model is predicted. [default: each label's own]
        out: File for the predictions: .csv, .jsonl or .parquet.
        column: Column of a table that has the inputs; two with a comma for pairs of texts. [default: what training read, if it
            is there, else guessed]
        engine: What runs the network with --out: torch, compile, onnxruntime, openvino; auto: the one expected to finish first.
        csv: Print comma-separated values: input, rank, label, probability.
        batch_size: Inputs in one forward pass.
        weights: File or folder of the pretrained weights, for a folder that holds the trained tensors alone.
        device: Where to compute; auto: a GPU of CUDA if there is one, else the CPU.
    """
    inputs = ["-" if one == flags.STDIN else one for one in inputs]
    if csv and common.json:
        raise ConfigError("--csv and --json exclude each other; give one of them")
    if csv and out is not None:
        raise ConfigError("--csv prints, --out writes a file (of comma-separated values, if it ends in .csv); give one of them")
    if top is not None and top < 1:
        raise ConfigError(f"--top is {top}; it is 1 or more")
    if threshold is not None and not 0 <= threshold <= 1:
        raise ConfigError(f"--threshold is {threshold}; it lies between 0 and 1")
    from zoo import api

    if out is not None:
        written = api.predict_to(
            out,
            best,
            inputs,
            top=top or 1,
            threshold=threshold,
            column=column,
            engine=engine,
            weights=weights,
            batch_size=batch_size,
            device=device,
        )
        went_on = f"; went on after {written.found:,}" if written.found else ""
        lines = [f"{written.answered:,} predictions in {written.path}, {written.seconds:.1f} s{went_on}"]
        lines += [f"{written.left_out:,} inputs have none: {written.unreadable}"] if written.left_out else []
        return Output({**vars(written), "path": str(written.path), "unreadable": str(written.unreadable or "")}, *lines)
    predictions = api.predict(
        best, inputs, column=column, threshold=threshold, weights=weights, batch_size=batch_size, device=device
    )
    found = {"predictions": [_values(prediction, top) for prediction in predictions], "unreadable": list(predictions.unreadable)}
    rows = [row for prediction in predictions for row in _rows(prediction, top or 1)]
    return Output(found, _csv(rows) if csv else table(rows), notes=[f"zoo: {reason}" for reason in predictions.unreadable])


def _values(prediction: Prediction, top: int | None) -> dict[str, Any]:
    if prediction.error is not None:
        return {"input": prediction.input, "label": None, "error": prediction.error}
    if prediction.values:
        return {"input": prediction.input, "values": prediction.values}
    return {
        "input": prediction.input,
        "label": prediction.label,
        "probability": prediction.probability,
        "probabilities": dict(list(prediction.probabilities.items())[:top]),
    }


def _rows(prediction: Prediction, top: int) -> list[dict[str, Any]]:
    """Of one input: its most probable classes, its values, or the labels that hold; nothing, if it could not be read."""
    if prediction.error is not None:
        return []
    if prediction.values:
        return [{"input": prediction.input, "value": name, "predicted": value} for name, value in prediction.values.items()]
    ranked = list(prediction.probabilities.items())
    if prediction.holds is not None:
        ranked = [(label, prediction.probabilities[label]) for label in prediction.holds] or [("", ranked[0][1])]
    else:
        ranked = ranked[:top]
    return [
        {"input": prediction.input, "rank": rank, "label": label, "probability": probability}
        for rank, (label, probability) in enumerate(ranked, start=1)
    ]


def _csv(rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = formats.DictWriter(text, list(rows[0]) if rows else ["input", "rank", "label", "probability"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().removesuffix("\n")
