"""Finds the files that zoo ships beside its code: `adapters/`, `recipes/` and `model_cards/`.

A wheel carries them inside the package as `zoo/_content/`; a checkout reads them in place, beside the `pyproject.toml` that names
zoo. Nothing is picked up from the working folder.
"""

from __future__ import annotations

import io
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from zoo.errors import ConfigError


@cache
def root() -> Path:
    """The folder that holds `adapters/`, `recipes/` and `model_cards/`."""
    package = Path(__file__).resolve().parent
    installed = package / "_content"
    if installed.is_dir():
        return installed
    checkout = package.parent
    pyproject = checkout / "pyproject.toml"
    if pyproject.is_file() and 'name = "zoo' in pyproject.read_text(encoding="utf-8"):
        return checkout
    raise ConfigError(f"zoo's own files are missing beside {package}; install zoo again")


def files(kind: str, suffix: str) -> dict[str, Path]:
    """The files of one folder (`adapters`, `recipes`, `model_cards`) with this suffix, by stem, sorted."""
    return {path.stem: path for path in sorted((root() / kind).glob(f"*{suffix}"))}


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping, read safely: no tags, no key twice, YAML 1.2 (so `1e-3` is a number and `no` is a word).

    Raises: ConfigError, which names the file and the line.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """As `read_yaml`, of a text; `name` is what errors call it."""
    try:
        values = YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}:" if error.problem_mark else ""
        raise ConfigError(f"{name}:{line} {str(error.problem).splitlines()[0]}") from error
    except YAMLError as error:
        raise ConfigError(f"{name}: not YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{name}: expected `key: value` lines")
    return values


def dump_yaml(values: dict[str, Any], comments: dict[str, str] | None = None) -> str:
    """YAML text of a flat mapping, a line a key, with an optional comment behind each value."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.width = 1 << 20  # a value stays on its line, so that the comment behind it does too
    lines = []
    for key, value in values.items():
        buffer = io.StringIO()
        yaml.dump({key: value}, buffer)
        comment = (comments or {}).get(key)
        lines.append(buffer.getvalue().rstrip("\n") + (f"  # {comment}" if comment else ""))
    return "\n".join(lines) + "\n"
