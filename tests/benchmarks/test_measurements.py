"""What the benchmarks make of their measurements, and which pictures everybody gets. Nothing is measured here."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest
from sklearn.datasets import load_digits

from benchmarks import measure, pictures, plots, run, tables
from benchmarks.commands import COLD, EXPERT, FINE_TUNING, PROBE, WARM, Command, chosen
from zoo.errors import DataError, RunFailed


def measurement(title, seconds, number=0, **changed):
    values = {"title": title, "pictures": 100, "round": number, "seconds": seconds, "peak_mb": 900.0, "notes": "", "phases": {}}
    return {**values, "correct": 40, "total": 50, "command": "python", **changed}


def section(measurements, **not_run):
    machine = {"cpu": "a processor", "cores": 2, "threads": 2, "memory_gb": 8.0, "python": "3.11", "versions": {"torch": "2"}}
    settings = {"data": "digits", "pictures": "100", "val": 50, "test": 50, "image_size": 128, "epochs": 5, "rounds": 1}
    return {
        "date": "2026-01-02", "command": "python -m benchmarks.run", "machine": machine, "settings": settings,
        "measurements": measurements, "not_run": not_run,
    }  # fmt: skip


@pytest.mark.parametrize(("right", "total"), [(0, 50), (3, 50), (450, 500), (500, 500)])
def test_the_interval_is_wilsons(right, total):
    expected = binomtest(right, total).proportion_ci(0.95, "wilson")
    assert tables.wilson(right / total, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_a_row_is_the_median_of_its_rounds_and_its_largest_memory():
    found = [measurement("a", 3.0, 0, correct=30), measurement("a", 9.0, 1, peak_mb=1500.0), measurement("a", 4.0, 2, correct=20)]
    (row,) = tables.rows(found)
    assert (row.seconds, row.peak_gb, row.accuracy) == (4.0, 1.5, pytest.approx(90 / 150))
    assert (row.low, row.high) == tables.wilson(0.6, 50)


def test_a_command_that_predicts_nothing_has_no_accuracy():
    (row,) = tables.rows([measurement("bare", 3.0, correct=None, total=None)])
    assert (row.accuracy, row.low, row.high) == (None, None, None)


def test_a_ratio_compares_within_rounds():
    """A round in which the whole machine was slow is a round for both."""
    found = [measurement("a", seconds, number) for number, seconds in enumerate((2.0, 20.0, 3.0))]
    found += [measurement("b", seconds, number) for number, seconds in enumerate((1.0, 10.0, 3.0))]
    assert tables.ratio(found, "a", "b", 100) == 2.0
    assert tables.ratio(found, "a", "c", 100) is None
    assert tables.ratio(found, "a", "b", 200) is None


def test_the_table_of_the_probe_compares_with_both_of_ours():
    found = [measurement(COLD, 10.0), measurement(WARM, 5.0), measurement("peer", 25.0, notes="slow")]
    lines = tables.probe_table(found).splitlines()
    assert lines[1] == "| --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    assert lines[4] == "| peer | 25.0 | 2.50 | 5.00 | 0.90 | 0.800 | 0.670 to 0.888 | slow |"


def test_the_table_of_growth_has_a_line_for_each_number_of_pictures():
    found = [
        measurement(title, factor * size / 100, pictures=size)
        for size in (200, 100)
        for title, factor in ((COLD, 2.0), (WARM, 1.0), (EXPERT.title, 6.0))
    ]
    assert tables.growth_table(found).splitlines()[2:] == [
        "| 100 | 2.0 | 1.0 | 6.0 | 3.00 | 6.00 |",
        "| 200 | 4.0 | 2.0 | 12.0 | 3.00 | 6.00 |",
    ]


def test_fine_tuning_is_compared_within_its_strategy():
    found = [measurement(command.title, 10.0 + number) for number, command in enumerate(FINE_TUNING)]
    ratios = [line.split(" | ")[2] for line in tables.fine_tuning_table(found).splitlines()[2:]]
    assert ratios == ["1.00", "1.10", "1.00", "1.08", "1.00", "1.07"]


def test_what_was_not_run_is_named():
    text = tables.render({"probe": section([measurement(COLD, 1.0)], fastai="fastai is not installed")})
    assert "Not run: fastai (fastai is not installed)." in text
    assert "torch 2" in text
    assert "## Fine-tuning" not in text


def test_commands_are_chosen_by_peer_and_by_what_is_installed():
    here, missing = Command("a", "here", (), "json"), Command("a", "missing", (), "no_such_module")
    other = Command("b", "other", (), "json")
    assert chosen([here, missing, other], []) == ([here, other], {"missing": "no_such_module is not installed"})
    assert chosen([here, missing, other], ["b"])[1] == {"here": "not asked for", "missing": "no_such_module is not installed"}


def test_every_text_in_braces_is_filled_in():
    values = dict.fromkeys(("data", "image_size", "weights", "epochs", "seed", "cache"), "x")
    for command in (*PROBE, *FINE_TUNING):
        assert not any("{" in text.format(**values) for text in command.arguments)
    assert len({command.title for command in (*PROBE, *FINE_TUNING)}) == len(PROBE) + len(FINE_TUNING)


def test_the_options_say_what_is_measured():
    sections = {plan.section: plan.pictures for plan in run.plans(run.parse(["--growth", "--fine-tuning", "--pictures", "300"]))}
    assert sections == {"growth": (500, 1_000, 2_000, 4_000, 8_000), "fine_tuning": (300,)}
    assert [(plan.section, plan.pictures) for plan in run.plans(run.parse(["--data", "digits"]))] == [("digits", (1_197,))]


def test_both_kinds_of_answer_are_read():
    peer = json.dumps({"correct": [1, 0, 1], "seconds": {"train": 2.0}, "notes": "n"})
    assert measure.read_answer(peer) == {"correct": 2, "total": 3, "phases": {"train": 2.0}, "notes": "n"}
    ours = measure.read_answer(json.dumps({"value": 0.8, "samples": 50, "seconds": 4.0, "run": "r"}))
    assert (ours["correct"], ours["total"]) == (40, 50)


def test_a_process_is_measured_from_outside(tmp_path):
    said = "print(json.dumps({'correct': [], 'seconds': {}, 'notes': ''}))"
    program = f"import json, time; held = bytearray(400_000_000); time.sleep(0.2); {said}"
    found = measure.run(["-c", program], tmp_path / "run")
    assert found["seconds"] > 0.2
    assert found["peak_mb"] > 400
    assert (found["correct"], found["total"]) == (None, None)


def test_a_command_that_fails_says_why(tmp_path):
    with pytest.raises(RunFailed, match="exit status 3: no luck"):
        measure.run(["-c", "import sys; print('no luck', file=sys.stderr); sys.exit(3)"], tmp_path / "run")


def test_the_runner_is_small():
    """A child's peak memory is at least that of the process that starts it."""
    lines = ["import sys", "import benchmarks.run", "print('torch' in sys.modules)"]
    answer = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True, cwd=measure.ROOT
    )
    assert answer.stdout == "False\n"


