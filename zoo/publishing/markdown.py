"""Words of users inside Markdown: escaped, so that a class may have any name and a card still reads as it was meant."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from pathlib import PurePath

_SPECIAL = re.compile(r"[|`*\[\]~$\\]|://|(?<![^\W_])_|_(?![^\W_])|^(?:[-+#](?=\s|$)|=+$|-{2,}|\d+[.)](?=\s|$))")
_PATH = re.compile(r"(?:(?<=[\s:])|^)(?:~|\.{0,2}/).*$", re.S)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]+")


def escape(text: str) -> str:
    """`text` as one line that Markdown and HTML show as it is; control and direction characters become a space.

    >>> escape("a|b <i>")
    'a&#124;b &lt;i&gt;'
    """
    line = _CONTROL.sub(" ", text).strip()
    return _SPECIAL.sub(lambda match: "".join(f"&#{ord(sign)};" for sign in match[0]), html.escape(line, quote=False))


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, right: int = 0) -> str:
    """A Markdown table; the last `right` columns are aligned to the right. Cells are Markdown already."""
    marks = ["---"] * (len(header) - right) + ["---:"] * right
    lines = [f"| {' | '.join(cells)} |" for cells in (header, marks, *rows)]
    return "\n".join(lines)


def without_folders(text: str) -> str:
    """`text` whose path, if it ends in one, is cut to its last part: folders belong to the author's machine.

    >>> without_folders("file /Users/ann/my weights/a.safetensors"), without_folders("Hub timm/resnet50")
    ('file a.safetensors', 'Hub timm/resnet50')
    """
    path = _PATH.search(text)
    return text[: path.start()] + PurePath(path[0]).name if path else text


def folded(title: str, body: str, *, fold: bool) -> str:
    """The body; where `fold` is set, behind a title that opens it."""
    return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>" if fold else body
