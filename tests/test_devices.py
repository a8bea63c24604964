"""Every verb that computes takes a device, and says in one line where there is none of the kind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from saving import save
from tiny import BY_FAMILY

import zoo
from zoo import api, backbones
from zoo.adaptation.model import AdaptedModel
from zoo.engines.precision import resolve_device, resolve_precision
from zoo.errors import ConfigError, UnknownName
from zoo.types import Labels


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("best") / "model"
    labels = Labels(tuple(map(str, range(10))))
    save(folder, AdaptedModel.build(backbones.load(BY_FAMILY["resnet"], "random"), 10, labels=labels))
    return folder


CALLS: dict[str, Callable[..., Any]] = {
    "load": lambda best, device: zoo.load(best, device=device),
    "predict": lambda best, device: zoo.predict(best, "no.png", device=device),
    "predict_to": lambda best, device: zoo.predict_to("out.csv", best, ["no.png"], device=device),
    "evaluate": lambda best, device: zoo.evaluate(best, "builtin:digits", device=device),
    "finetune": lambda best, device: zoo.finetune("timm/test_resnet.r160_in1k", weights="random", device=device),
    "bench": lambda best, device: api.bench("timm/test_resnet.r160_in1k", weights="random", device=device),
    "inspect": lambda best, device: zoo.inspect("builtin:digits", "timm/test_resnet.r160_in1k", weights="random", device=device),
}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("verb", CALLS)
@pytest.mark.parametrize(("device", "said"), [("cuda", "this torch sees no GPU"), ("mps", "no GPU of Apple's")])
def test_a_gpu_that_is_not_there_is_an_error_of_one_line(best: Path, verb: str, device: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"^device {device}: .*{said}.*use --device cpu"):
        CALLS[verb](best, device)


def test_names_of_devices() -> None:
    with pytest.raises(UnknownName, match="no device 'gpu'"):
        resolve_device("gpu")
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_gpu_of_apples_computes_in_float32_unless_told_otherwise() -> None:
    assert resolve_precision("auto", torch.device("mps")) == "no"
