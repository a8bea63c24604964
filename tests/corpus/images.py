"""Images: ours against OpenCV, tifffile (with imagecodecs), imageio and ImageMagick.

A file is equal where any of them agrees: they differ among themselves in what they make of transparency, colour profiles and broken files.
"""

from __future__ import annotations

import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.data.decoding.image_files import check_file, open_image
from zoo.data.decoding.pixel_values import depth_of
from zoo.errors import DataError

SOURCES = (
    ("pillow", "python"),
    ("imageio", "python"),
    ("tiff", "debian"),
    ("libpng1.6", "debian"),
    ("libgd2", "debian"),
    ("libavif", "debian"),
    ("netpbm-free", "debian"),
    ("openjpeg2", "debian"),
    ("gdk-pixbuf", "debian"),
    ("exiv2", "debian"),
    ("libheif", "debian"),
    ("libjpeg-turbo", "debian"),
)
FORMATS = {
    ".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".jfif": "JPEG", ".mpo": "JPEG", ".png": "PNG", ".apng": "PNG", ".gif": "GIF",
    ".bmp": "BMP", ".dib": "BMP", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WebP", ".avif": "AVIF", ".psd": "PSD", ".xbm": "XBM",
    ".fits": "FITS", ".fit": "FITS", ".pbm": "Netpbm", ".pgm": "Netpbm", ".ppm": "Netpbm", ".pnm": "Netpbm", ".jp2": "JPEG 2000",
    ".j2k": "JPEG 2000", ".jpx": "JPEG 2000", ".tga": "others", ".ico": "others", ".cur": "others", ".pcx": "others", ".sgi": "others",
    ".rgb": "others", ".bw": "others", ".dds": "others", ".qoi": "others", ".icns": "others", ".xpm": "others", ".ras": "others",
    ".heic": "HEIF", ".heif": "HEIF", ".hif": "HEIF", ".jxl": "JPEG XL", ".dng": "camera raw",
}  # fmt: skip
_TOLERANCE = 3.0
"""Mean difference of 255: decoders of lossy formats round in ways of their own."""

_CONVERT = shutil.which("magick") or "/usr/bin/convert"

RGB = NDArray[np.uint8]


def check(path: Path) -> tuple[str, str]:
    """Ours against each reader that can read the file."""
    try:
        known = check_file(path)
        depth = depth_of(known.bits) if known.bits and not known.upper else None
        ours = np.asarray(open_image(path, bit_depth=depth))
    except DataError as error:
        return "refused", str(error).removeprefix(f"{path}: ")
    differences = []
    for name, read in READERS.items():
        if name == "tifffile" and path.suffix.lower() not in (".tif", ".tiff"):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                theirs = read(path, depth)
        except Exception:  # a library's own, of any kind
            continue
        if theirs is None:
            continue
        if theirs.shape != ours.shape:
            differences.append(f"{name}: {theirs.shape[1]} x {theirs.shape[0]}, ours {ours.shape[1]} x {ours.shape[0]}")
            continue
        difference = float(np.abs(ours.astype(float) - theirs).mean())
        if difference <= _TOLERANCE:
            return "equal", name
        differences.append(f"{name}: mean difference {difference:.1f}")
    return ("wrong", "; ".join(differences)) if differences else ("no reader", "")


def to_rgb(values: NDArray, depth: int | None) -> RGB | None:
    """Values of any of the readers, `[H, W]` or `[H, W, 1 to 4]` in the order RGBA, as ours: 8 bits, over white."""
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    if values.dtype.kind not in "ui" or values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] > 4):
        return None
    largest = 255 if values.dtype.itemsize == 1 else (1 << (depth or 16)) - 1
    scaled = values.astype(float) * 255 / largest
    if scaled.ndim == 2:
        scaled = scaled[..., None]
    colours, alpha = (scaled[..., :-1], scaled[..., -1:] / 255) if scaled.shape[2] in (2, 4) else (scaled, 1.0)
    mixed = colours * alpha + 255 * (1 - alpha)
    return np.broadcast_to(np.round(mixed).clip(0, 255), (*mixed.shape[:2], 3)).astype(np.uint8)


def opencv(path: Path, depth: int | None) -> RGB | None:
    import cv2

    values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if values is None:
        return None
    if values.ndim == 3 and values.shape[2] >= 3:
        values = values[..., [2, 1, 0, 3][: values.shape[2]]]
    return to_rgb(values, depth)


def tifffile(path: Path, depth: int | None) -> RGB | None:
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        values = page.asarray()
        if page.planarconfig == 2 and values.ndim == 3:
            values = np.moveaxis(values, 0, -1)
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            values = (np.moveaxis(page.colormap, 0, -1)[values] >> 8).astype(np.uint8)
        elif page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and values.dtype != bool:
            values = np.array((1 << (depth or page.bitspersample)) - 1, values.dtype) - values
        elif page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            values = ~values
        if values.ndim == 3 and values.shape[2] > 3 and not {1, 2} & set(page.extrasamples):
            values = values[..., :3]
        if values.dtype == np.uint8 and 1 in page.extrasamples:  # multiplied by transparency
            white = 255 - values[..., -1:].astype(int)
            values = (values[..., :-1] + white).clip(0, 255).astype(np.uint8)
        return to_rgb(values, depth)


def imageio(path: Path, depth: int | None) -> RGB | None:
    """FFmpeg through PyAV: a third family of decoders."""
    import imageio.v3 as iio

    return to_rgb(iio.imread(path, plugin="pyav", index=0, format="rgba"), depth)


def imagemagick(path: Path, depth: int | None) -> RGB | None:
    asked = [_CONVERT, f"{path}[0]", "-auto-orient", "-background", "white", "-alpha", "remove", "-colorspace", "sRGB"]
    if depth is not None:
        asked += ["-evaluate", "multiply", str(65535 / ((1 << depth) - 1))]
    done = subprocess.run([*asked, "-depth", "8", "ppm:-"], capture_output=True, timeout=60, check=True)
    header, size, largest, pixels = done.stdout.split(b"\n", 3)
    width, height = map(int, size.split())
    return np.frombuffer(pixels, np.uint8).reshape(height, width, 3) if (header, largest) == (b"P6", b"255") else None


READERS: dict[str, Callable[[Path, int | None], RGB | None]] = {
    "OpenCV": opencv,
    "tifffile": tifffile,
    "ImageMagick": imagemagick,
    "FFmpeg": imageio,
}
