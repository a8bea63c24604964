"""Private names of other libraries: all stand in one module, and each does still what zoo uses it for."""

import ast
import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from huggingface_hub.errors import HFValidationError
from PIL import Image
from torch import nn
from transformers import BertConfig, BertModel

import zoo
from zoo import upstream

PACKAGE = Path(zoo.__file__).parent
OTHERS = {"torch", "torchvision", "timm", "transformers", "accelerate", "peft", "datasets", "huggingface_hub", "numpy", "PIL", "evaluate",
          "scipy", "sklearn", "matplotlib", "rich", "cyclopts", "pyarrow", "safetensors"}  # fmt: skip


def private(path: Path) -> list[str]:
    """What a module names that is another library's own: in an import, or behind a dot of what is not zoo's."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: list[str] = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in OTHERS:
            parts = [*str(node.module).split("."), *(alias.name for alias in node.names)]
            found += [f"{node.module}: {part}" for part in parts if re.match(r"_[a-z]", part)]
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {
                (alias.asname or alias.name).partition(".")[0] for alias in node.names if alias.name.partition(".")[0] in OTHERS
            }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and re.match(r"_[a-z]", node.attr):
            root = node.value
            while isinstance(root, ast.Attribute):
                root = root.value
            if isinstance(root, ast.Name) and root.id in names:
                found.append(f"{ast.unparse(node)}")
    return found


def test_they_stand_in_one_module() -> None:
    found = {str(path.relative_to(PACKAGE)): names for path in PACKAGE.rglob("*.py") if (names := private(path))}
    assert set(found) <= {"upstream.py"}, found
    assert len(found["upstream.py"]) >= 2


def test_a_second_accelerator_has_another_precision() -> None:
    upstream.forget_accelerators(processes_too=True)
    assert Accelerator(cpu=True, mixed_precision="no").mixed_precision == "no"
    upstream.forget_accelerators(processes_too=True)
    assert Accelerator(cpu=True, mixed_precision="bf16").mixed_precision == "bf16"
    upstream.forget_accelerators(processes_too=True)


def test_a_network_is_built_from_its_configuration() -> None:
    configuration = BertConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=50)
    assert upstream.has_fused_attention(BertModel) is True
    net = upstream.built_from(BertModel, configuration, dtype=torch.float32, attn_implementation="sdpa")
    assert isinstance(net, BertModel)
    assert net.config._attn_implementation == "sdpa"


def test_children_are_all_that_a_module_has_even_none() -> None:
    module = nn.Module()
    module.first, module.second = nn.Linear(1, 1), None
    module.register_module("third", None)
    assert list(upstream.children_of(module)) == ["first", "third"]


@pytest.mark.parametrize("planar", [1, 2])
def test_libtiff_decodes_what_is_open(planar: int) -> None:
    stream = io.BytesIO()
    values = np.arange(12 * 9, dtype=np.uint16).reshape(9, 12) * 500
    Image.fromarray(values).save(stream, "TIFF", compression="tiff_lzw", planar_configuration=planar)
    image = Image.open(io.BytesIO(stream.getvalue()))
    assert image.mode == "I;16"
    upstream.read_by_libtiff(image)
    assert image.tile[0][0] == "libtiff"


def test_the_hubs_headers_and_names_are_read() -> None:
    assert upstream.rate_limit({}) is None
    found = upstream.rate_limit({"ratelimit": '"api";r=0;t=55', "ratelimit-policy": '"fixed window";"api";q=500;w=300'})
    assert (found.remaining, found.reset_in_seconds) == (0, 55)
    upstream.check_repository("owner/name")
    with pytest.raises(HFValidationError):
        upstream.check_repository("owner/na me")


def test_the_processors_flags_are_those_of_the_system() -> None:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    assert isinstance(upstream.has_bf16_arithmetic(), bool)
    if "flags" in flags:
        assert upstream.has_bf16_arithmetic() == bool({"avx512_bf16", "amx_tile"} & set(flags.split()))
