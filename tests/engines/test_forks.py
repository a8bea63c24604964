"""Nothing forks beside an engine's threads: no process of ours that forks has ever loaded an engine's library.

What happens to a fork beside threads depends on the processor and on chance; whether there are any does not.
"""

import json
import os
import sys
from pathlib import Path

import pytest
from harming import engine_processes, photos

import zoo

LIBRARIES = ("libopenvino", "libtbb", "onnxruntime")
_seen: list[set[str]] | None = None
"""Of each fork while a test looks: which of the libraries this process had loaded."""


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if _seen is not None and event in ("os.fork", "os.forkpty"):
        loaded = Path("/proc/self/maps").read_text()
        modules = {name for name in ("openvino", "onnxruntime") if name in sys.modules}
        _seen.append(modules | {name for name in LIBRARIES if name in loaded})


sys.addaudithook(_audit)


@pytest.fixture
def forks(monkeypatch):
    global _seen
    _seen = []
    yield _seen
    _seen = None


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_no_process_that_forks_has_an_engine_s_library(engine, forks, tmp_path):
    """Workers are forked after the engine was chosen, and the engine computes."""
    run = zoo.finetune(
        "timm/test_resnet.r160_in1k", weights="random", strategy="linear-probe", image_size=32, engine=engine, device="cpu",
        data=str(photos(tmp_path / "photos")), cache="off", num_workers=2, out=str(tmp_path / "run"),
    )  # fmt: skip
    assert f"by {engine}:" in json.loads((run.path / "training.json").read_text())["features"]
    assert len(forks) >= 2
    assert set().union(*forks) == set()
    assert engine_processes(os.getpid()) == []


def test_nothing_is_started_where_all_features_are_there(tmp_path):
    """`subprocess.Popen` is an event too."""
    options = {
        "weights": "random", "strategy": "linear-probe", "image_size": 32, "engine": "openvino", "device": "cpu", "num_workers": 0,
        "data": str(photos(tmp_path / "photos", 40)), "cache": str(tmp_path / "cache"),
    }  # fmt: skip
    zoo.finetune("timm/test_resnet.r160_in1k", out=str(tmp_path / "first"), **options)
    started: list[str] = []
    looking = [True]

    def audit(event, arguments):
        if looking and event == "subprocess.Popen":
            started.append(str(arguments[1]))

    sys.addaudithook(audit)
    zoo.finetune("timm/test_resnet.r160_in1k", out=str(tmp_path / "second"), **options)
    looking.clear()
    assert not [one for one in started if "zoo.runtimes" in one]
