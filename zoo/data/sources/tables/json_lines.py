"""The rows of JSON Lines and JSON."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from zoo.data.sources.flaws import Row, Values, bad_row, flaw
from zoo.data.sources.tables.compressed import open_text
from zoo.errors import DataError


def read_lines(path: Path, only: Collection[str] | None, notices: list[str]) -> Iterator[Row]:
    """JSON Lines: an object a line."""
    with open_text(path, None) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                yield number, _parse_line(path, number, line, only)


def _parse_line(path: Path, number: int, line: str, only: Collection[str] | None) -> Values | DataError:
    wrong = flaw(line)
    if wrong:
        return bad_row(path, number, wrong)
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        hint = "; a file that is one list of objects is called .json" if line.lstrip().startswith("[") else ""
        return bad_row(path, number, f"not JSON: {error.msg} at character {error.pos + 1:,}{hint}")
    except (ValueError, RecursionError):
        return bad_row(path, number, "JSON with a number too long or too many brackets in each other")
    return _pick(path, number, found, only)


def _pick(path: Path, number: int, found: Any, only: Collection[str] | None) -> Values | DataError:
    """The wanted columns of one parsed JSON value."""
    if not isinstance(found, dict):
        return bad_row(path, number, f"a {type(found).__name__}, expected an object such as {{'text': ..., 'label': ...}}")
    wrong = next((one for value in found.values() if isinstance(value, str) and (one := flaw(value))), None)
    if wrong:
        return bad_row(path, number, wrong)
    return found if only is None else {name: found.get(name) for name in only}


def read_json(path: Path, only: Collection[str] | None, notices: list[str]) -> Iterator[Row]:
    """JSON: a list of objects, read as a whole."""
    with open_text(path, None) as stream:
        text = stream.read()
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        hint = "; one object a line is called .jsonl" if error.msg == "Extra data" else ""
        raise DataError(f"{path}, line {error.lineno:,}: not JSON: {error.msg}{hint}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: JSON with a number too long or too many brackets in each other") from error
    if not isinstance(found, list):
        raise DataError(f"{path}: expected a list of objects, found a {type(found).__name__}; one object a line is called .jsonl")
    for number, one in enumerate(found, 1):
        yield number, _pick(path, number, one, only)
