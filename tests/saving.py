"""Saved models as runs write them, whole with their manifest, and such folders after somebody changed them knowingly."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo import folders
from zoo.adaptation import saved
from zoo.adaptation.model import AdaptedModel


def save(folder: Path, model: AdaptedModel, facts: Mapping[str, Any] | None = None) -> None:
    """The folder of a model, in the place of what is there."""
    with folders.whole(folder, replace=True) as aside:
        saved.save(aside, model, facts or {})


def seal(folder: Path) -> None:
    """Let the manifest say what is there now."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != folders.MANIFEST]
    entries = {
        path.relative_to(folder).as_posix(): {"size": path.stat().st_size, "sha256": folders.sha256(path)} for path in files
    }
    (folder / folders.MANIFEST).write_text(json.dumps(entries))
