"""Audio clips: opened, refused in one line, listed, remembered, split, varied and served."""

import io
import os
import sys
import wave

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from sounding import RATE, TINY_SOUND, chirp, noise, tone, write

from zoo import backbones
from zoo.config import build
from zoo.data import EvalBatches, TrainBatches, open_splits, train_transform
from zoo.data.decoding.audio_files import CheckedAudio, check_audio, open_audio, suffixes
from zoo.data.decoding.image_files import suffixes as picture_suffixes
from zoo.data.sets import AudioFiles
from zoo.data.sources.class_folders.listing import find_files, list_folder
from zoo.data.sources.class_folders.reading import read_listing
from zoo.errors import ConfigError, DataError
from zoo.plugins import AUGMENTATIONS
from zoo.types import Kind


@pytest.fixture
def root(tmp_path):
    """Six tones and six audio clips of noise, of 0.2 to 0.45 s, at 16 kHz."""
    folder = tmp_path / "sounds"
    for number in range(6):
        write(folder / "tone" / f"{number}.wav", tone(300 + 100 * number, 0.2 + 0.05 * number))
        write(folder / "noise" / f"{number}.flac", noise(0.2 + 0.05 * number, seed=number))
    return folder


def refused(path, reason):
    """Assert that a file is refused, when opened and when checked, in one line that begins with its name."""
    for action in (open_audio, check_audio):
        with pytest.raises(DataError) as caught:
            action(path)
        assert str(caught.value) == f"{path}: {reason}"
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.wav", {"subtype": "PCM_16"}, 1e-4),
        ("a.wav", {"subtype": "PCM_U8"}, 0.01),
        ("a.wav", {"subtype": "PCM_24"}, 1e-6),
        ("a.wav", {"subtype": "PCM_32"}, 1e-7),
        ("a.wav", {"subtype": "FLOAT"}, 0),
        ("a.wav", {"subtype": "DOUBLE"}, 0),
        ("a.wav", {"subtype": "ULAW"}, 0.02),
        ("a.flac", {}, 1e-4),
        ("a.aiff", {}, 1e-4),
        ("a.ogg", {}, 0.1),
        ("a.mp3", {}, 0.1),
        ("a.opus", {"format": "OGG", "subtype": "OPUS"}, 0.1),
    ],
)
def test_any_format_and_width(tmp_path, name, options, tolerance):
    left, right = tone(440, 0.5), chirp(200, 800, 0.5)
    path = write(tmp_path / name, left, right, **options)
    assert path.suffix in suffixes()
    assert check_audio(path).channels == 2
    sound = open_audio(path)
    assert (sound.rate, sound.samples.dtype, sound.samples.shape[0]) == (RATE, np.float32, 1)
    assert sound.samples.shape[1] == pytest.approx(8000, abs=0 if tolerance < 0.1 else 2400)
    middle = slice(1000, 7000)
    np.testing.assert_allclose(sound.samples[0, middle], ((left + right) / 2)[middle], atol=tolerance)
    for source in (path.read_bytes(), io.BytesIO(path.read_bytes())):
        assert np.array_equal(open_audio(source).samples, sound.samples)


def test_what_is_known_of_a_file(tmp_path):
    path = write(tmp_path / "a.wav", tone(440, 0.5, 8000), tone(880, 0.5, 8000), rate=8000)
    found = check_audio(path)
    assert (found.length, found.rate, found.channels, found.silent, found.seconds) == (4000, 8000, 2, False, 0.5)
    path.write_bytes(path.read_bytes() + b"\0")
    assert check_audio(path).sha256 != found.sha256
    assert check_audio(write(tmp_path / "b.wav", np.full(100, 0.25, np.float32))).silent


def test_what_is_no_recording(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"")
    refused(path, "an empty file")
    path.write_bytes(b"a text, not an audio clip" * 100)
    refused(path, "not an audio clip in a format that can be read")
    Image.new("RGB", (9, 9)).save(path, format="PNG")
    refused(path, "not an audio clip in a format that can be read")
    refused(tmp_path / "nowhere.wav", "No such file or directory")
    refused(tmp_path, "not a file")


