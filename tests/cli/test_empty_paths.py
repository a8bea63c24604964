"""A variable of the shell that is not set never means the working folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zoo
from zoo.errors import ConfigError, DataError, ZooError
from zoo.inference import find
from zoo.types import Kind


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder has images of two classes, and would be read."""
    for kind in ("a", "b"):
        (tmp_path / kind).mkdir()
        for number in range(3):
            Image.fromarray(np.full((9, 9, 3), number, np.uint8)).save(tmp_path / kind / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ["finetune", "--data", ""],
        ["finetune", "--data="],
        ["finetune", "--out", ""],
        ["finetune", "--config", ""],
        ["finetune", "--weights", ""],
        ["finetune", "--from", ""],
        ["finetune", "--cache", ""],
        ["data", "inspect", ""],
        ["data", "inspect", ".", "--out", ""],
        ["evaluate", ""],
        ["evaluate", "best", "--data", ""],
        ["predict", "", "a"],
        ["predict", "best", "a", "--out", ""],
        ["publish", "", "--to", "x"],
        ["publish", "best", "--to", ""],
        ["resume", ""],
        ["runs", ""],
        ["recipes", "copy", "full", ""],
    ],
)
def test_in_one_line(zoo_cli: Callable[..., Any], folder: Path, words: list[str]) -> None:
    before = sorted(folder.rglob("*"))
    said = zoo_cli(*words).refused()
    assert "is empty" in said or "no such folder" in said or "publish to a folder" in said
    assert sorted(folder.rglob("*")) == before


def test_in_python(folder: Path) -> None:
    for refused in (
        lambda: zoo.load(""),
        lambda: zoo.predict("", "a.png"),
        lambda: zoo.predict_to("", "best", ["a"]),
        lambda: zoo.evaluate("", "."),
        lambda: zoo.inspect(""),
        lambda: zoo.inspect(".", page=""),
        lambda: zoo.publish("", "x"),
        lambda: zoo.resume(""),
    ):
        with pytest.raises(ZooError, match="is empty"):
            refused()
    with pytest.raises(DataError, match="the name of a file or folder is empty"):
        list(find(Kind.IMAGE, ["a/0.png", ""]))
    with pytest.raises(ConfigError, match="is empty"):
        zoo.finetune(data="")
