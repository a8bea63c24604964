"""An engine that dies, hangs, raises or gives NaN in the midst of the extraction: torch goes on, a line says so, and no space is mixed."""

import json
import logging
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from harming import HARM, Scaled, engine_processes, photos
from running import Slow
from tiny import BY_FAMILY

import zoo
from zoo import backbones, cache, folders
from zoo.adaptation import boundary
from zoo.adaptation.model import AdaptedModel
from zoo.cache import Space
from zoo.config import build
from zoo.data import open_splits
from zoo.runtimes import process
from zoo.training.features.extraction import Extractor, Wanted

CPU = torch.device("cpu")
BEFORE = 80
"""Image before which the engine is harmed."""
converters = pytest.mark.parametrize("name", ["openvino", "onnxruntime"])


@pytest.fixture(scope="module")
def model():
    return AdaptedModel.build(backbones.load(BY_FAMILY["resnet"], "random"), 2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("data") / "photos")


def watched(samples):
    """The samples, with something to be done when one of them is read."""

    class Watched(type(samples)):
        watch = staticmethod(lambda index: None)

        def item(self, index, *how):
            type(self).watch(index)
            return super().item(index, *how)

    object.__setattr__(samples, "__class__", Watched)  # it is frozen
    return samples


def spaces(place):
    """Rows by engine, as they lie in the cache."""
    found = {}
    for file in (place / "features").glob(f"*/{cache.FACTS}"):
        facts = json.loads(file.read_text())
        found[facts["engine"]] = len(Space(file.parent, tuple(facts["shape"]), "<f4"))
    return found


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING and record.name == "zoo"]


def sent(number):
    return lambda runtime: os.kill(runtime.pid, number)


HARMS = {
    "killed": (sent(signal.SIGKILL), "was ended by SIGKILL"),
    "crashed": (sent(signal.SIGSEGV), "was ended by SIGSEGV"),
    "hangs": (sent(signal.SIGSTOP), "has not responded for 1 s"),
    "raises": (lambda runtime: runtime.ask("drop", session=0), "failed: 0"),
}


@pytest.mark.parametrize("harm", HARMS)
@converters
def test_torch_goes_on_where_an_engine_fails(name, harm, model, data, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(process, "LEAST", 1.0)
    monkeypatch.setattr(process, "TIMES", 0)
    cut, (act, what) = boundary.cut(model), HARMS[harm]
    samples = watched(open_splits(build({"data": str(data)})).train)
    config = {"num_workers": 0, "cache": str(tmp_path / "cache")}

    def act_once(extractor):
        if extractor._engine.name == name:
            act(extractor._engine._runtime)

    with Extractor(cut.prefix, cut.where, model.backbone, build(config | {"engine": name}), CPU) as extractor:
        type(samples).watch = staticmethod(lambda index: index == BEFORE and act_once(extractor))
        rows = extractor.rows(samples)[:]
        type(samples).watch = staticmethod(lambda index: None)
        assert extractor.work.engines == ["torch"]
        assert extractor.work.computed == len(samples)
    [said] = warnings(caplog)
    assert said.startswith(f"the engine {name} {what}")
    with Extractor(cut.prefix, cut.where, model.backbone, build({**config, "engine": "torch", "cache": "off"}), CPU) as plain:
        assert np.array_equal(rows, plain.rows(samples)[:])
    found = spaces(tmp_path / "cache")
    assert found["torch"] == len(samples)
    assert 0 < found[name] < len(samples)


@converters
def test_where_it_fails_after_some_sets_are_done_torch_computes_all_of_them(name, model, data, tmp_path, caplog):
    """One run has features of one engine."""
    cut, splits = boundary.cut(model), open_splits(build({"data": str(data)}))
    train, val = splits.train, watched(splits.val)
    config = {"num_workers": 0, "cache": str(tmp_path / "cache")}
    with Extractor(cut.prefix, cut.where, model.backbone, build(config | {"engine": name}), CPU) as extractor:

        def kill(index):
            if extractor._engine.name == name:
                os.kill(extractor._engine._runtime.pid, signal.SIGKILL)

        type(val).watch = staticmethod(kill)
        wanted = [Wanted(train), Wanted(val)]
        assert extractor.settled(wanted)["engine"] == name
        found = [rows[:] for rows in extractor.all_rows(wanted)]
        assert extractor.options["engine"] == "torch"
        assert extractor.work.engines == ["torch"]
        assert (extractor.work.computed, extractor.work.found) == (len(train) + len(val), 0)
    assert len(warnings(caplog)) == 1
    type(val).watch = staticmethod(lambda index: None)
    with Extractor(cut.prefix, cut.where, model.backbone, build({**config, "engine": "torch", "cache": "off"}), CPU) as plain:
        for rows, expected in zip(found, plain.all_rows(wanted), strict=True):
            assert np.array_equal(rows, expected[:])
    assert spaces(tmp_path / "cache") == {name: len(train), "torch": len(train) + len(val)}


def test_later_runs_do_not_try_it_again_until_they_are_told_to(model, data, tmp_path, caplog, monkeypatch):
    splits = open_splits(build({"data": str(data)}))
    train, val = splits.train, watched(splits.val)
    config = build({"num_workers": 0, "cache": str(tmp_path / "cache")})

    def engines_of(*sets, harm=False):
        """Of a run in which converting pays, and the engine is killed when a sample of `val` is read."""
        caplog.clear()
        with Extractor(Slow(), "pooled features", model.backbone, config, CPU, expected=100_000) as extractor:

            def kill(index):
                if harm and extractor._engine and extractor._engine.name != "torch":
                    os.kill(extractor._engine._runtime.pid, signal.SIGKILL)

            type(val).watch = staticmethod(kill)
            extractor.all_rows([Wanted(samples) for samples in sets])
            return extractor.work.engines, extractor.work.computed

    ([chosen], _) = engines_of(train)
    assert chosen in ("openvino", "onnxruntime")
    assert engines_of(train, val, harm=True) == (["torch"], len(train) + len(val))
    assert "as in later runs of this network (until `zoo cache clear decisions`)" in caplog.text
    with monkeypatch.context() as none_starts:
        none_starts.setattr("sys.executable", "/bin/false")
        assert engines_of(train, val) == (["torch"], 0)
        [said] = warnings(caplog)
        assert said == (
            f"the engine {chosen} was ended by SIGKILL, in an earlier run of this network; torch is used, until `zoo cache clear decisions`"
        )
        assert engines_of(train.subset(np.arange(10, 30)), val)[0] == ["torch"]
        assert len(warnings(caplog)) == 1
        assert engines_of(train) == ([chosen], 0), "where nothing is computed, equal runs stay equal"
        assert warnings(caplog) == []
    cache.clear(tmp_path / "cache", "decisions")
    cache.clear(tmp_path / "cache", "features")
    assert engines_of(train, val)[0] != ["torch"]


def test_nan_from_an_engine_is_not_taken_for_the_network_s(model, data, tmp_path, caplog):
    samples = open_splits(build({"data": str(data)})).train
    dark = [np.asarray(samples.item(index)).max() < 30 for index in range(len(samples))]
    samples = samples.subset(np.argsort(dark, kind="stable"))
    config = build({"num_workers": 0, "cache": str(tmp_path / "cache"), "engine": "openvino"})
    with Extractor(Scaled(), "pooled features", model.backbone, config, CPU) as extractor:
        rows = extractor.rows(samples)[:]
        assert extractor.work.engines == ["torch"]
    assert np.isfinite(rows).all()
    [said] = warnings(caplog)
    assert said.startswith("the engine openvino gives NaN or infinite features for train/")


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_ends_as_with_torch(processes, tmp_path, monkeypatch, caplog, capfd):
    """Killed by a worker, that is as soon as the extraction proper has begun; by two processes, in each of them."""
    monkeypatch.setenv(HARM, "SIGKILL")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]]))
    data = photos(tmp_path / "photos", count=100 * processes)  # so many that each process reads its own by a worker
    options = {"weights": "random", "data": str(data), "cache": "off", "num_workers": 1, "processes": processes, "device": "cpu"}
    runs = {
        engine: zoo.finetune(
            "timm/test_resnet.r160_in1k", strategy="linear-probe", image_size=32, engine=engine, out=str(tmp_path / engine), **options,
            **({"worker_init_fn": "harming:harm"} if engine != "torch" else {}),
        )
        for engine in ("torch", "openvino")
    }  # fmt: skip
    said = caplog.text + capfd.readouterr().err
    assert said.count("the engine openvino was ended by SIGKILL; torch goes on") == 1
    assert runs["openvino"].metrics()[-1]["metrics"] == runs["torch"].metrics()[-1]["metrics"]
    assert "by torch:" in json.loads((runs["openvino"].path / "training.json").read_text())["features"]
    assert engine_processes(os.getpid()) == []