def test_no_samples(tmp_path):
    refused(write(tmp_path / "a.wav", np.zeros(0, np.float32)), "no samples")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers(tmp_path, value):
    samples = tone(440)
    samples[1234] = value
    refused(write(tmp_path / "a.wav", samples, subtype="FLOAT"), "samples that are NaN or infinite")


@pytest.mark.parametrize("rate", [1, 2_000_000])
def test_an_absurd_rate(tmp_path, rate):
    path = write(tmp_path / "a.wav", tone(1, 0.1), rate=rate)
    refused(path, f"{rate:,} samples a second; expected 1,000 to 768,000")


def cut(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    return path


def test_a_file_that_is_cut_off(tmp_path):
    wav = write(tmp_path / "a.wav", tone(440))
    refused(cut(wav, 20_000), "cut off: 19,956 of 32,000 bytes are there")
    refused(cut(write(tmp_path / "a.aiff", tone(440)), 20_000), "cut off: 19,954 of 32,008 bytes are there")
    refused(cut(write(tmp_path / "a.flac", noise()), 9_000), "damaged or cut off (flac decoder lost sync)")
    refused(cut(write(tmp_path / "a.ogg", noise()), 4_000), "cut off in the midst of a page")


def test_a_wav_that_was_written_into_a_pipe(tmp_path):
    """Its header says that it holds 4 GiB, as ffmpeg writes where it cannot go back."""
    path = write(tmp_path / "a.wav", tone(440))
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    np.testing.assert_allclose(open_audio(path).samples[0], tone(440), atol=1e-4)


def test_a_flipped_byte_in_a_flac(tmp_path):
    path = write(tmp_path / "a.flac", noise())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged or cut off|cut off"):
        open_audio(path)


def test_without_the_decoder_the_error_says_what_to_install(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ConfigError, match=r"pip install 'zoo-finetune\[audio\]'"):
        open_audio(root / "tone/0.wav")
    with pytest.raises(ConfigError, match=r"pip install 'zoo-finetune\[audio\]'"):
        read_listing(list_folder(root), 1.0)


def test_no_ending_is_of_a_picture_and_of_a_recording():
    assert not suffixes() & picture_suffixes()


def test_a_folder_of_recordings(root):
    listing = list_folder(root)
    assert listing.kind is Kind.AUDIO
    assert listing.parts["all"]["tone"] == [f"tone/{number}.wav" for number in range(6)]
    assert listing.only("all").kind is Kind.AUDIO


def test_pictures_and_recordings_in_one_folder(root):
    for number in range(3):
        Image.new("RGB", (9, 9)).save(root / "tone" / f"{number}.png")
    with pytest.raises(DataError) as caught:
        list_folder(root)
    assert "3 images (such as tone/0.png) and 12 audio clips (such as noise/0.flac)" in str(caught.value)


def test_recordings_without_class_folders(tmp_path):
    write(tmp_path / "sounds/a.wav", tone(440))
    with pytest.raises(DataError, match=r"1 audio clips but no class folders; expected DIR/<class>/\*.jpg \(or \*.wav\)"):
        list_folder(tmp_path / "sounds")


def test_find_recordings(root):
    Image.new("RGB", (9, 9)).save(root / "noise" / "cover.png")
    assert find_files([root / "noise", root / "tone/0.wav"], Kind.AUDIO) == [
        *(str(root / "noise" / f"{number}.flac") for number in range(6)),
        str(root / "tone/0.wav"),
    ]
    assert find_files([root], Kind.IMAGE) == [str(root / "noise/cover.png")]
    with pytest.raises(DataError, match="no images in this folder"):
        find_files([root / "tone"], Kind.IMAGE)


def test_what_is_said_of_the_recordings(root):
    write(root / "tone/8k.wav", tone(440, 0.5, 8000), rate=8000)
    write(root / "tone/stereo.wav", tone(440, 1.5, 44_100), noise(1.5, 44_100), rate=44_100)
    write(root / "noise/nothing.wav", np.zeros(8000, np.float32))
    write(root / "noise/click.wav", noise(0.01))
    (root / "noise/notes.txt").write_text("no audio clip")
    (root / "noise/broken.wav").write_bytes(b"RIFF")
    source = read_listing(list_folder(root), 0.1)
    assert source.kind is Kind.AUDIO
    assert source.unreadable == ["noise/broken.wav: not an audio clip in a format that can be read"]
    assert source.notices == [
        "1 audio clips cannot be read and left out: noise/broken.wav: not an audio clip in a format that can be read",
        "1 audio clips of several channels, which are averaged: tone/stereo.wav",
        "1 audio clips in which nothing is heard: noise/nothing.wav",
        "1 audio clips shorter than 0.025 seconds: noise/click.wav",
        "audio clips of 0.01 to 1.5 s, half of them over 0.35 s; 14 at 16 kHz, 1 at 8 kHz, 1 at 44.1 kHz, "
        "resampled where the backbone takes another rate",
        "1 files are not audio clips of a class and ignored: noise/notes.txt",
    ]
    with pytest.raises(
        DataError, match=r"1 of 17 audio clips cannot be read, more than --max-unreadable 5.00%: noise/broken.wav"
    ):
        read_listing(list_folder(root), 0.05)


def test_what_was_checked_is_remembered(root, tmp_path, monkeypatch):
    for path in root.rglob("*.*"):
        os.utime(path, (1e9, 1e9))
    first = read_listing(list_folder(root), 0.0, tmp_path / "cache")
    monkeypatch.setattr("zoo.data.sources.class_folders.reading.check_audio", lambda *_: pytest.fail("a file was read again"))
    again = read_listing(list_folder(root), 0.0, tmp_path / "cache")
    assert again.notices == first.notices
    assert again.parts["all"].digests.tolist() == first.parts["all"].digests.tolist()


def test_a_record_is_restored_whole(root, tmp_path):
    from zoo.data.sources.class_folders.file_checks import check_all

    path = root / "tone/0.wav"
    os.utime(path, (1e9, 1e9))
    names = ["tone/0.wav"]
    found = [check_all(root, names, lambda name: check_audio(root / name), tmp_path / "cache", Kind.AUDIO)[0] for _ in range(2)]
    assert found[0] == found[1] == check_audio(path)
    assert isinstance(found[1], CheckedAudio)
    assert [type(value) for value in vars(found[1]).values()] == [str, int, int, int, bool, bool, bool]


def test_a_recording_that_was_replaced_since_it_was_checked(root):
    train = open_splits(build({"data": str(root)})).train
    path = root / train.name(0)
    path.write_bytes((root / train.name(1)).read_bytes())
    with pytest.raises(DataError, match="replaced since it was checked; start again"):
        train.item(0)


def test_splits_of_recordings(root):
    splits = open_splits(build({"data": str(root)}))
    assert isinstance(splits.train, AudioFiles)
    assert splits.labels.names == ("noise", "tone")
    assert {name: len(samples) for name, samples in splits.parts().items()} == {"train": 8, "val": 2, "test": 2}
    sound, target = splits.train[0]
    assert (sound.rate, target) == (RATE, 0)
    assert splits.train.sizes[0] == round(1000 * sound.samples.shape[1] / RATE)
    assert "12 at 16 kHz" in splits.facts.notices[0]


@pytest.mark.parametrize("family", ["wavlm", "ast"])
def test_batches_are_the_same_whoever_reads_them(root, family):
    samples = read_listing(list_folder(root), 0.0).parts["all"]
    preprocess = backbones.load(TINY_SOUND[family], "random").preprocess

    def steps(workers):
        batches = TrainBatches(samples, preprocess, batch_size=4, augment="strong", num_workers=workers)
        return [batch.inputs for _, (batch,) in batches.steps(0, 4)]

    for here, there in zip(steps(0), steps(2), strict=True):
        torch.testing.assert_close(here, there, rtol=0, atol=0, equal_nan=True)
    lengths = [
        (~batch.inputs.flatten(2).isnan()).sum((1, 2)).tolist() for batch in EvalBatches(samples, preprocess, batch_size=4)
    ]
    flat = [length for some in lengths for length in some]
    assert flat == sorted(flat, reverse=True)


def preprocess_of(family, **options):
    return backbones.load(TINY_SOUND[family], "random", **options).preprocess


def drawn(vary, item, seed):
    torch.manual_seed(seed)
    return vary(item)


@pytest.mark.parametrize("augment", ["light", "standard", "strong"])
@pytest.mark.parametrize("family", ["wavlm", "whisper"])
def test_varied_by_the_seed_alone(family, augment):
    preprocess = preprocess_of(family)
    vary = train_transform(preprocess, augment)
    item = open_audio(_wav(tone(440) + noise()))
    first, second, third = (drawn(vary, item, seed) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert first.shape == preprocess.prepare(item).shape
    assert not first.isnan().any()
    assert torch.equal(train_transform(preprocess, "none")(item), preprocess.prepare(item))


def _wav(samples, rate=RATE) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate, format="WAV", subtype="FLOAT")
    return buffer.getvalue()


def test_light_changes_loudness_and_place():
    vary = AUGMENTATIONS.get("light").audio(preprocess_of("wavlm"))
    item = (np.ones(RATE, np.float32), RATE)
    levels, firsts, lasts = set(), [], []
    for seed in range(40):
        (sample,) = drawn(vary, item, seed)
        heard = sample.nonzero().squeeze(1)
        levels.add(float(sample.max()))
        firsts.append(int(heard[0]))
        lasts.append(RATE - 1 - int(heard[-1]))
        assert sample[heard].unique().numel() == 1
    assert 0.5 < min(levels) < 0.7
    assert 1.5 < max(levels) < 2.0
    assert 1000 < max(firsts) <= 1600
    assert 1000 < max(lasts) <= 1600
    assert all(min(pair) == 0 for pair in zip(firsts, lasts, strict=True))


def test_standard_adds_noise_of_10_to_30_decibels():
    vary = AUGMENTATIONS.get("standard").audio(preprocess_of("wavlm"))
    ratios = []
    for seed in range(30):
        (sample,) = drawn(vary, (tone(1000), RATE), seed)
        spectrum = torch.fft.rfft(sample[2000:14000]).abs().square()
        signal = spectrum[745:756].sum()
        ratios.append(float(10 * torch.log10(signal / (spectrum.sum() - signal))))
    assert 9 < min(ratios) < 14
    assert 26 < max(ratios) < 32


def test_standard_takes_a_stretch_anywhere():
    vary = AUGMENTATIONS.get("standard").audio(preprocess_of("wavlm", max_seconds=0.5))
    item = (np.arange(4 * RATE, dtype=np.float32), RATE)
    means = [float(drawn(vary, item, seed)[drawn(vary, item, seed) > 1].median()) for seed in range(20)]
    assert drawn(vary, item, 0).shape == (1, RATE // 2)
    assert max(means) > 20 * min(means) or max(means) > 40_000


def test_strong_masks_time_and_in_spectrograms_bands():
    item = (noise(1.0), RATE)
    waves = drawn(AUGMENTATIONS.get("strong").audio(preprocess_of("wavlm")), item, 3)[0]
    _, counts = waves.unique(return_counts=True)
    assert 100 < counts.max() <= 3200 + 1600  # masked, or in the gap of the shift
    spectrum = drawn(AUGMENTATIONS.get("strong").audio(preprocess_of("ast")), item, 3)[0]
    middle = spectrum.flatten().mode().values
    rows, columns = (spectrum == middle).all(1), (spectrum == middle).all(0)
    assert 0 < rows.sum() <= 2 * 0.1 * len(spectrum)
    assert 0 < columns.sum() <= 2 * 0.2 * spectrum.shape[1]


def test_a_wav_of_the_standard_library(tmp_path):
    """Written by another program than the one that reads it."""
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(22_050)
        file.writeframes((tone(440, 0.5, 22_050) * 32767).astype("<i2").tobytes())
    sound = open_audio(path)
    assert sound.rate == 22_050
    np.testing.assert_allclose(sound.samples[0], tone(440, 0.5, 22_050), atol=1e-4)
