"""Texts in any number: what order costs, what answering costs beside the encoder alone, and memory that does not grow.

    python -m benchmarks.text_limits                 # prints lines; ten minutes on two cores
    python -m benchmarks.text_limits order predict   # some of it

Each number is of a process of its own, or of calls that alternate in one.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from benchmarks import limits, measure, texts
from benchmarks.commands import ENCODER
from benchmarks.limits import child

ORDER = """
import json, sys, tempfile, torch
from dataclasses import dataclass
from zoo import backbones, registry
from zoo.adaptation import boundary
from zoo.adaptation.model import AdaptedModel
from zoo.config import build
from zoo.data import open_splits
from zoo.data.sets import TextSet
from zoo.training.features.extraction import Extractor
class AsGiven(TextSet):
    sizes = None
train = open_splits(build({"data": sys.argv[1], "cache": "off"})).train
given = AsGiven(**vars(train))
model = AdaptedModel.build(backbones.load(registry.resolve(sys.argv[3])), 10)
seconds = {}
for name, samples in (("sorted", train), ("given", given)) * 2:
    config = build({"data": sys.argv[1], "cache": tempfile.mkdtemp(), "num_workers": 0, "engine": sys.argv[2]})
    cut = boundary.behind(model)
    with Extractor(cut.prefix, cut.where, model.backbone, config, torch.device("cpu")) as extractor:
        extractor.rows(samples.subset(range(32)))  # prepares the engine
        before = extractor.work.seconds
        extractor.rows(samples)
    seconds[name] = min(seconds.get(name, 1e9), extractor.work.seconds - before)
print(json.dumps(seconds | {"texts": len(train)}))
"""
"""Extraction with the longest texts first, as zoo does it, and in the order of the table."""

BARE = """
import csv, json, sys, torch
from transformers import AutoModel, AutoTokenizer
tokenizer, encoder = AutoTokenizer.from_pretrained(sys.argv[2]), AutoModel.from_pretrained(sys.argv[2]).eval()
texts = sorted((row["text"] for row in csv.DictReader(open(sys.argv[1]))), key=len, reverse=True)
with torch.inference_mode():
    for start in range(0, len(texts), 32):
        batch = tokenizer(texts[start : start + 32], padding=True, truncation=True, max_length=256, return_tensors="pt")
        mask = batch["attention_mask"].unsqueeze(-1)
        (encoder(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
print(json.dumps({"correct": [], "seconds": {}, "notes": ""}))
"""
"""Twelve lines by hand, the longest texts first: what `zoo predict` is measured by."""


def order(work: Path) -> Iterator[str]:
    """Extraction of texts of mixed length, by order and engine."""
    texts.write(work / "data", texts.SIZES)
    for engine in ("torch", "openvino"):
        said = child(ORDER, work / "data" / "texts.csv", engine, ENCODER, work=work)
        yield (
            f"features of {said['texts']:,} texts by {engine}: {said['sorted']:.1f} s with the longest first, {said['given']:.1f} s as "
            f"given: {said['given'] / said['sorted']:.2f} times"
        )


def predict(work: Path) -> Iterator[str]:
    """`zoo predict` on ten thousand rows, the whole command, beside the encoder's forward passes by hand."""
    from zoo import registry
    from zoo.backbones import weights

    texts.write(work / "data", texts.SIZES)
    table, rows = work / "rows.csv", [(f"{text} {copy}",) for copy in range(2) for text in texts.read()[0]][:10_000]
    _write(table, rows)
    run = ["-m", "zoo", "finetune", ENCODER, "--data", str(work / "data" / "texts.csv"), "--out", str(work / "run"), "--json"]
    measure.run(run, work / "finetune")
    encoder = str(weights.find(registry.resolve(ENCODER)).path.parent)
    commands = {
        "by hand": ["-c", BARE, str(table), encoder],
        "zoo": ["-m", "zoo", "predict", str(work / "run" / "best"), str(table), "--out", str(work / "answers.csv"), "--json"],
    }
    seconds = {}
    for name, arguments in commands.items():
        seconds[name] = measure.timed(arguments, work / name.replace(" ", "-"))
    yield (
        f"{len(rows):,} texts: zoo predict {seconds['zoo']:.1f} s, the encoder's forward passes by hand {seconds['by hand']:.1f} s: "
        f"{seconds['zoo'] / seconds['by hand']:.2f} times"
    )


def memory(work: Path) -> Iterator[str]:
    """Peak memory of a linear probe of few and of many rows of a table whose texts stay on the disk."""
    for count in (2_000, 50_000):
        table = work / f"{count}.csv"
        _write(
            table, [(f"row {number} of {'cats' if number % 2 else 'dogs'}", "ab"[number % 2]) for number in range(count)], "label"
        )
        # One engine for both: the library of another takes 0.1 GB more, and is chosen where there are enough rows.
        arguments = ["-m", "zoo", "finetune", ENCODER, "--data", str(table), "--streaming", "--engine", "openvino"]
        arguments += ["--out", str(work / str(count)), "--json", "--cache", str(work / "cache")]
        found = measure.run(arguments, work / f"run-{count}")
        yield f"linear probe of {count:,} rows, --streaming: {found['seconds']:.0f} s, peak memory {found['peak_mb'] / 1e3:.2f} GB"


def _write(path: Path, rows: list[tuple[str, ...]], *more: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", *more), *rows])


if __name__ == "__main__":
    limits.main({"order": order, "predict": predict, "memory": memory})
