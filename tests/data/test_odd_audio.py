"""Audio clips that libsndfile alone would read short, or not at all: every sample of them, or one line that says why not."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
import torch
from sounding import RATE, TINY_SOUND, chirp, noise, tone, write

from zoo import backbones
from zoo.data.decoding.audio_files import check_audio, open_audio
from zoo.data.decoding.audio_frames import clips
from zoo.data.decoding.formats import opened_file
from zoo.data.sources.class_folders.listing import list_folder
from zoo.data.sources.class_folders.reading import read_listing
from zoo.errors import DataError

ID3 = b"ID3\x04\0\0" + bytes([0, 0, 7, 104]) + b"\xff\xfb\x90\0" * 250
"""A tag of ID3, 1000 bytes of which look like the beginnings of frames."""
TRAILER = b"TAG" + bytes(125)
DELAY = 529
"""Samples by which a decoder of MP3 is late, which it leaves out where a header of the length comes first (mpg123, GAPLESS_DELAY)."""


def content(*channels, rate=RATE, **options):
    """The bytes of a file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.stack(channels, axis=1), rate, **options)
    return buffer.getvalue()


def mp3(*channels, rate=RATE, **options):
    return content(*channels, rate=rate, format="MP3", **{"compression_level": 0.5, "bitrate_mode": "VARIABLE"} | options)


