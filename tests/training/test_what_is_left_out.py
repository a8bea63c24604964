"""A run keeps a file of all that was left out of its data; what is published of it does not have it."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from faults.running import OPTIONS, photos

import zoo
from zoo import api
from zoo.cli import main

HEADER = ["what", "set", "name", "reason", "done"]


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Images of two classes beside seven files that are none."""
    root = Path(photos(tmp_path / "photos"))
    for number in range(7):
        (root / f"train/a/private{number}.txt").touch()
    return str(root)


def rows(run: Path) -> list[list[str]]:
    with (run / "notices.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


EXPECTED = [HEADER, *(["file", "", f"train/a/private{number}.txt", "not images of a class", "ignored"] for number in range(7))]


def test_a_run_keeps_it_and_a_resumed_one_and_none_is_published(data, tmp_path, caplog):
    caplog.set_level("INFO", logger="zoo")
    run = zoo.finetune(data=data, out=str(tmp_path / "run"), tensorboard=False, **OPTIONS)
    assert rows(run.path) == EXPECTED
    (said,) = [record.getMessage() for record in caplog.records if "are not images" in record.getMessage()]
    assert said.endswith("train/a/private4.txt; ... (all in notices.csv)")
    published = [path for path in run.best.rglob("*") if path.is_file()]
    assert not any(path.name == "notices.csv" or b"private6" in path.read_bytes() for path in published)
    assert "notices.csv" not in (run.best / "README.md").read_text()
    (run.path / "result.json").unlink()
    shutil.rmtree(run.best)
    before = (run.path / "notices.csv").read_bytes()
    assert zoo.resume(run.path).status == "finished"
    assert (run.path / "notices.csv").read_bytes() == before
    again = api.finetune(config=run.path / "config.yaml", out=str(tmp_path / "again"))
    assert (again.path / "notices.csv").read_bytes() == before


def test_a_dry_run_writes_none(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.rglob("*"))
    found = api.finetune(data=data, dry_run=True, **OPTIONS)
    assert any(line.endswith("private4.txt; ...") for line in found.data_lines)
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_two_processes_write_it_once(data, tmp_path):
    flags = {**OPTIONS, "processes": 2, "data": data, "out": tmp_path / "run"}
    words = [word for name, value in flags.items() if name != "backbone" for word in (f"--{name.replace('_', '-')}", str(value))]
    command = [sys.executable, "-m", "zoo", "finetune", OPTIONS["backbone"], "--no-tensorboard", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert rows(tmp_path / "run") == EXPECTED
    assert done.stderr.count("(all in notices.csv)") == 1


def test_inspect_shows_the_same(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "inspect", data, "--json", "--cache", "off"]) == 0
    assert [list(line.values()) for line in json.loads(capsys.readouterr().out)["noticed"]] == EXPECTED[1:]
