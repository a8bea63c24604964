"""What the `config.json` of a saved model says. Reading it needs no torch, so a folder that is none is found out at once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError
from zoo.folders import is_folder

CONFIG = "config.json"
FORMAT = "zoo/1"
_LAYOUTS = ("timm", "transformers", "whole", "adapter")


def read(folder: Path) -> dict[str, Any]:
    """The `zoo` part of a folder's config.json: format, layout, task, labels, schema, preprocess, strategy, head, base, facts ...

    Raises: CheckpointError if it is missing, damaged, not zoo's, or of a newer format.
    """
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        what = f"it has no {CONFIG}" if is_folder(folder) else "no such folder"
        raise CheckpointError(f"{folder}: not a model that zoo saved: {what}") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}; use another copy") from error
    block = config.get("zoo") if isinstance(config, dict) else None
    if not isinstance(block, dict) or not isinstance(block.get("format"), str):
        raise CheckpointError(f"{path}: not a model that zoo saved: it has no `zoo` part")
    if block["format"] != FORMAT:
        raise CheckpointError(f"{path}: format {block['format']!r}; this zoo reads {FORMAT!r}: install the version that wrote it")
    if block.get("layout") not in _LAYOUTS:
        raise CheckpointError(f"{path}: layout {block.get('layout')!r}; expected one of {', '.join(_LAYOUTS)}: use another copy")
    return block
