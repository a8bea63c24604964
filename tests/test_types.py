"""Labels: order, digest, Unicode."""

import hashlib
import json

import pytest

from zoo.errors import DataError
from zoo.types import Labels


def test_natural_order():
    assert Labels.sort(["10", "2", "0", "1"]).names == ("0", "1", "2", "10")
    assert Labels.sort(["class 10", "class 9"]).names == ("class 9", "class 10")


def test_composed_and_decomposed_accents_are_one_name():
    labels = Labels.sort(["caf\u00e9", "cafe\u0301", "tea"])
    assert labels.names == ("caf\u00e9", "tea")
    assert labels.index("cafe\u0301") == 0


def test_the_digest_is_of_the_order():
    one, other = Labels(("a", "b")), Labels(("b", "a"))
    assert one.sha256 == hashlib.sha256(json.dumps(["a", "b"]).encode()).hexdigest()
    assert one.sha256 != other.sha256


def test_repeated_and_unknown_names():
    with pytest.raises(DataError, match="repeat"):
        Labels(("a", "a"))
    with pytest.raises(KeyError):
        Labels(("a",)).index("b")
