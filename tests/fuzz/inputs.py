"""Odd inputs, and what may come of them: an answer, or a `ZooError` in one line.

How many: a seeded sample by default; with ZOO_FUZZ_EXAMPLES (`make fuzz`) so many for each test, and others each time.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from zoo import errors
from zoo.errors import ZooError

EXAMPLES = int(os.environ.get("ZOO_FUZZ_EXAMPLES", "25"))
FUZZ = settings(
    max_examples=EXAMPLES,
    derandomize="ZOO_FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    print_blob=True,
    phases=(Phase.explicit, Phase.generate),  # inputs are small; to make one smaller takes minutes
    suppress_health_check=list(HealthCheck),
)

NASTY = [
    "",
    " ",
    "\0",
    "a\0b",
    "\n",
    "a\nb",
    "\x1b[31mred",
    "caf\udce9",
    "\ud800",
    "\u202eright to left",
    "９",
    "x" * 5_000,
    "x y " * 2_000,
    "9" * 5_000,
    "-" + "9" * 400,
    "1e999",
    "nan",
    "inf",
    "-0",
    "0x1f",
    "1_000",
    "../..",
    "/",
    "~",
    "~nobody/x",
    "/dev/null",
    "/proc/self/mem",
    "[",
    "*" * 50,
    "(" * 200,
    "(?P<x>a)(?P<x>b)",
    "a{99999999999}",
    "%s%n{0}{x!r}",
    "a:b",
    "os:system",
    ":",
    "=",
    "none",
    "true",
    "null",
    "ﬁ",
    "ß" * 400,
]
numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.just(5000).map(lambda digits: 10**digits),  # Python writes no number of so many digits, not even in a report of ours
    st.sampled_from([0, -1, 10**400, -(10**400), 2**63, 2**64, float("nan"), float("inf"), -0.0, 5e-324, 1e308]),
)
texts = st.one_of(st.sampled_from(NASTY), st.text(max_size=40), st.text(st.characters(codec=None), max_size=40))
scalars = st.one_of(st.none(), st.booleans(), numbers, texts)
values = st.recursive(
    scalars, lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)), max_leaves=8
)
odd = st.one_of(
    values,
    st.binary(max_size=20),
    st.sampled_from([object(), int, len, 1j, (1,), {1}, range(3), bytearray(b"x"), Ellipsis, NotImplemented, Exception("x")]),
)
"""Anything that a Python program may give."""


@contextlib.contextmanager
def only_zoo_errors() -> Iterator[None]:
    """Whatever else is raised inside ends the test; so does a message that is not one safe, bounded line."""
    said = "an answer"
    try:
        yield
    except ZooError as error:
        said = str(error)
    assert said.strip()
    assert said.isprintable(), said
    assert len(said) <= errors.LONGEST_MESSAGE, len(said)
    assert not said.startswith("unexpected"), said


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with bytes changed, cut out, doubled, or with something put in."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        length = draw(st.integers(0, 40))
        put = draw(
            st.one_of(st.binary(max_size=8), st.sampled_from([b"", b"\0", b"\xff", b"null", b"[]", b"{", b'"', b"\n", b"-1"]))
        )
        content = content[:at] + put + content[at + length :]
    return content


@st.composite
def altered(draw: st.DrawFn, tree: Any) -> Any:
    """A JSON value in which one part is another value, or is not there."""
    tree = json.loads(json.dumps(tree))
    places = list(_places(tree))
    if not places or draw(st.integers(0, 9)) == 0:
        return draw(values)
    parent, key = draw(st.sampled_from(places))
    if draw(st.integers(0, 4)) == 0:
        del parent[key]
    else:
        parent[key] = draw(values)
    return tree


def _places(tree: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(tree) if isinstance(tree, dict) else range(min(len(tree), 5)) if isinstance(tree, list) else ()
    for key in keys:
        yield tree, key
        yield from _places(tree[key])


def as_json(value: Any) -> bytes:
    """Bytes of JSON as a careless writer writes it: NaN, numbers of thousands of digits, lone surrogates."""
    try:
        return json.dumps(value).encode()
    except ValueError:  # too many digits
        return b'{"seconds": ' + b"9" * 5000 + b"}"
