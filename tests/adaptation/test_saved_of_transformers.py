"""Saved folders of texts and audio clips: the same answers, and plain transformers where the folder says that it opens it."""

import json
from pathlib import Path

import pytest
import torch
from saving import save
from sounding import TINY_SOUND
from tiny import TINY_TEXT, text_folder
from transformers import AutoConfig, AutoModel

from zoo import backbones
from zoo.adaptation import saved, saved_config
from zoo.adaptation.model import AdaptedModel
from zoo.registry import BackboneSpec
from zoo.types import Labels

SPECS = {spec.name: spec for spec in (*TINY_TEXT, *TINY_SOUND.values())}
PART = {TINY_SOUND["whisper"].name}
"""Of these the backbone is a part of what AutoModel builds."""


def fully_tuned(spec: BackboneSpec, tmp_path: Path) -> AdaptedModel:
    weights = str(text_folder(tmp_path / "weights", spec)) if spec in TINY_TEXT else "random"
    model = AdaptedModel.build(backbones.load(spec, weights), 2, strategy="full", labels=Labels(("a", "b")))
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model.eval()


@pytest.mark.parametrize("name", SPECS)
def test_plain_transformers_opens_it(name: str, tmp_path: Path) -> None:
    model = fully_tuned(SPECS[name], tmp_path)
    folder = tmp_path / "best"
    save(folder, model)
    batch = model.backbone.preprocess.example(2)
    with torch.inference_mode():
        assert torch.equal(saved.open_saved(folder)(batch), model(batch))
    assert saved_config.read(folder)["layout"] == ("whole" if name in PART else "transformers")
    if name in PART:
        return
    plain, info = AutoModel.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert all("pooler" in key for key in info["missing_keys"])
    assert set(info["unexpected_keys"]) == {"head.weight", "head.bias"}
    theirs = plain.state_dict()
    for key, tensor in model.backbone.net.state_dict().items():
        assert torch.equal(theirs[key], tensor), key


@pytest.mark.parametrize("name", [name for name in SPECS if name not in PART])
def test_it_does_not_pass_for_a_classifier_of_transformers(name: str, tmp_path: Path) -> None:
    """transformers would draw the head at random: not under our labels, whatever the base's configuration said of labels."""
    model = fully_tuned(SPECS[name], tmp_path)
    folder = tmp_path / "best"
    folder.mkdir()
    saved.save(folder, model, {})
    config = json.loads((folder / "config.json").read_text())
    assert not {"id2label", "label2id", "num_labels", "problem_type"} & set(config)
    assert config["architectures"] == [type(AutoModel.from_pretrained(folder)).__name__]
    assert not {"a", "b"} & set(AutoConfig.from_pretrained(folder).id2label.values())
