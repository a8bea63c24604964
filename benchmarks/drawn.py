"""Images that are drawn from installed fonts: emoji by what they stand for, and capital letters.

Emoji are those of Debian's `fonts-noto-color-emoji` (SIL Open Font License 1.1) in the groups of its `unicode-data`; variants of skin
colour and sex are left out, since they differ little. Letters are those of every text font under /usr/share/fonts (each under the
licence of its package), so that they differ from one machine to another. Nothing of either is in this repository.
"""

from __future__ import annotations

import re
from pathlib import Path
from string import ascii_uppercase

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.pictures import Images, Targets
from zoo.errors import DataError

EMOJI = Path("/usr/share/unicode/emoji/emoji-test.txt")
FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
FONTS = Path("/usr/share/fonts")
NOT_DRAWN = ("Component", "Flags")
SKIN = {"1F3FB", "1F3FC", "1F3FD", "1F3FE", "1F3FF"}
_LINE = re.compile(r"([0-9A-F ]+?)\s*; fully-qualified\s*# \S+ E\S+ (.*)")


def emoji() -> tuple[Images, Targets]:
    """`[N, 96, 96, 3]` images on white and `[N]` groups, in the order of the file. Raises: DataError where the font is not installed."""
    try:
        font, lines = ImageFont.truetype(FONT, 109), EMOJI.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{error}; install Debian's fonts-noto-color-emoji and unicode-data") from error
    found: dict[bytes, tuple[Image.Image, str]] = {}
    group = ""
    for line in lines:
        group = line.partition(":")[2].strip() if line.startswith("# group:") else group
        match = _LINE.match(line)
        if match is None or group in NOT_DRAWN or SKIN & set(match[1].split()) or re.match(r"(man|woman|men|women)\b", match[2]):
            continue
        drawn = Image.new("RGB", (136, 128), "white")
        text = "".join(chr(int(code, 16)) for code in match[1].split())
        ImageDraw.Draw(drawn).text((0, 0), text, font=font, embedded_color=True)
        found.setdefault(drawn.tobytes(), (drawn.resize((96, 96)), group))
    images = np.stack([np.asarray(image) for image, _ in found.values()])
    return images, np.unique([name for _, name in found.values()], return_inverse=True)[1]


def letters() -> tuple[Images, Targets, NDArray[np.int64]]:
    """`[N, 64, 64]` capital letters, black on white, `[N]` which, and `[N]` the family of the font: up to two fonts of a family."""
    images, targets, families, known = [], [], [], dict[str, int]()
    for path in sorted(FONTS.rglob("*.[ot]tf")):
        family = path.stem.partition("-")[0]
        if family.startswith("Noto") or known.get(family, 0) == 2:
            continue
        drawn = [_letter(ImageFont.truetype(path, 44), letter) for letter in ascii_uppercase]
        if len({image.tobytes() for image in drawn}) < len(drawn) or min((image < 128).sum() for image in drawn) < 20:
            continue  # symbols, or a font without letters
        known[family] = known.get(family, 0) + 1
        images += drawn
        targets += range(len(drawn))
        families += [family] * len(drawn)
    return np.stack(images), np.array(targets), np.unique(families, return_inverse=True)[1]


def _letter(font: ImageFont.FreeTypeFont, letter: str) -> Images:
    drawn = Image.new("L", (64, 64), 255)
    ImageDraw.Draw(drawn).text((32, 32), letter, font=font, anchor="mm", fill=0)
    return np.asarray(drawn)
