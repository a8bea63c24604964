"""Small data sets that need no network."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from zoo.data.sets import ALL, DIGEST, ArraySet, Opened
from zoo.data.sources.source import Request, Source
from zoo.errors import UnknownName

PREFIX = "builtin:"
NAMES = ("digits",)


class Builtin(Source):
    """Written `builtin:NAME`."""

    spelling = " or ".join(PREFIX + name for name in NAMES)

    def claims(self, spec: str, is_folder: bool) -> bool:
        return spec.startswith(PREFIX) and len(spec.split()) == 1

    def exists(self, spec: str) -> bool:
        return True

    def open(self, request: Request) -> Opened:
        if request.spec.removeprefix(PREFIX) not in NAMES:
            known = [PREFIX + one for one in NAMES]
            raise UnknownName("data set", request.spec, known, f"(built in: {', '.join(known)}; a folder is named by its path)")
        return _digits()


SOURCE = Builtin()


def _digits() -> Opened:
    """1,797 handwritten digits of 8 x 8 pixels, as scikit-learn ships them.

    Values 0..16 are scaled to 0..255. From E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits (UCI, 1998, CC BY 4.0), its
    test part.
    """
    # The file that `sklearn.datasets.load_digits` reads, without the second that the import of that library takes.
    library = find_spec("sklearn")
    assert library is not None
    assert library.origin is not None
    found = np.loadtxt(Path(library.origin).parent / "datasets" / "data" / "digits.csv.gz", delimiter=",")
    images = np.round(found[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    digests = np.array([hashlib.sha256(image.tobytes()).hexdigest() for image in images], dtype=DIGEST)
    numbers = np.arange(len(images), dtype=np.int64)
    samples = ArraySet(title="digits", images=images, numbers=numbers, targets=found[:, -1].astype(np.int64), digests=digests)
    description = "builtin:digits (handwritten digits of 8 x 8 pixels, from scikit-learn)"
    return Opened(description, "CC-BY-4.0", tuple(str(digit) for digit in range(10)), {ALL: samples})
