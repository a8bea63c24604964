"""What zoo does itself although a library does the like: both on the same input, and the seconds of each (docs/decisions/0016).

    python -m benchmarks.own_code     # two minutes on two cores

Each pair is timed three times in turn, and the least is given.
"""

from __future__ import annotations

import csv
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
from scipy import stats
from sklearn.metrics import f1_score

from zoo.data.on_disk import Spool
from zoo.data.sources.tables.row_sources import read_rows
from zoo.errors import DataError
from zoo.evaluation import metrics
from zoo.evaluation.intervals import bootstrap
from zoo.evaluation.outputs import Outputs

ROWS, SAMPLES, CLASSES = 300_000, 2_000, 10
BAD = {
    "a row that is too short": b"text,label\na,x\nb\nc,y\n",
    "a quotation mark that is never closed": b'text,label\na,x\n"b,y\nc,z\nd,x\n',
    "a row in Latin-1": "text,label\na,x\ncafé,y\nb,z\n".encode("latin-1"),
    "UTF-16": "text,label\na,x\nb,y\n".encode("utf-16"),
    "two columns of one name": b"text,text,label\na,b,x\n",
}
"""What tables of users hold, a header and rows each."""


def main() -> None:
    """Print a table of seconds, and what each reader makes of bad rows."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = written(folder / "rows.csv")
        pairs: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
            f"rows of a table of {ROWS:,} texts": (partial(by_zoo, table), partial(by_pyarrow, table)),
            "20,000 of its texts in any order from the disk": disk(table, folder),
            **intervals(),
        }
        print("| what | zoo, s | library, s |\n|---|---:|---:|")
        for title, (ours, theirs) in pairs.items():
            best = [min(times) for times in zip(*((seconds(ours), seconds(theirs)) for _ in range(3)), strict=True)]
            print(f"| {title} | {best[0]:.2f} | {best[1]:.2f} |")
        print("\n| a table with | zoo gives | pyarrow gives |\n|---|---|---|")
        for title, content in BAD.items():
            path = folder / "bad.csv"
            path.write_bytes(content)
            print(f"| {title} | {said(by_zoo, path)} | {said(by_pyarrow, path)} |")


def seconds(call: Callable[[], object]) -> float:
    """How long a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def said(read: Callable[[Path], list[object]], path: Path) -> str:
    """What becomes of a table, in a line."""
    try:
        rows = read(path)
    except (DataError, pa.ArrowInvalid, UnicodeDecodeError) as error:
        return str(error).splitlines()[0].replace(f"{path.parent}/", "")[:90]
    bad = [str(row) for row in rows if isinstance(row, DataError)]
    return f"{len(rows) - len(bad)} rows" + "".join(f"; {one}"[:90] for one in bad)


def written(path: Path) -> Path:
    """A table of texts of 40 words, of 71 MB."""
    rng = random.Random(0)
    words = [f"w{number}" for number in range(5_000)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows([" ".join(rng.choices(words, k=40)), f"c{number % 20}"] for number in range(ROWS))
    return path


def by_zoo(path: Path) -> list[object]:
    """Each row as a dictionary, or what is wrong with it."""
    return [values for _, values in read_rows(path, ["text", "label"])]


def by_pyarrow(path: Path) -> list[object]:
    """The same by pyarrow, batch by batch, told to pass over rows that it cannot take."""
    parse = pyarrow.csv.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda row: "skip")
    convert = pyarrow.csv.ConvertOptions(column_types={"text": pa.string(), "label": pa.string()}, check_utf8=True)
    with pyarrow.csv.open_csv(path, parse_options=parse, convert_options=convert) as reader:
        return [row for batch in reader for row in batch.to_pylist()]


def disk(table: Path, folder: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """Reading texts that stay on the disk."""
    texts = [str(row["text"]) for row in by_pyarrow(table)]  # type: ignore[index]
    spool = Spool()
    spool.add(texts)
    ours = spool.done()
    column = pa.array(texts, pa.large_string())
    with pyarrow.ipc.new_file(str(folder / "texts.arrow"), pa.schema([("text", pa.large_string())])) as file:
        file.write_table(pa.table({"text": column}))
    theirs = pyarrow.ipc.open_file(pa.memory_map(str(folder / "texts.arrow"))).read_all()["text"]
    order = np.random.default_rng(0).integers(0, ROWS, 20_000).tolist()
    return (lambda: [ours[one] for one in order]), (lambda: [theirs[one].as_py() for one in order])


def intervals() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """95 % intervals of 1,000 resamples."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, CLASSES, SAMPLES)
    logits = rng.normal(size=(SAMPLES, CLASSES)) + 2 * np.eye(CLASSES)[truth]
    outputs = Outputs.from_logits(truth, logits)
    guessed = logits.argmax(1)

    def by_scipy(measure: Callable[..., object], vectorized: bool) -> object:
        return stats.bootstrap(
            (truth, guessed), measure, paired=True, n_resamples=1_000, method="percentile", vectorized=vectorized, rng=rng
        ).confidence_interval

    def accuracy(first: np.ndarray, second: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.asarray((first == second).mean(axis=axis))

    macro = partial(f1_score, average="macro", labels=range(CLASSES), zero_division=np.nan)
    return {
        f"interval of the accuracy of {SAMPLES:,} samples": (
            lambda: bootstrap([metrics.get("accuracy")], outputs),
            lambda: by_scipy(accuracy, True),
        ),
        f"interval of their macro F1, {CLASSES} classes": (
            lambda: bootstrap([metrics.get("macro_f1")], outputs),
            lambda: by_scipy(macro, False),
        ),
    }


if __name__ == "__main__":
    main()
