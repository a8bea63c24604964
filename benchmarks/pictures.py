"""The pictures that every command reads: one small data set as PNG files in DIR/{train,val,test}/CLASS/, always the same ones.

Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arxiv.org/abs/1708.07747, MIT licence) is read as Debian's package
`dataset-fashion-mnist` installs it, the digits (Alpaydin and Kaynak 1998, CC BY 4.0) as scikit-learn ships them. Nothing is
downloaded.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from zoo.errors import DataError

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
SIZES = {"fashion-mnist": (2_000, 500, 500), "digits": (1_197, 300, 300)}
"""Pictures to train on, to choose on and to measure on, by data set."""
CLOTHES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot")

Images = NDArray[np.uint8]
Targets = NDArray[np.int64]


def write(name: str, folder: Path, sizes: tuple[int, int, int], seed: int = 0) -> None:
    """Write train, val and test pictures as PNG files of their own size under `folder`, each class in its share.

    Fewer pictures to train on are a subset of more; those to choose and to measure on do not depend on how many there are.
    Raises: DataError if the data set is not installed, or has not as many pictures.
    """
    train, val, test = sizes
    if name == "digits":
        names, (images, targets) = tuple(map(str, range(10))), _digits()
        order = stratified(targets, seed)
        rows = {"val": order[:val], "test": order[val : val + test], "train": order[val + test :][:train]}
        parts = {part: (images[chosen], targets[chosen], chosen) for part, chosen in rows.items()}
    else:
        names, (images, targets) = CLOTHES, _fashion("train")
        order = stratified(targets, seed)
        test_images, test_targets = _fashion("t10k")
        measured = stratified(test_targets, seed)[:test]
        parts = {
            part: (images[rows], targets[rows], rows) for part, rows in (("val", order[:val]), ("train", order[val:][:train]))
        }
        parts["test"] = (test_images[measured], test_targets[measured], measured)
    for part, asked in zip(("train", "val", "test"), sizes, strict=True):
        if len(parts[part][0]) < asked:
            raise DataError(f"{name}: {len(parts[part][0]):,} pictures are left for {part}, not {asked:,}; ask for fewer")
        for image, target, row in zip(*parts[part], strict=True):
            path = folder / part / names[target] / f"{row:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)


def stratified(targets: Targets, seed: int) -> Targets:
    """Rows `[N]` in a random order of which each beginning, and each piece, has every class in its share (to one picture)."""
    shuffled = np.random.default_rng(seed).permutation(len(targets))
    place = np.empty(len(targets))
    for label in np.unique(targets):
        rows = shuffled[targets[shuffled] == label]
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.argsort(place, kind="stable")


def _fashion(part: str) -> tuple[Images, Targets]:
    """`[N, 28, 28]` pictures and `[N]` class numbers from the gzipped IDX files (format: yann.lecun.com/exdb/mnist)."""
    paths = [FASHION_MNIST / f"{part}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
    try:
        images, labels = (gzip.decompress(path.read_bytes()) for path in paths)
    except OSError as error:
        raise DataError(f"{FASHION_MNIST}: {error}; install Debian's dataset-fashion-mnist, or use --data digits") from error
    return (
        np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28),
        np.frombuffer(labels, np.uint8, offset=8).astype(np.int64),
    )


def _digits() -> tuple[Images, Targets]:
    from sklearn.datasets import load_digits  # costs a second, and only this data set needs it

    found = load_digits()
    return np.round(found.images * (255 / 16)).astype(np.uint8), found.target.astype(np.int64)