def headless(data):
    """An MP3 without its first frame, which holds no sound but says how long it is."""
    version, bits = data[1] >> 3 & 3, data[2] >> 4
    kilobits = {3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)}.get(
        version, (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    )[bits]
    rate = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}[version][data[2] >> 2 & 3]
    return data[(144_000 if version == 3 else 72_000) * kilobits // rate + (data[2] >> 1 & 1) :]


def loud_then_soft(rate, seconds=3.0):
    """What makes the first frames of an MP3 much larger than the others."""
    sound = noise(seconds, rate)
    sound[: int(rate * seconds / 6)] *= 3
    sound[int(rate * seconds / 6) :] *= 0.005
    return sound


def seen(data, tmp_path):
    """A file's samples, which are as many when it is checked."""
    path = tmp_path / "a.sound"
    path.write_bytes(data)
    sound, checked = open_audio(path), check_audio(path)
    assert (sound.samples.shape, sound.rate) == ((1, checked.length), checked.rate)
    return sound.samples[0]


def refused(data, reason, tmp_path):
    path = tmp_path / "a.sound"
    path.write_bytes(data)
    for read in (open_audio, check_audio):
        with pytest.raises(DataError, match=reason) as caught:
            read(path)
        assert str(caught.value).startswith(f"{path}: ")


def broken(data, tmp_path):
    """Whether a file is said to end inside a frame."""
    path = tmp_path / "a.sound"
    path.write_bytes(data)
    return check_audio(path).broken


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 24_000, 32_000, 44_100])
@pytest.mark.parametrize("channels", [1, 2])
def test_an_mp3_is_read_to_its_end_with_and_without_its_length(tmp_path, rate, channels):
    sound = loud_then_soft(rate)
    data = mp3(*[sound] * channels, rate=rate)
    whole = seen(data, tmp_path)
    assert len(whole) == len(sound)
    bare = seen(headless(data), tmp_path)
    assert 0 <= len(bare) - len(sound) < rate / 5
    # The encoder's delay comes before the sound: 576 samples, of LAME, and the decoder's, which both leave out.
    late = int(np.argmax(np.correlate(bare[: rate // 2], whole[: rate // 4]))) if rate > 8_000 else 576
    assert 500 < late < 1300
    np.testing.assert_allclose(bare[late:][: len(whole) - 3000], whole[: len(bare) - late][: len(whole) - 3000], atol=1e-3)


def test_mp3s_joined_give_all_of_them(tmp_path):
    first, second = tone(440, 1.5), chirp(300, 3000, 1.0)
    a, b = mp3(first), mp3(second)
    parts = [seen(a, tmp_path), seen(b, tmp_path)]
    for joined in (a + b, ID3 + a + TRAILER + ID3 + b + TRAILER, a + bytes(5000) + b):
        np.testing.assert_array_equal(seen(joined, tmp_path), np.concatenate(parts))
    for joined in (headless(a) + headless(b), a + headless(b)):
        assert 0 <= len(seen(joined, tmp_path)) - 40_000 < 4000
    assert len(seen(headless(a) + b, tmp_path)) == len(seen(headless(a), tmp_path)) + 16_000


def test_an_mp3_of_several_channels_joined_with_one_of_one(tmp_path):
    joined = mp3(tone(440)) + mp3(tone(440), tone(440))
    assert len(seen(joined, tmp_path)) == 2 * RATE
    assert check_audio(tmp_path / "a.sound").channels == 2


def test_joined_mp3s_of_two_rates_are_refused(tmp_path):
    refused(mp3(tone(440)) + mp3(tone(440), rate=24_000), "joined of audio clips at 16,000 and 24,000 samples a second", tmp_path)


def test_an_mp3_with_the_header_of_another_encoder(tmp_path):
    """VBRI, of which libsndfile knows nothing: it counts the frames all the same."""
    data = mp3(loud_then_soft(44_100), rate=44_100)
    bare = headless(data)
    frames = (len(seen(bare, tmp_path)) + DELAY) // 1152
    vbri = struct.pack(">4sHHHII", b"VBRI", 1, 0, 75, len(bare), frames)
    size = 144_000 * 128 // 44_100
    frame = (bytes([0xFF, 0xFB, 0x90, data[3]]) + bytes(32) + vbri).ljust(size, b"\0")
    np.testing.assert_array_equal(seen(frame + bare, tmp_path), seen(bare, tmp_path))
    refused(frame + bare[: len(bare) // 3], rf"cut off: \d+ of {frames} frames are there", tmp_path)


def test_a_cut_mp3_is_refused_by_its_header(tmp_path):
    data = mp3(noise(3.0))
    for share in (0.2, 0.5, 0.9):
        refused(data[: int(share * len(data))], r"cut off: \d+ of \d+ frames are there", tmp_path)


def test_a_cut_mp3_that_says_no_length_is_noticed(tmp_path):
    data = headless(mp3(noise(3.0)))
    for whole in (data, data + TRAILER, ID3 + data, mp3(noise(1.0)), mp3(noise(1.0)) + bytes(100), data + b"\xff" * 50):
        assert not broken(whole, tmp_path)
    for share in (0.2, 0.5, 0.9, 0.999):
        assert broken(data[: int(share * len(data)) + 1], tmp_path) != (share == 0)
    root = tmp_path / "sounds"
    for number in range(4):
        (root / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
        (root / "ab"[number % 2] / f"{number}.mp3").write_bytes(data[: -100 if number == 2 else len(data)])
    (notice,) = [one for one in read_listing(list_folder(root), 0.0).notices if "middle of a frame" in one]
    assert [one.name for one in notice.entries] == ["a/2.mp3"]


def test_an_mp3_in_a_wav(tmp_path):
    bare = headless(mp3(loud_then_soft(44_100), rate=44_100))
    form = struct.pack("<HHIIHHHHIHHH", 0x55, 1, 44_100, 16_000, 1, 0, 12, 1, 2, 417, 1, 1393)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(bare)) + bare
    np.testing.assert_array_equal(seen(b"RIFF" + struct.pack("<I", len(body)) + body, tmp_path), seen(bare, tmp_path))


def test_no_other_file_is_taken_for_an_mp3():
    for data in (
        content(noise(), format="FLAC"),
        content(noise(), format="WAV"),
        content(noise(), format="OGG"),
        b"",
        b"\xff" * 999,
    ):
        assert clips(data) == ([], False)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
class TestOgg:
    def test_streams_that_follow_one_another(self, tmp_path, subtype):
        parts = [content(tone(440, seconds), format="OGG", subtype=subtype) for seconds in (1.5, 0.5)]
        expected = np.concatenate([seen(part, tmp_path) for part in parts])
        assert len(expected) == 2 * RATE
        np.testing.assert_array_equal(seen(b"".join(parts), tmp_path), expected)

    def test_a_part_is_not_the_whole(self, tmp_path, subtype):
        data = content(noise(4.0), format="OGG", subtype=subtype)
        for share in (0.3, 0.5, 0.9):
            refused(data[: int(share * len(data))], "cut off in the midst of a page", tmp_path)
        pages = [place for place in range(len(data)) if data.startswith(b"OggS", place)]
        assert len(pages) > 4
        refused(data[: pages[-1]], "cut off: the last page of its stream is missing", tmp_path)
        refused(data[: pages[3]] + data[pages[4] :], "damaged: page 3 of its stream is missing", tmp_path)
        refused(data[: pages[-1]] + data, "cut off: the last page of its stream is missing", tmp_path)

    def test_a_damaged_page_is_not_passed_over(self, tmp_path, subtype):
        data = bytearray(content(noise(3.0), format="OGG", subtype=subtype))
        data[len(data) // 2] ^= 0xFF
        refused(bytes(data), r"damaged: page \d+ of its stream does not have its checksum", tmp_path)

    def test_what_comes_after_the_last_page_is_no_sound(self, tmp_path, subtype):
        data = content(noise(), format="OGG", subtype=subtype)
        np.testing.assert_array_equal(seen(data + TRAILER, tmp_path), seen(data, tmp_path))


def test_a_flac_whose_header_leaves_its_length_open(tmp_path):
    data = content(noise(), format="FLAC")
    opened = bytearray(data)
    opened[21] &= 0xF0
    opened[22:26] = bytes(4)
    np.testing.assert_array_equal(seen(bytes(opened), tmp_path), seen(data, tmp_path))
    refused(bytes(opened[: len(opened) // 2]), "damaged or cut off", tmp_path)
    np.testing.assert_array_equal(seen(data + TRAILER, tmp_path), seen(data, tmp_path))
    refused(data + data, "several FLAC files in one", tmp_path)


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        ("WAV", "GSM610"), ("WAV", "G721_32"), ("WAV", "IMA_ADPCM"), ("WAV", "MS_ADPCM"), ("WAV", "NMS_ADPCM_32"), ("W64", "GSM610"),
        ("AIFF", "GSM610"), ("AIFF", "DWVW_16"), ("AU", "G721_32"), ("AU", "G723_40"), ("CAF", "ALAC_16"), ("RF64", "PCM_24"),
    ],
)  # fmt: skip
def test_codecs_that_cannot_seek(tmp_path, form, subtype):
    sound = tone(440, 1.0, 8000)
    data = content(sound, rate=8000, format=form, subtype=subtype)
    read = seen(data, tmp_path)
    assert 0 <= len(read) - len(sound) < 600  # the last block is filled up
    np.testing.assert_allclose(read[500:7500], sound[500:7500], atol=0.06)
    refused(data[: len(data) // 2], "cut off", tmp_path)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3"])
def test_channels_that_cancel_each_other(tmp_path, name):
    sound = chirp(200, 2000)
    path = write(tmp_path / name, sound, -0.99 * sound)
    assert check_audio(path).cancels
    np.testing.assert_allclose(open_audio(path).samples[0][500:-500], sound[500:-500], atol=0.1 if name == "a.mp3" else 1e-4)
    assert not check_audio(write(tmp_path / name, sound, -0.8 * sound)).cancels
    assert not check_audio(write(tmp_path / name, sound, np.zeros_like(sound))).cancels
    assert not check_audio(write(tmp_path / name, np.zeros_like(sound), np.zeros_like(sound))).cancels


def test_channels_in_memory_that_cancel_each_other():
    preprocess = backbones.load(TINY_SOUND["wavlm"], "random").preprocess
    sound = tone(440)
    torch.testing.assert_close(preprocess.prepare((np.stack([0.98 * sound, -sound]), RATE)), preprocess.prepare((-sound, RATE)))
    many = np.stack([noise(seed=seed) for seed in range(64)])
    np.testing.assert_array_equal(preprocess.mono((many, RATE)).samples, many.mean(0, keepdims=True))


def test_the_recordings_whose_channels_cancel_are_named(tmp_path):
    for kind in ("a", "b"):
        for number in range(2):
            write(tmp_path / "sounds" / kind / f"{number}.wav", tone(440), tone(440))
    write(tmp_path / "sounds/b/1.wav", tone(440), -tone(440))
    notices = read_listing(list_folder(tmp_path / "sounds"), 0.0).notices
    assert "1 audio clips whose channels cancel each other, so that the loudest is used: b/1.wav" in notices
    assert "3 audio clips of several channels, which are averaged: a/0.wav; a/1.wav; b/0.wav" in notices


def test_what_is_too_long_is_counted_in_one_channel(tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.data.decoding.audio_files.MAX_SAMPLES", 16_000)
    stereo = content(noise(), noise(seed=1), format="WAV")
    assert len(seen(stereo, tmp_path)) == 16_000
    refused(content(noise(1.01), format="WAV"), "longer than 0.0 hours; cut it into shorter audio clips", tmp_path)
    refused(mp3(noise(0.6)) + mp3(noise(0.6)), "longer than 0.0 hours", tmp_path)


def test_a_long_recording_is_checked_in_little_memory(tmp_path):
    """A minute of eight channels: 21 MB in the file, 42 as float32; one channel of it is 5."""
    rate = 22_050
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", rate, 8, "PCM_16") as file:
        for second in range(60):
            file.write(np.repeat(noise(1.0, rate, second)[:, None], 8, axis=1))
    tracemalloc.start()
    try:
        assert check_audio(path).length == 60 * rate
        checked = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        assert open_audio(path).samples.nbytes == 4 * 60 * rate
        opened = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert checked < 8e6
    assert opened < 8e6 + 1.2 * 4 * 60 * rate


def test_a_file_that_is_written_to_while_it_is_read_has_no_digest(tmp_path):
    path = write(tmp_path / "a.wav", tone(440))
    with pytest.raises(ValueError, match="replaced since it was checked"), opened_file(path):
        path.write_bytes(path.read_bytes() + b"\0")
