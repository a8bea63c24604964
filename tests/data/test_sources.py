"""One interface for every place that samples are in: what a plug-in brings is trained on, measured on and predicted on as zoo's own."""

import logging
import os
import re
from pathlib import Path

import datasets
import pytest
from packages import install

import zoo
from zoo.config import DataConfig
from zoo.data import sources
from zoo.data.sources.source import Request, Source
from zoo.errors import DataError
from zoo.inference import find
from zoo.types import Kind

PLUGIN = """
from dataclasses import replace
from zoo.data.sources.source import Source
from zoo.data.sources.builtin import SOURCE as DIGITS

class Mirrored(Source):
    spelling = "mirror:NAME"
    def claims(self, spec, is_folder):
        return spec.startswith("mirror:")
    def exists(self, spec):
        return True
    def open(self, request):
        return DIGITS.open(replace(request, options=replace(request.options, data="builtin:digits")))

SOURCE = Mirrored()
"""


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    sources.sources.cache_clear()


def test_a_plug_ins_source_is_used_by_every_verb(site: Path, tmp_path: Path) -> None:
    install(site, "mirrorpack", PLUGIN, sources="mirror = mirrorpack:SOURCE")
    assert zoo.inspect("mirror:x").to_dict()["total"] == 1797
    run = zoo.finetune(
        "resnet18", strategy="backbone", data="mirror:x", weights="random", image_size=32, out=str(tmp_path / "run")
    )
    report = zoo.evaluate(run.best, "mirror:x")
    assert report.n == 1797
    predictions = zoo.predict(run.best, ["mirror:x"])
    assert len(predictions) == 1797


def test_a_broken_one_is_left_out_in_one_line(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(site, "brokensource", "SOURCE = 3", sources="broken = brokensource:SOURCE")
    with caplog.at_level(logging.WARNING, logger="zoo"):
        assert all(isinstance(one, Source) for one in sources.sources())
    (said,) = [record.getMessage() for record in caplog.records]
    assert "is not an instance of Source" in said
    assert "pip uninstall brokensource" in said


def test_what_nothing_claims_is_told_with_all_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK")
    for name, what in (("x.zip", "not data that can be read"), ("nowhere", "no such folder")):
        with pytest.raises(DataError, match=re.escape(what)) as error:
            sources.open_source(Request(DataConfig(data=str(tmp_path / name))))
        assert all(one.spelling in str(error.value) for one in sources.sources())


def test_rows_of_a_saved_data_set_are_predicted_on_without_labels(tmp_path: Path) -> None:
    parts = {"train": ["one", "", "three"], "test": ["four"]}
    saved = {name: datasets.Dataset.from_dict({"text": texts}) for name, texts in parts.items()}
    datasets.DatasetDict(saved).save_to_disk(tmp_path / "saved")
    found = dict(find(Kind.TEXT, [str(tmp_path / "saved")]))
    assert str(found.pop("train[1]")) == "train[1]: text is empty"
    assert found == {"train[0]": "one", "train[2]": "three", "test[0]": "four"}


def test_an_input_costs_the_disk_no_more_than_a_few_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be millions."""
    texts = [f"a text of several words, number {number}" for number in range(20)]
    list(find(Kind.TEXT, texts))
    asked: list[str] = []
    plain = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **how: asked.append(str(path)) or plain(path, **how))
    list(find(Kind.TEXT, texts))
    assert len(texts) <= len(asked) <= 2 * len(texts)


def test_a_models_texts_are_not_taken_for_names() -> None:
    texts = [".", "builtin: a text of several words", "hf: another", "see shards.tar for it", "folder"]
    assert [item for _, item in find(Kind.TEXT, texts)] == texts
    assert len(list(find(Kind.IMAGE, ["builtin:digits"]))) == 1797
