"""Images that stand in the rows of a table themselves are read, checked and predicted on as files are, in memory for some rows."""

import io
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pytest
import soundfile
from PIL import Image
from pyarrow import parquet

from zoo.config import DataConfig
from zoo.data.sets import Opened
from zoo.data.sources import open_source
from zoo.data.sources.source import Request
from zoo.data.sources.tables.sample_sets import Unpacked
from zoo.errors import ConfigError, DataError
from zoo.inference import find
from zoo.types import Kind, Schema

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 9, 12, 3), dtype=np.uint8)
LABELS = ["cat", "dog"] * 20


def encoded(index: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(PIXELS[index]).save(stream, "PNG")
    return stream.getvalue()


FILES = [encoded(index) for index in range(40)]


def as_datasets(path: Path) -> None:
    """As the library writes images, with the names of the classes beside them."""
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]), text=datasets.Value("string")
    )
    columns = {"image": [Image.fromarray(one) for one in PIXELS], "label": LABELS, "text": ["a caption of it"] * 40}
    datasets.Dataset.from_dict(columns, features=features).to_parquet(path)


def as_structs(path: Path) -> None:
    """The same without a word on what it is."""
    values = [{"bytes": content, "path": f"{number}.PNG"} for number, content in enumerate(FILES)]
    parquet.write_table(pa.table({"picture": values, "label": LABELS}), path)


def opened(path: Path, kind: Kind | None = None, schema: Schema | None = None, **options: Any) -> Opened:
    return open_source(Request(DataConfig(data=str(path), **options), kind=kind, schema=schema))


@pytest.mark.parametrize("write", [as_datasets, as_structs])
def test_they_are_read_as_files(tmp_path: Path, write: Any) -> None:
    write(tmp_path / "images.parquet")
    source = opened(tmp_path / "images.parquet", kind=Kind.IMAGE)
    samples = source.parts["all"]
    assert (source.kind, source.classes, len(samples)) == (Kind.IMAGE, ("cat", "dog"), 40)
    assert [source.classes[target] for target in samples.targets] == LABELS
    for index in range(40):
        assert np.array_equal(np.asarray(samples.item(index)), PIXELS[index])
    assert len(set(samples.digests.tolist())) == 40
    assert samples.name(2).startswith("row 3")
    again = opened(tmp_path / "images.parquet", kind=Kind.IMAGE).parts["all"]
    assert [again.name(index) for index in range(40)] == [samples.name(index) for index in range(40)]  # by which splits are drawn
    assert source.schema.inputs == (("image",) if write is as_datasets else ("picture",))


def test_bytes_alone_are_named(tmp_path: Path) -> None:
    """Nobody knows what they are."""
    path = tmp_path / "images.parquet"
    parquet.write_table(pa.table({"content": FILES, "label": LABELS}), path)
    with pytest.raises(ConfigError, match="which column is the input"):
        opened(path)
    assert len(opened(path, image="content").parts["all"]) == 40
    assert len(opened(path, Kind.IMAGE, Schema(("content",), ("label",))).parts["all"]) == 40
    values = [{"bytes": content, "path": None} for content in FILES]
    parquet.write_table(pa.table({"left": values, "right": values, "label": LABELS}), path)
    with pytest.raises(ConfigError, match="'left', 'right' could each be meant; say --image left"):
        opened(path)


def test_texts_beside_images(tmp_path: Path) -> None:
    as_datasets(tmp_path / "images.parquet")
    assert opened(tmp_path / "images.parquet", text="text").kind is Kind.TEXT
    assert opened(tmp_path / "images.parquet", kind=Kind.TEXT).kind is Kind.TEXT


def test_what_cannot_be_read_is_named_by_row(tmp_path: Path) -> None:
    path = tmp_path / "images.parquet"
    values: list[Any] = [{"bytes": content, "path": None} for content in FILES]
    values[3], values[5], values[7] = None, {"bytes": b"", "path": "gone.png"}, {"bytes": b"no image", "path": None}
    parquet.write_table(pa.table({"image": values, "label": LABELS}), path)
    source = opened(path, max_unreadable=0.2)
    assert len(source.parts["all"]) == 37
    assert source.unreadable[:2] == ["images.parquet, row 4: image is empty", "images.parquet, row 6: image is empty"]
    assert source.unreadable[2].startswith("row 8: not an image")
    with pytest.raises(DataError, match="more than --max-unreadable"):
        opened(path)


def test_predicting(tmp_path: Path) -> None:
    for write in (as_datasets, as_structs):
        write(tmp_path / "images.parquet")
        found = list(find(Kind.IMAGE, [str(tmp_path / "images.parquet")]))
        assert [name for name, _ in found] == [f"images.parquet, row {number}" for number in range(1, 41)]
        pixels = [np.asarray(Image.open(io.BytesIO(content))) for _, content in found]
        assert all(np.array_equal(one, PIXELS[index]) for index, one in enumerate(pixels))


def test_audio_files(tmp_path: Path) -> None:
    clips = []
    for number in range(8):
        stream = io.BytesIO()
        soundfile.write(stream, np.full(4000, number / 10, np.float32), 16_000, "PCM_16", format="WAV")
        clips.append({"bytes": stream.getvalue(), "path": f"{number}.wav"})
    path = tmp_path / "clips.parquet"
    parquet.write_table(pa.table({"audio": clips, "label": LABELS[:8]}), path)
    source = opened(path, kind=Kind.AUDIO)
    assert (source.kind, len(source.parts["all"])) == (Kind.AUDIO, 8)
    assert opened(path, audio="audio").kind is Kind.AUDIO


_PEAK = """
import re, sys
from pathlib import Path
import pyarrow.parquet, zoo.data.decoding
from zoo.config import DataConfig
from zoo.data.sources import open_source
from zoo.data.sources.source import Request
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) << 10
before = peak()
assert len(open_source(Request(DataConfig(data=sys.argv[1]))).parts["all"]) == 128
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="only Linux says how much memory a process took since it began"
)
def test_memory(tmp_path: Path) -> None:
    """Of 128 images of 1 MB in 16 row groups: that of a few groups, not of the file (of which four times as much was taken)."""
    noise = np.random.default_rng(0).integers(0, 256, (128, 500, 700, 3), dtype=np.uint8)
    streams = []
    for one in noise:
        stream = io.BytesIO()
        Image.fromarray(one).save(stream, "BMP")
        streams.append({"bytes": stream.getvalue(), "path": None})
    path = tmp_path / "images.parquet"
    parquet.write_table(pa.table({"image": streams, "label": LABELS[:32] * 4}), path, row_group_size=8, compression="none")
    size = path.stat().st_size
    taken = int(subprocess.run([sys.executable, "-c", _PEAK, str(path)], capture_output=True, text=True, check=True).stdout)
    assert taken < size


def test_what_a_killed_process_unpacked_is_cleared_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "temporary"  # other tests clear the common one
    own.mkdir()
    monkeypatch.setenv("TMPDIR", str(own))
    monkeypatch.setattr(tempfile, "tempdir", str(own))
    as_structs(tmp_path / "images.parquet")
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from zoo.data.sources.tables.sample_sets import Unpacked\n"
        "unpacked = Unpacked('picture')\n"
        "assert len(list(unpacked.rows(Path(sys.argv[1]), ['label']))) == 40\n"
        "print(unpacked.folder, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "images.parquet")], capture_output=True, text=True)
    left = Path(done.stdout.strip())
    assert (left / "row 1.png").is_file(), done.stderr
    Unpacked("picture")
    assert not left.exists()
