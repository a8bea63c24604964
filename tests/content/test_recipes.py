"""Every recipe is valid, is found where a family names it, and states its sources."""

import json
import re

import pytest

from zoo import api, backbones, registry
from zoo.configure import configure
from zoo.strategy import forms, parse


@pytest.mark.parametrize("name", registry.recipes())
def test_a_recipe_is_valid_and_says_where_its_rate_is_from(name):
    values = api.validate_recipe(name)
    assert {"strategy", "lr", "epochs", "batch_size"} <= set(values)
    header = registry.recipe(name).path.read_text(encoding="utf-8").partition("strategy:")[0]
    assert all(line.startswith("#") or not line for line in header.splitlines())
    assert registry.recipe(name).summary.endswith(".")
    assert re.search(r"arxiv\.org/abs/|\.md\b", header)


KINDS = {"image": "timm/swinv2_tiny_window8_256", "text": "hf/someone/anything"}
"""A name of no family that is known, by the kind of its samples."""
OPENED = {
    "bert": "text", "roberta": "text", "modernbert": "text", "eurobert": "text", "wav2vec2": "audio", "hubert": "audio", "whisper": "audio",
    "wavlm": "audio", "data2vec-audio": "audio", "audio-spectrogram-transformer": "audio",
}  # fmt: skip
"""Types of networks in a user's own folder, and the kind of their samples."""


def check(spec, kind):
    for form in forms().values():
        found = registry.default_recipe(spec, parse(form.kind))
        assert parse(str(found.values["strategy"])).kind == form.kind
        prefix = found.name.partition("-")[0]
        assert (prefix if prefix in ("text", "audio") else "image") == kind
        assert kind != "text" or "augment" not in found.values


@pytest.mark.parametrize("family", registry.families().values(), ids=lambda family: family.name)
def test_a_family_has_a_recipe_of_its_kind_for_each_strategy(family):
    check(next(spec for spec in registry.backbones() if spec.family == family), family.kind.value)
    assert all(name not in (f"{family.kind.value}-{kind}", kind) for kind, name in family.recipes.items()), "no exception"


@pytest.mark.parametrize("kind", KINDS)
def test_so_has_a_network_of_no_family_that_is_known(kind):
    spec = registry.resolve(KINDS[kind])
    assert spec.family is None
    check(spec, kind)


@pytest.mark.parametrize("model_type", OPENED)
def test_so_has_a_network_in_a_folder(model_type, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    (tmp_path / "model.safetensors").write_bytes(b"")
    name = "hf/me/own"
    check(backbones.identify(registry.resolve(name), str(tmp_path)), OPENED[model_type])
    resolved = configure({"backbone": name, "weights": str(tmp_path), "strategy": "partial:1", "data": "x"})
    assert resolved.config.optim.label_smoothing == 0.0
    assert OPENED[model_type] in resolved.origins["lr"]