def test_every_beginning_has_each_class_in_its_share():
    targets = np.repeat([0, 1, 2], [600, 300, 100])
    order = pictures.stratified(targets, 0)
    assert sorted(order) == list(range(1000))
    for size in (10, 50, 333):
        assert np.abs(np.bincount(targets[order[:size]], minlength=3) - size * np.array([0.6, 0.3, 0.1])).max() <= 1
    assert (order != pictures.stratified(targets, 1)).any()


def test_pictures_are_disjoint_and_fewer_are_a_subset_of_more(tmp_path):
    for name, size in (("few", 20), ("many", 40)):
        pictures.write("digits", tmp_path / name, (size, 10, 30))
    few, many = (
        {
            part: {path.relative_to(tmp_path / name / part) for path in (tmp_path / name / part).rglob("*.png")}
            for part in ("train", "val", "test")
        }
        for name in ("few", "many")
    )
    assert [len(many[part]) for part in ("train", "val", "test")] == [40, 10, 30]
    assert few["train"] < many["train"]
    assert (few["val"], few["test"]) == (many["val"], many["test"])
    assert not (many["train"] & many["test"]) | (many["train"] & many["val"]) | (many["val"] & many["test"])
    path = next(iter(many["train"]))
    digits, row = load_digits(), int(path.stem)
    assert path.parent.name == str(digits.target[row])
    assert np.abs(np.asarray(Image.open(tmp_path / "many" / "train" / path)) - digits.images[row] * 255 / 16).max() <= 0.5


def test_too_many_pictures_are_refused(tmp_path):
    with pytest.raises(DataError, match="1,757 pictures are left for train, not 2,000"):
        pictures.write("digits", tmp_path, (2_000, 10, 30))


@pytest.mark.parametrize("plot", [plots.accuracy_against_seconds, plots.seconds_against_pictures])
def test_the_same_measurements_give_the_same_figure(plot, tmp_path):
    found = [
        measurement(COLD, 10.0),
        measurement("peer, as documented", 30.0, correct=10),
        measurement("bare", 5.0, correct=None, total=None),
    ]
    for name in ("one.svg", "two.svg"):
        plot(found, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert ">peer, as documented<" in (tmp_path / "one.svg").read_text(encoding="utf-8")
