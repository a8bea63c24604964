"""`zoo env`: what a bug report needs, as it is on this machine."""

import platform
import re
from importlib import metadata
from pathlib import Path

import torch

import zoo
from zoo.engines import catalogue
from zoo.jobs import env

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_it_says_versions_engines_and_folders(zoo_cli, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "kept"))
    ran = zoo_cli("env", "--json")
    found = ran.json
    assert (found["zoo"], found["python"].partition(" ")[0]) == (zoo.__version__, platform.python_version())
    assert found["engines"] == catalogue.installed()
    assert found["cache"] == str(tmp_path / "kept")
    assert found["libraries"]["torch"] == torch.__version__.partition("+")[0]
    assert not (tmp_path / "kept").exists()
    assert "torchvision" in zoo_cli("env").out


def test_the_libraries_are_those_that_the_project_declares():
    declared = PROJECT.read_text(encoding="utf-8").partition("\ndependencies = [")[2].partition("]\n")[0]
    names = set(re.findall(r'"([\w.-]+)', declared))
    assert names
    found = env.libraries()
    assert {name.lower().replace(".", "-") for name in names} <= {name.lower().replace(".", "-") for name in found}
    assert not {"pytest", "hypothesis", "fastai", "zoo-finetune"} & set(found)


def test_a_library_that_is_missing_is_said(monkeypatch):
    def version(name):
        if name == "soxr":
            raise metadata.PackageNotFoundError(name)
        return "1"

    monkeypatch.setattr(env.metadata, "version", version)
    found = env.libraries()
    assert found["soxr"] is None
    assert found["torch"] == "1"
