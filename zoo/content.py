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
from ruamel.yaml.composer import Composer, ComposerError, MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import AliasEvent

from zoo.errors import ConfigError, escaped

LARGEST = 1 << 17
"""Bytes of a YAML file; the parser takes seconds for so much."""
DEEPEST = 20
"""Values inside each other in a YAML file."""


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


class _Composer(Composer):
    """Refuses `*alias`: a few lines of them can mean gigabytes."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.parser.check_event(AliasEvent):
            raise ComposerError(
                None, None, "aliases (`*name`) are not read; write the value out", self.parser.peek_event().start_mark
            )
        return super().compose_node(parent, index)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML mapping, read safely: no tags, no aliases, no key twice, YAML 1.2 (so `1e-3` is a number and `no` is a word).

    Raises: ConfigError, which names the file and the line.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST + 1).decode()
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return parse_yaml(text, str(path))


def parse_yaml(text: str, name: str) -> dict[str, Any]:
    """As `read_yaml`, of a text; `name` is what errors call it."""
    if len(text) > LARGEST:
        raise ConfigError(f"{name}: larger than {LARGEST:,} bytes; expected some `key: value` lines")
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer, yaml.max_depth = _Composer, DEEPEST
    try:
        values = yaml.load(text)
    except MaxDepthExceededError as error:
        raise ConfigError(
            f"{name}: more than {DEEPEST} brackets or indents inside each other; expected `key: value` lines"
        ) from error
    except MarkedYAMLError as error:
        line = f" line {error.problem_mark.line + 1}:" if error.problem_mark else ""
        raise ConfigError(f"{name}:{line} {_first_line(error.problem)}") from error
    except Exception as error:  # of numbers and dates that Python does not have, the parser raises anything
        raise ConfigError(f"{name}: not YAML: {_first_line(error) or type(error).__name__}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise ConfigError(f"{name}: expected `key: value` lines")
    return values


def _first_line(said: object) -> str:
    return str(said).partition("\n")[0]


def dump_yaml(values: dict[str, Any], comments: dict[str, str] | None = None) -> str:
    """YAML text of a flat mapping, a line a key, with an optional comment behind each value."""
    lines = []
    for key, value in values.items():
        yaml = YAML(typ="safe", pure=True)  # one for each value: a style that is set after the first dump means nothing
        yaml.default_flow_style = False
        yaml.width = 1 << 20  # a value stays on its line, so that the comment behind it does too
        # Some characters that are not printable break lines in YAML; within quotation marks they are escaped.
        yaml.default_style = '"' if isinstance(value, str) and not value.isprintable() else None  # type: ignore[assignment]
        buffer = io.StringIO()
        yaml.dump({key: value}, buffer)
        comment = (comments or {}).get(key)
        lines.append(buffer.getvalue().rstrip("\n") + (f"  # {escaped(comment)}" if comment else ""))
    return "\n".join(lines) + "\n"