def test_a_run_whose_engine_fails_after_its_training_samples_is_torch_s(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv(HARM, "SIGKILL")
    monkeypatch.setenv(HARM + "_SEEN", str(tmp_path / "seen"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ["PYTHONPATH"]]))
    data = photos(tmp_path / "photos", val=80)
    options = {"weights": "random", "data": str(data), "cache": "off", "num_workers": 1, "device": "cpu", "image_size": 32}
    run = zoo.finetune(
        "timm/test_resnet.r160_in1k", strategy="linear-probe", engine="openvino", out=str(tmp_path / "run"),
        worker_init_fn="harming:harm_later", **options,
    )  # fmt: skip
    plain = zoo.finetune(
        "timm/test_resnet.r160_in1k", strategy="linear-probe", engine="torch", out=str(tmp_path / "torch"), **options
    )
    assert caplog.text.count("the engine openvino was ended by SIGKILL; torch goes on, with all features of this run") == 1
    assert run.metrics()[-1]["metrics"] == plain.metrics()[-1]["metrics"]
    assert folders.sha256(run.best / "model.safetensors") == folders.sha256(plain.best / "model.safetensors")
    assert run.resolved().config.machine.engine == "torch"
    assert "by torch:" in json.loads((run.path / "training.json").read_text())["features"]


def test_an_engine_that_could_not_start_is_tried_again_by_the_next_run(model, data, tmp_path, caplog, monkeypatch):
    """Memory was short, say: that torch stood in is not a decision for good."""
    samples, cut = open_splits(build({"data": str(data)})).train, boundary.cut(model)
    config = build({"num_workers": 0, "cache": str(tmp_path / "cache"), "engine": "onnxruntime"})

    def engines_of():
        with Extractor(cut.prefix, cut.where, model.backbone, config, CPU) as extractor:
            extractor.rows(samples)
            return extractor.work.engines

    with monkeypatch.context() as broken:
        broken.setattr("sys.executable", "/bin/false")
        assert engines_of() == ["torch"]
    assert any("passed over: the engine onnxruntime" in line for line in warnings(caplog))
    assert not list((tmp_path / "cache/decisions").rglob("decision.json"))
    assert engines_of() == ["onnxruntime"]
    assert list((tmp_path / "cache/decisions").rglob("decision.json"))
