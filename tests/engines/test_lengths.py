"""Engines on samples that differ in length: the same rows as torch's at every length, and none that was made for one length."""

import numpy as np
import pytest
import torch
from tiny import TINY_TEXT, text_folder
from torch import Tensor, nn

from zoo import backbones, engines
from zoo.engines import installed
from zoo.errors import ConfigError

pytestmark = pytest.mark.skipif("openvino" not in installed(), reason="OpenVINO is not installed (the extra cpu)")
CPU = torch.device("cpu")


def choose(net, batch, name="openvino", **options):
    given = {"samples": 10**6, "device": CPU, "channels_last": False, "precision": "no", "folder": None, "batch_size": len(batch)}
    return engines.choose(net, batch, name=name, varying=True, **{**given, **options})


@pytest.fixture(scope="module", params=["bert", "distilbert", "mpnet"])
def backbone(request, tmp_path_factory):
    spec = next(spec for spec in TINY_TEXT if spec.family and spec.family.name == request.param)
    return backbones.load(spec, str(text_folder(tmp_path_factory.mktemp("weights"), spec)))


def test_texts_of_any_length(backbone):
    texts = [" ".join(["word", "text", "one"] * count) for count in (1, 3, 7, 12)]
    batch = backbone.preprocess.collate([backbone.preprocess.prepare(text) for text in texts])
    engine, _ = choose(backbone, batch)
    assert engine.name == "openvino"
    for some in (texts[:1], texts[1:3], [texts[3] + " word" * 9]):
        prepared = backbone.preprocess.collate([backbone.preprocess.prepare(text) for text in some])
        with torch.no_grad():
            expected = backbone(prepared).numpy()
        assert np.allclose(engine(prepared), expected, atol=1e-4)


class OfOneLength(nn.Module):
    """Its sum is over as many places as the first batch had: what a tracer that takes a length for a constant makes of a network."""

    def forward(self, batch: Tensor) -> Tensor:
        kept = int(batch.shape[-1])
        return batch.float()[..., :kept].sum(-1).squeeze(1) / kept


def test_one_that_was_made_for_one_length_is_passed_over(caplog):
    batch = torch.arange(4 * 2 * 30, dtype=torch.int32).reshape(4, 1, 2, 30)
    assert choose(OfOneLength(), batch)[0].name == "torch"
    assert "differs from torch" in caplog.text


def test_engines_of_one_shape_are_refused(backbone):
    batch = backbone.preprocess.example(2)
    for name in ("onnxruntime", "compile"):
        with pytest.raises(ConfigError, match="differ in length"):
            choose(backbone, batch, name)
