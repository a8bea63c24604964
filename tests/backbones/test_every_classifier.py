"""Files as timm itself writes them, of networks with a classifier of every form: each gives a backbone the values that it holds."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models._registry import _model_to_module

from zoo import registry
from zoo.backbones import timm_networks as loader
from zoo.backbones import weights

FORMS = {
    "resnetv2_18": "a convolution of 1 x 1 in a ClassifierHead",
    "dpn48b": "a convolution of 1 x 1",
    "deit_tiny_distilled_patch16_224": "two Linears",
    "levit_128s": "a norm and a Linear",
    "crossvit_9_240": "a list of Linears",
    "test_nfnet": "a Linear in a head",
}
LARGE = 120_000_000


def check(name: str, folder: Path, classes: int) -> None:
    torch.manual_seed(0)
    written = timm.create_model(name, num_classes=classes).state_dict()
    path = folder / f"{name}-{classes}.safetensors"
    save_file({key: value.clone().contiguous() for key, value in written.items()}, path)
    spec = loader.tagged(registry.resolve(f"timm/{name}"))
    net = loader._load_strictly(spec, weights.find(spec, str(path)), loader._arguments(spec, None, 0.0))
    own = net.state_dict()
    assert own.keys() <= written.keys(), name
    assert all(torch.equal(value, written[key]) for key, value in own.items()), name
    path.unlink()


@pytest.mark.parametrize("name", FORMS)
def test_a_file_that_timm_wrote_fits(name: str, tmp_path: Path) -> None:
    check(name, tmp_path, 7)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_file_of_the_smallest_network_of_every_module_and_form_fits(tmp_path: Path) -> None:
    smallest: dict[tuple[str, str], tuple[int, str]] = {}
    for name in timm.list_models():
        with torch.device("meta"):
            size = sum(one.numel() for one in timm.create_model(name).parameters())
        form = (_model_to_module[name], str(timm.get_pretrained_cfg(name).classifier))
        smallest[form] = min(smallest.get(form, (size, name)), (size, name))
    for size, name in smallest.values():
        if size < LARGE and not name.endswith("_enc"):
            check(name, tmp_path, 1000)
