"""Trackers write what they can, and never end a run."""

import io
import json
import os
from pathlib import Path

import pytest
from faults.disks import small_disk
from packages import install
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from zoo.config import FinetuneConfig
from zoo.training.tracker import Growing, Start
from zoo.training.trackers import Trackers
from zoo.training.trackers.metrics_file import MetricsFile
from zoo.training.trackers.tensorboard import TensorBoard
from zoo.training.trackers.terminal import Terminal

RECORD = {
    "metrics": {"accuracy": 0.5, "log_loss": None},
    "epoch": 1.0,
    "train_loss": 0.1,
    "samples_per_second": 1.0,
    "waiting": 0.0,
    "seconds": 1.0,
    "best": True,
}


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)] if tag in events.Tags()["scalars"] else []


def test_tensorboard_reads_what_is_written(tmp_path):
    board = TensorBoard(tmp_path / "board", 0)
    for step in range(1, 6):
        board.step(step, {"loss": 1 / step})
    board.evaluation(5, RECORD)
    board.step(6, {"loss": 9.0})
    board.close()
    assert [step for step, _ in scalars(tmp_path / "board", "train/loss")] == [1, 2, 3, 4, 5, 6]
    assert scalars(tmp_path / "board", "val/accuracy") == [(5, 0.5)]


def test_what_an_interrupted_run_wrote_after_its_checkpoint_is_hidden(tmp_path):
    """However many times it was: a dozen in a second."""
    for purge, values in ((0, (1, 2, 3, 4)), *((3, (number, number + 1)) for number in range(10)), (3, (30, 40))):
        board = TensorBoard(tmp_path, purge)
        for step, value in enumerate(values, 1 if not purge else 3):
            board.step(step, {"loss": float(value)})
        board.close()
    assert scalars(tmp_path, "train/loss") == [(1, 1.0), (2, 2.0), (3, 30.0), (4, 40.0)]


def test_a_full_disk_is_said_once_and_metrics_come_later(tmp_path, caplog, capfd):
    with small_disk(tmp_path / "disk") as disk:
        path, board = disk.path / "metrics.jsonl", disk.path / "board"
        trackers = [MetricsFile(path, 0), TensorBoard(board, 0)]
        trackers[0].evaluation(0, {"step": 0})
        with disk.full():
            for step in range(1, 200):
                for tracker in trackers:
                    tracker.step(step, {"loss": 1.0})
                    tracker.evaluation(step, {"step": step, **RECORD})
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 2
        assert "metrics.jsonl cannot be written: No space left on device" in said[0] + said[1]
        assert "goes on without TensorBoard" in said[0] + said[1]
        for tracker in trackers:
            tracker.evaluation(200, {"step": 200, **RECORD})
            tracker.close()
        assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == list(range(201))
    assert "Traceback" not in capfd.readouterr().err


def test_what_is_missing_in_the_end_is_said(tmp_path, caplog):
    with small_disk(tmp_path / "disk") as disk, disk.full():
        trackers = [MetricsFile(disk.path / "metrics.jsonl", 0), TensorBoard(disk.path / "board" / "deep", 0)]
        for step in range(100):
            for tracker in trackers:
                tracker.evaluation(step, {"step": step, **RECORD})
        for tracker in trackers:
            tracker.close()
    assert "evaluations are not in it" in caplog.records[-1].getMessage()


def test_a_place_that_cannot_be_written_ends_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    for tracker in (MetricsFile(tmp_path / "file" / "metrics.jsonl", 0), TensorBoard(tmp_path / "file" / "board", 0)):
        tracker.evaluation(1, RECORD)
        tracker.close()
    assert len(caplog.records) == 3


def test_a_terminal_that_has_gone_ends_nothing():
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as stream:
        terminal = Terminal(10, 0, "accuracy", stream)
        terminal.evaluation(1, RECORD)
        terminal.close()
        os.dup2(os.open(os.devnull, os.O_WRONLY), writer)


def test_lines_after_the_checkpoint_and_damaged_ones_go(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\xff\xfe\n{"step": 3}\n{"step": 4}\n{"st')
    MetricsFile(path, 3).evaluation(5, {"step": 5})
    assert path.read_text() == '{"step": 1}\n{"step": 3}\n{"step": 5}\n'
    assert "1 of its 3 evaluations are missing or damaged" in caplog.text


@pytest.mark.parametrize("left", [b"", b"old\n", b"oldest\nand a torn en"])
def test_growing(tmp_path, left):
    path = tmp_path / "file"
    path.write_bytes(left)
    file = Growing(path, b"old\n" if left == b"old\n" else b"")
    file.append(b"one\n")
    file.append(b"two\n")
    assert path.read_bytes() == (left if left == b"old\n" else b"") + b"one\ntwo\n"


def test_one_line_an_evaluation_where_there_is_no_terminal():
    stream = io.StringIO()
    Terminal(10, 0, "accuracy", stream).evaluation(5, RECORD)
    assert stream.getvalue().count("\n") == 1
    assert "val accuracy 0.5000" in stream.getvalue()


PLUGIN = """
from zoo.training.tracker import Tracker

class Counting(Tracker):
    told = []

    @classmethod
    def begin(cls, folder, config, start):
        return cls()

    def step(self, step, values):
        Counting.told.append(step)
        if step == 2:
            raise RuntimeError("the network is down")

    def evaluation(self, step, record):
        Counting.told.append("evaluation")
"""


def test_a_plug_ins_tracker_is_told_until_it_fails(site, tmp_path, caplog):
    install(site, "countingpack", PLUGIN, trackers="counting = countingpack:Counting")
    trackers = Trackers.begin(tmp_path, FinetuneConfig(), Start("accuracy"))
    trackers.evaluation(0, RECORD)
    for step in range(1, 5):
        trackers.step(step, {"loss": 1.0})
    trackers.close()
    assert __import__("countingpack").Counting.told == ["evaluation", 1, 2]
    assert [one.getMessage() for one in caplog.records] == [
        "tracker Counting: RuntimeError: the network is down; the run goes on without it"
    ]
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 1
    assert [step for step, _ in scalars(tmp_path / "tensorboard", "train/loss")] == [1, 2, 3, 4]
