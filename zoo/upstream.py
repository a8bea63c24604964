"""Names of other libraries that are theirs alone and may move: all of them that zoo uses, and what it uses them for.

`tests/test_upstream.py` fails when one does. Nothing is imported here before it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.TiffImagePlugin import TiffImageFile
    from torch import nn


def forget_accelerators(*, processes_too: bool) -> None:
    """Let the next `Accelerator` have another precision than the last: accelerate keeps its settings in the process, and refuses a second
    run with others. processes_too: forget how the processes meet."""
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(reset_partial_state=processes_too)


def built_from(network: Any, configuration: Any, **arguments: Any) -> nn.Module:
    """A network of transformers with random weights: `from_config` is of the automatic classes alone."""
    net: nn.Module = network._from_config(configuration, **arguments)
    return net


def has_fused_attention(network: Any) -> bool:
    """Whether a class of transformers has torch's fused attention (`sdpa`), which is exact."""
    return bool(network._supports_sdpa)


def children_of(module: nn.Module) -> dict[str, nn.Module | None]:
    """The modules in a module by name, those that are None too, which `named_children` leaves out."""
    return module._modules


def read_by_libtiff(image: TiffImageFile) -> None:
    """Have libtiff decode an image that is open: Pillow's own decoder takes separate planes of 16 bits for planes of 8."""
    from PIL import ImageFile

    mode = image.mode
    width, height = image._tile_size
    image.use_load_libtiff = True
    image.tile = [ImageFile._Tile("libtiff", (0, 0, width, height), 0, (f"{mode};16N", False, image.tag_v2.offset))]


def rate_limit(headers: Any) -> Any:
    """What the Hub's headers say of too many requests; None where they say nothing."""
    from huggingface_hub.utils._http import parse_ratelimit_headers

    return parse_ratelimit_headers(headers)


def check_repository(name: str) -> None:
    """Raises: huggingface_hub.errors.HFValidationError for a name that no repository of the Hub can have."""
    from huggingface_hub.utils._validators import validate_repo_id

    validate_repo_id(name)


def has_bf16_arithmetic() -> bool:
    """Whether this processor multiplies in bf16: it has AVX512-BF16 or AMX."""
    import torch

    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
