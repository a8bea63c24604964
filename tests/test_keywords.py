"""The keywords of the Python API, as editors see them, are the options: `python tests/test_keywords.py` writes them anew."""

import typing
from pathlib import Path
from typing import Any, Literal

from zoo import keywords
from zoo.config import marked, options
from zoo.options import BENCH, EVALUATE, INSPECT

HEAD = '''"""The options as keywords of the Python API, for editors and type checkers.

Made from the fields of `zoo.config` by `python tests/test_keywords.py`; a test holds them to these.
"""

from __future__ import annotations

from typing import Literal, TypedDict
'''
FORMS = {
    "FinetuneOptions": (
        "Of `zoo.finetune`.",
        tuple(name for name in options() if name not in ("backbone", "data", "head", "metric")),
    ),
    "EvaluateOptions": ("Of `zoo.evaluate`.", marked(EVALUATE)),
    "InspectOptions": ("Of `zoo.inspect`.", marked(INSPECT)),
    "BenchOptions": ("Of `zoo.bench`.", marked(BENCH)),
}


def spelt(form: Any) -> str:
    """A type as it is written."""
    if typing.get_origin(form) is Literal:
        choices = ", ".join(f'"{choice}"' for choice in typing.get_args(form))
        return f"Literal[{choices}]"
    arms = typing.get_args(form)
    if arms:
        return " | ".join(spelt(arm) for arm in arms)
    return "None" if form is type(None) else str(form.__name__)


def text() -> str:
    classes = [
        f'\n\nclass {name}(TypedDict, total=False):\n    """{said}"""\n\n'
        + "".join(f"    {one}: {spelt(options()[one].type)}\n" for one in names)
        for name, (said, names) in FORMS.items()
    ]
    return HEAD + "".join(classes)


def test_the_keywords_are_the_options():
    assert Path(keywords.__file__).read_text(encoding="utf-8") == text()


if __name__ == "__main__":
    Path(keywords.__file__).write_text(text(), encoding="utf-8")
