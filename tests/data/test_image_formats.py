"""What Pillow takes for something else is read as its format says, or refused by name."""

import io
import struct
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin
from PIL.PngImagePlugin import PngInfo

from zoo.data.decoding.formats import suffixes
from zoo.data.decoding.image_files import check_file, open_image
from zoo.errors import DataError

RAMP = np.arange(0, 65536, 1024, dtype=np.uint16).reshape(8, 8)
GREY = np.round(RAMP / 257).astype(np.uint8)


def read(content: bytes) -> np.ndarray:
    return np.asarray(open_image(content, "a"))


def saved(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def tiff(values: np.ndarray, **more: int) -> bytes:
    """A little-endian TIFF of one strip, or of one a plane where `planes=2`: `[H, W]`, or `[bands, H, W]` of planes."""
    planes = values.reshape((-1, *values.shape[-2:]))
    separate = len(planes) > 1
    strips = [plane.astype(plane.dtype.newbyteorder("<")).tobytes() for plane in planes]
    offsets = list(np.cumsum([8, *map(len, strips)]))
    tags = {
        256: values.shape[-1],
        257: values.shape[-2],
        259: 1,
        262: 2 if separate else 1,
        277: len(planes),
        278: values.shape[-2],
    }
    tags |= {258: [8 * values.dtype.itemsize] * len(planes), 273: offsets[:-1], 279: [len(strip) for strip in strips]}
    tags |= {284: 2} if separate else {}
    tags |= {262: 1, 338: 2} if len(planes) == 2 else {}  # grey and transparency
    tags |= {TAGS[name]: value for name, value in more.items()}
    place = int(offsets[-1]) + 2 + 12 * len(tags) + 4
    entries, behind = b"", b""
    for tag, value in sorted(tags.items()):
        listed = value if isinstance(value, list) else [value]
        packed = struct.pack(f"<{len(listed)}I", *listed)
        entries += struct.pack("<HHI", tag, 4, len(listed)) + (
            packed if len(listed) == 1 else struct.pack("<I", place + len(behind))
        )
        behind += packed if len(listed) > 1 else b""
    return (
        b"II*\0"
        + struct.pack("<I", int(offsets[-1]))
        + b"".join(strips)
        + struct.pack("<H", len(tags))
        + entries
        + b"\0\0\0\0"
        + behind
    )


TAGS = {
    "photometric": 262,
    "sample_format": 339,
    "compression": 259,
    "subfile": 254,
    "sub_ifds": 330,
    "bands": 277,
    "copyright": 33432,
}


def fits(values: np.ndarray, **cards: object) -> bytes:
    """A FITS file of big-endian values, the lowest row first."""
    bits = -8 * values.dtype.itemsize if values.dtype.kind == "f" else 8 * values.dtype.itemsize
    axes = {f"NAXIS{number}": size for number, size in enumerate(reversed(values.shape), 1)}
    every = {"SIMPLE": "T", "BITPIX": bits, "NAXIS": values.ndim, **axes, **cards}
    header = "".join(f"{name:<8}= {value!s:>20}".ljust(80) for name, value in every.items()) + "END".ljust(80)
    data = values.astype(values.dtype.newbyteorder(">")).tobytes()
    return header.encode().ljust(-(-len(header) // 2880) * 2880) + data.ljust(-(-len(data) // 2880) * 2880, b"\0")


def psd(channels: np.ndarray, mode: int, bits: int = 8, packed: bool = False, resources: bytes = b"") -> bytes:
    """A Photoshop file without layers: `[channels, H, W] uint8`."""
    count, height, width = channels.shape
    rows = [row.tobytes() for channel in channels for row in (np.packbits(channel, axis=1) if bits == 1 else channel)]
    if packed:  # each row as one run of literal bytes
        rows = [bytes([len(row) - 1]) + row for row in rows]
    lengths = b"".join(struct.pack(">H", len(row)) for row in rows) if packed else b""
    header = b"8BPS" + struct.pack(">H6xHIIHH", 1, count, height, width, bits, mode)
    return header + struct.pack(">II", 0, len(resources)) + resources + struct.pack(">IH", 0, packed) + lengths + b"".join(rows)


def test_tiff_whose_white_is_zero():
    assert np.array_equal(read(tiff(RAMP))[..., 0], GREY)
    assert np.array_equal(read(tiff(65535 - RAMP, photometric=0))[..., 0], GREY)
    packed = saved(Image.fromarray(65535 - RAMP), "TIFF", compression="tiff_lzw", tiffinfo={262: 0})
    assert TiffImagePlugin.TiffImageFile(io.BytesIO(packed)).tag_v2[262] == 0
    assert np.array_equal(read(packed)[..., 0], GREY)


def test_tiff_in_planes_of_16_bits():
    planes = np.stack([RAMP, RAMP.T, RAMP[::-1]])
    assert np.array_equal(read(tiff(planes)), np.moveaxis(planes >> 8, 0, -1))


def test_nothing_is_printed_without_a_name(capfd, recwarn):
    """libtiff writes to stderr by itself, Pillow warns of tags."""
    with pytest.raises(DataError, match="a: damaged, or compressed in a way that cannot be read"):
        read(tiff(GREY, compression=50001))
    with pytest.raises(DataError, match="Invalid value for samples per pixel"):
        read(tiff(GREY, bands=65535))
    assert read(tiff(GREY, copyright=1 << 30)).shape == (8, 8, 3)
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list


def test_transparency_in_a_plane_of_its_own_is_not_taken_for_none():
    with pytest.raises(DataError, match="transparency in a plane of its own; save it with interleaved channels"):
        read(tiff(np.stack([GREY, GREY])))


def test_tiff_of_signed_bytes():
    values = np.arange(100, dtype=np.int8).reshape(10, 10)
    assert np.array_equal(read(tiff(values, sample_format=2))[..., 0], values)
    with pytest.raises(DataError, match=r"a: values from -5 to 94, of which the range is not known"):
        read(tiff(values - np.int8(5), sample_format=2))


def test_tiff_multiplied_by_its_transparency():
    stored = Image.fromarray(np.dstack([GREY // 2, np.full_like(GREY, 128)]), "LA")
    file = saved(stored, "TIFF").replace(struct.pack("<HHIHH", 338, 3, 1, 2, 0), struct.pack("<HHIHH", 338, 3, 1, 1, 0))
    assert Image.open(io.BytesIO(file)).mode == "La"
    assert np.abs(read(file)[..., 0].astype(int) - (GREY // 2 + 127)).max() <= 2


def test_the_preview_of_a_camera_raw_file_is_not_the_image():
    with pytest.raises(DataError, match="camera raw file, whose first image is a small preview; develop it"):
        read(tiff(RAMP, subfile=1, sub_ifds=8))
    assert read(tiff(RAMP, subfile=1)).shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            tiff(np.zeros((4, 4), np.float64), sample_format=3),
            "a TIFF of 1 band of 64-bit floating-point numbers, BlackIsZero; save it",
        ),
        (tiff(RAMP, compression=50002), "a TIFF compressed by JPEG XL; save it"),
        (tiff(RAMP, compression=4711), "a TIFF compressed by method 4711; save it"),
    ],
)
def test_tiff_that_pillow_does_not_read(content, said):
    with pytest.raises(DataError, match=said):
        read(content)


@pytest.mark.parametrize("bits", [2, 4])
def test_transparent_grey_of_few_bits(bits):
    """Pillow spreads the values to 8 bits, and leaves the transparent one as it was."""
    most = (1 << bits) - 1
    content = png(bits, np.array([[0, 1, most, 1]], np.uint8), struct.pack(">H", 1))
    assert read(content)[0, :, 0].tolist() == [0, 255, 255, 255]
    content = png(bits, np.array([[0, 1, most, 1]], np.uint8), struct.pack(">H", 0))
    assert read(content)[0, :, 0].tolist() == [255, 255 // most, 255, 255 // most]


def test_transparent_grey_and_colour_of_16_bits():
    values = np.array([[0, 300, 40000, 300]], np.uint16)
    assert read(png(16, values, struct.pack(">H", 300)))[0, :, 0].tolist() == [0, 255, 156, 255]
    colours = np.array([[[65535, 0, 0], [0, 25700, 0]]], np.uint16)
    assert read(png(16, colours, struct.pack(">3H", 0, 25700, 0)))[0].tolist() == [[255, 0, 0], [255, 255, 255]]


def png(bits: int, values: np.ndarray, transparent: bytes) -> bytes:
    """A PNG of one row, grey `[1, W]` or in colour `[1, W, 3]`."""
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    if bits < 8:
        spread = (values[..., None] >> np.arange(bits - 1, -1, -1, dtype=np.uint8)) & 1
        row = np.packbits(spread.reshape(-1)).tobytes()
    else:
        row = values.astype(">u2").tobytes()
    header = struct.pack(">IIBBBBB", values.shape[1], 1, bits, 2 if values.ndim == 3 else 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"tRNS", transparent), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in parts)


def test_bitmaps_whose_ones_are_black():
    ones = np.array([[1, 0, 0, 0, 0, 0, 0, 1]] * 2, np.uint8)
    assert np.array_equal(read(psd(ones[None], mode=0, bits=1))[..., 0], 255 - 255 * ones)
    xbm = b"#define a_width 8\n#define a_height 2\nstatic char a_bits[] = {\n0x81, 0x81};\n"
    assert np.array_equal(read(xbm)[..., 0], 255 - 255 * ones)


@pytest.mark.parametrize("packed", [False, True])
def test_photoshop_with_further_channels(packed, tmp_path):
    channels = np.random.default_rng(0).integers(0, 256, (5, 6, 8), dtype=np.uint8)
    assert np.array_equal(read(psd(channels, mode=3, packed=packed)), np.moveaxis(channels[:3], 0, -1))
    (tmp_path / "a.psd").write_bytes(psd(channels, mode=3, packed=packed))
    assert check_file(tmp_path / "a.psd").bands
    (tmp_path / "a.psd").write_bytes(psd(channels[:3], mode=3, packed=packed))
    assert not check_file(tmp_path / "a.psd").bands


def test_photoshop_of_16_bits():
    with pytest.raises(
        DataError, match="a Photoshop file of a colour mode or depth that cannot be read; save it in RGB with 8 bits"
    ):
        read(psd(np.zeros((3, 4, 8), np.uint8), mode=3, bits=16))


def test_photoshop_without_a_merged_image():
    def version(merged: int) -> bytes:
        return b"8BIM" + struct.pack(">HH", 1057, 0) + struct.pack(">IIB", 5, 1, merged) + b"\0"

    flat = np.full((3, 4, 4), 9, np.uint8)
    assert (read(psd(flat, mode=3, resources=version(1))) == 9).all()
    with pytest.raises(DataError, match="without its merged image"):
        read(psd(flat, mode=3, resources=version(0)))


def test_fits_as_its_header_says(tmp_path):
    """Values are signed, and BZERO is added to them; the first row is the lowest."""
    unsigned = (RAMP.astype(np.int32) - 32768).astype(np.int16)
    assert np.array_equal(read(fits(unsigned, BZERO=32768))[::-1, :, 0], GREY)
    assert np.array_equal(read(fits((RAMP // 2).astype(np.int16)))[::-1, :, 0], np.round(RAMP // 2 / 257).astype(np.uint8))
    for content, said in [
        (fits(unsigned), "values from -32,768 to 31,744"),
        (fits(unsigned, BZERO=32768, BSCALE=0.5), "scaled"),
        (fits(RAMP.astype(np.float32)), "floating-point"),
    ]:
        with pytest.raises(DataError, match=said):
            read(content)
    (tmp_path / "a.fits").write_bytes(fits(np.stack([unsigned] * 3), BZERO=32768))
    assert check_file(tmp_path / "a.fits").animated


@pytest.mark.parametrize("form", ["WEBP", "AVIF"])
@pytest.mark.parametrize("lossless", [False, True])
def test_a_file_that_ends_in_zeros_was_not_written_whole(form, lossless):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
    whole = saved(noise, form, **({"lossless": lossless} if form == "WEBP" else {"quality": 100 if lossless else 75}))
    assert read(whole).shape == (128, 128, 3)
    assert read(whole + bytes(4096)).shape == (128, 128, 3)  # behind the file's own end
    half = whole[: len(whole) // 2]
    with pytest.raises(DataError, match="its end is zeros alone"):
        read(half + bytes(len(whole) - len(half)))


@pytest.mark.parametrize(
    ("beginning", "said"),
    [
        (b"\0\0\0\x1cftypheic\0\0\0\0mif1heic", r"HEIF"),
        (b"\xff\x0a\xfa\x7f", "a JPEG XL image; save it as"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image; save it as"),
        (b"II*\0\x10\0\0\0CR\x02\0", "a camera raw file; develop it"),
        (b"FUJIFILMCCD-RAW 0201", "a camera raw file; develop it"),
        (bytes(128) + b"DICM", "a DICOM file; save its image"),
        (b"<!DOCTYPE html><html>", "not an image but a web page"),
        (b"<?xml version='1.0'?><svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing; save it as PNG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (bytes(200), "begins with zeros alone"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), "begins as a PNG file and cannot be read"),
    ],
)
def test_what_is_not_read_is_named(beginning, said):
    with pytest.raises(DataError, match=said):
        read(beginning + bytes(100) if beginning[:1] == b"\0" else beginning)


def test_heif_is_read_by_its_plug_in():
    import pillow_heif

    pillow_heif.register_heif_opener()
    ramp = np.dstack([np.add.outer(np.arange(64), np.arange(64)) * 2] * 3).astype(np.uint8)
    content = saved(Image.fromarray(ramp), "HEIF", quality=90)
    assert np.abs(read(content).astype(int) - ramp).mean() < 4
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    content = saved(noise, "HEIF", quality=90)
    with pytest.raises(DataError, match="its end is zeros alone"):
        read(content[: len(content) // 2] + bytes(len(content) // 2))


def test_heif_without_its_plug_in_says_what_to_install(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heic" + bytes(100))
    program = "import sys; sys.modules['pillow_heif'] = None; from zoo.data import open_image; open_image(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.heic")], capture_output=True, text=True)
    assert "a.heic: an HEIF image (HEIC); it is read by a plug-in: pip install 'zoo-finetune[heif]'" in done.stderr


def test_files_of_unread_formats_are_among_the_samples():
    """... so that they are named, and not passed over."""
    assert {".heic", ".heif", ".jxl", ".cr2", ".nef", ".dng", ".exr", ".dcm"} <= suffixes()


def test_text_beside_the_image():
    words = PngInfo()
    words.add_text("a", "b" * 3_000_000, zip=True)
    with pytest.raises(DataError, match="more than 1 MB of text"):
        read(saved(Image.new("L", (4, 4)), "PNG", pnginfo=words))


def test_lab_is_converted():
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    colours = Image.fromarray(np.random.default_rng(0).integers(40, 216, (8, 8, 3), dtype=np.uint8))
    converted = ImageCms.profileToProfile(colours, srgb, lab, outputMode="LAB")
    assert np.abs(read(saved(converted, "TIFF")).astype(int) - np.asarray(colours)).mean() < 3


def test_xpm_of_other_colours():
    def xpm(colour: str) -> bytes:
        return f'/* XPM */\nstatic char * a[] = {{\n"1 1 1 1",\n"@ c #{colour}",\n"@"}};\n'.encode()

    assert read(xpm("aabbcc"))[0, 0].tolist() == [0xAA, 0xBB, 0xCC]
    with pytest.raises(DataError, match="other than 6 hexadecimal digits"):
        read(xpm("abc"))


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_xmp_turns_nothing(form):
    """Programs that turn pixels may leave an orientation in XMP, which browsers do not look at."""
    colours = Image.fromarray(np.dstack([GREY, GREY.T, GREY]))
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    options = {"PNG": {"pnginfo": PngInfo()}, "WEBP": {"xmp": xmp, "lossless": True}, "TIFF": {"tiffinfo": {700: xmp}}}[form]
    if form == "PNG":
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode())
    content = saved(colours, form, **options)
    assert np.array_equal(read(content), np.asarray(colours))
    with Image.open(io.BytesIO(content)) as image:
        if form != "TIFF":  # which Pillow turns by itself as it loads it
            assert np.array_equal(np.asarray(open_image(image)), np.asarray(colours))
        image.load()
        assert {"xmp", "XML:com.adobe.xmp"} & set(image.info)
