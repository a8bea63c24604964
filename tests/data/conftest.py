"""Small folders of images, each image with bytes of its own."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MakeFolder = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """`make_folder({"train/cat": 3, "dog": 2})` fills a folder with so many PNG files each: 0.png, 1.png, ..."""
    rng = np.random.default_rng(0)

    def make(counts: dict[str, int], name: str = "photos") -> Path:
        root = tmp_path / name
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(root / folder / f"{number}.png")
        return root

    return make
