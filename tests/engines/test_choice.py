"""Which engine is chosen: the arithmetic with given numbers, and what choosing does about engines that fail."""

import logging
import sys
from pathlib import Path

import pytest
import torch
from running import Branching, Greedy, Sleepy, ThroughNumpy, chosen, pictures, prepared, small
from torch import nn

from zoo.engines.catalogue import computes_in, has_bf16
from zoo.engines.choice import Expected, pays
from zoo.errors import ConfigError, RunFailed, UnknownName


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """torch's tracer logs too, below this level."""
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_conversion_pays_where_it_saves_more_than_it_takes() -> None:
    expected = Expected(gain=2.0, convert=3.0, load=0.5)
    # torch 4 ms an image, so 2 ms are saved: 1500 images for 3 s, 250 for half a second.
    assert not pays(1499, 0.004, 0.004, expected)
    assert pays(1501, 0.004, 0.004, expected)
    assert not pays(249, 0.004, 0.004, expected, converted=True)
    assert pays(251, 0.004, 0.004, expected, converted=True)
    # Another engine has come to 2.5 ms: half a millisecond is left to save.
    assert not pays(5999, 0.004, 0.0025, expected)
    assert pays(6001, 0.004, 0.0025, expected)
    assert not pays(10**9, 0.004, 0.002, expected)


def test_few_pictures_stay_with_torch() -> None:
    engine, line = chosen(Sleepy(), pictures(3), "auto", 10)
    assert (engine.name, engine.batch_size) == ("torch", 4)
    assert line.startswith("engine torch: at most ")
    assert line.endswith(" s for 10 samples, no conversion pays; batches of 4")


def test_many_pictures_are_worth_a_conversion() -> None:
    """torch takes 5 ms an image, 20 s in all; the converted network does not sleep, and no other can beat it by enough."""
    net = Sleepy()
    engine, line = chosen(net, pictures(3), "auto", 4_000)
    assert engine.name == "openvino", line
    assert engine.seconds_per_sample is not None
    assert engine.seconds_per_sample < 0.005
    assert "for 4,000 samples" in line
    assert ", torch " in line


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_what_is_not_installed_is_offered_where_it_would_pay(
    precision: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for module in ("openvino", "onnxruntime"):
        monkeypatch.setitem(sys.modules, module, None)
    engine, line = chosen(Sleepy(), pictures(4), "auto", 4_000, folder=tmp_path, precision=precision)
    assert engine.name == "torch"
    offered = "openvino may take half the time: pip install 'zoo-finetune[cpu]'" in line
    assert offered == computes_in(precision, "openvino")
    assert "pip" not in chosen(Sleepy(), pictures(4), "auto", 10)[1]


def test_what_was_converted_before_pays_sooner(tmp_path: Path) -> None:
    """3 s of torch's time: too little for a conversion, enough for loading."""
    net, images = Sleepy(), pictures(4)
    assert chosen(net, images, "auto", 600, folder=tmp_path)[0].name == "torch"
    prepared("openvino", net, images, tmp_path)
    assert chosen(net, images, "auto", 600, folder=tmp_path)[0].name == "openvino"


def test_the_batch_size_is_what_was_said_and_never_measured() -> None:
    net, images = Sleepy(), pictures(4)
    for samples in (200, 100_000):
        assert chosen(net, images, "torch", samples, batch_size=None)[0].batch_size == 16
    assert chosen(net, images, "torch", 100_000, batch_size=5)[0].batch_size == 5


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_an_engine_that_was_asked_for(name: str) -> None:
    engine, line = chosen(small(), pictures(2), name)
    assert (engine.name, engine.batch_size) == (name, 4)
    assert line.startswith(f"engine {name}: prepared in ")


def test_a_conversion_of_another_network_is_refused(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    images = pictures(4)
    prepared("openvino", small(1), images, tmp_path)
    engine, line = chosen(small(0), images, "openvino", folder=tmp_path)
    assert engine.name == "torch"
    assert line == "engine torch: batches of 4"
    [message] = warnings(caplog)
    assert message.startswith("passed over: the engine openvino differs from torch by ")
    assert message.endswith(f"or remove {tmp_path} if it belongs to another network")


@pytest.mark.parametrize(
    ("name", "net", "problem"),
    [
        ("openvino", ThroughNumpy(), "the engine openvino differs from torch by inf"),
        ("onnxruntime", Branching(), "ONNX Runtime cannot take this network: Could not guard on data"),
    ],
)
def test_a_network_that_cannot_be_converted_is_left_to_torch(
    name: str, net: nn.Module, problem: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    engine, _ = chosen(net, pictures(4), name)
    assert engine.name == "torch"
    [message] = warnings(caplog)
    assert problem in message
    assert "\n" not in message
    assert capsys.readouterr() == ("", "")


def test_out_of_memory_halves_the_batch() -> None:
    assert chosen(Greedy(5), pictures(4), "torch", batch_size=16)[0].batch_size == 4
    with pytest.raises(RunFailed, match="no room for a single sample"):
        chosen(Greedy(0), pictures(4), "torch")


def test_an_engine_of_another_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match="onnxruntime computes in fp32, the precision is bf16; use precision no, or torch"):
        chosen(small(), pictures(4), "onnxruntime", precision="bf16")


@pytest.mark.skipif(not has_bf16(), reason="needs a processor that multiplies in bf16")
def test_in_bf16_the_engines_that_have_it_are_tried() -> None:
    engine, line = chosen(Sleepy(), pictures(4), "auto", 3_000, precision="bf16")
    engine.close()
    assert (engine.name, engine.version.endswith("bf16")) == ("openvino", True)
    assert "onnxruntime" not in line


@pytest.mark.skipif(has_bf16(), reason="needs a processor that does not multiply in bf16")
def test_without_bf16_in_the_processor_torch_stands_in() -> None:
    engine, _ = chosen(Sleepy(), pictures(4), "auto", 3_000, precision="bf16")
    assert engine.version == f"torch {torch.__version__} bf16"
    with pytest.raises(ConfigError, match="openvino computes in fp32 on this processor, the precision is bf16"):
        chosen(small(), pictures(4), "openvino", precision="bf16")


def test_names_and_devices_that_do_not_fit() -> None:
    with pytest.raises(UnknownName, match="no engine 'openvin'; did you mean 'openvino'"):
        chosen(small(), pictures(4), "openvin")
    with pytest.raises(ConfigError, match="onnxruntime runs on a CPU, the device is cuda; use torch or compile"):
        chosen(small(), pictures(4), "onnxruntime", device=torch.device("cuda"))
