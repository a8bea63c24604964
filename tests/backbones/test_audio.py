"""Audio clips, made ready and computed: against transformers itself, alone and in batches."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from closeness import assert_close
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sounding import RATE, TINY_SOUND, chirp, noise, tone
from torch import nn
from transformers import ASTFeatureExtractor, AutoFeatureExtractor, Wav2Vec2FeatureExtractor, WhisperFeatureExtractor

from zoo import backbones
from zoo.backbones import audio, networks, restore_preprocess
from zoo.backbones.audio import AudioClip, AudioPreprocess
from zoo.backbones.audio_networks import norm_over_time
from zoo.errors import ConfigError, UnknownName, WeightsError

each_family = pytest.mark.parametrize("family", TINY_SOUND)


def waveform(**options) -> AudioPreprocess:
    """Of a waveform at 16 kHz."""
    given = {"form": "waveform", "rate": RATE, "max_seconds": 1.0, "truncation": "head", "pooling": "mean", "shortest": 400}
    return AudioPreprocess(**{**given, "normalise": False, **options})


def features(backbone, *items):
    samples = [backbone.preprocess.prepare(item) for item in items]
    with torch.no_grad():
        return backbone(backbone.ready(backbone.preprocess.collate(samples)))


def extractor(form):
    """transformers' own, for the tiny networks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # empty mel filters
        made = {
            "waveform": lambda: Wav2Vec2FeatureExtractor(),
            "filter-bank": lambda: ASTFeatureExtractor(max_length=200),
            "log-mel": lambda: WhisperFeatureExtractor(chunk_length=2),
        }
        return made[form]()


@each_family
def test_frames_are_those_of_transformers(family):
    spec = TINY_SOUND[family]
    backbone = backbones.load(spec, "random", seed=3)
    sound = tone(440, 1.3) + noise(1.3)
    original = networks.open_network(spec, "random", 3).net.eval()
    (given,) = extractor(backbone.preprocess.form)(sound, sampling_rate=RATE, return_tensors="pt").values()
    with torch.no_grad():
        expected = original(given).last_hidden_state
        found = backbone.tokens(backbone.ready(backbone.preprocess.prepare((sound, RATE))[None]))
    there = ~found.isnan()
    # Of AST 12 bands of 13 patches, which begin every ten of 128 frames, and two tokens for the whole.
    assert there.any(2).sum() == {"waveform": 64, "log-mel": 66, "filter-bank": 12 * 13 + 2}[backbone.preprocess.form]
    assert_close(found[there], expected[there])
    assert original.config.hidden_size == backbone.feature_dim == found.shape[2]


@each_family
def test_features_are_the_same_alone_and_in_a_batch(family):
    backbone = backbones.load(TINY_SOUND[family], "random", seed=3)
    items = [(tone(440, 1.3), RATE), (noise(0.4), RATE), (chirp(100, 3000, 0.9, 44_100), 44_100), (noise(0.01), RATE)]
    together = features(backbone, *items)
    alone = torch.cat([features(backbone, item) for item in items])
    assert_close(together, alone)
    assert (together[0] - together[1]).abs().max() > 0.1
    assert together.shape == (4, backbone.feature_dim)


@each_family
def test_training_drops_and_masks_nothing(family):
    backbone = backbones.load(TINY_SOUND[family], "random").train()
    for module in backbone.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        module.dropout = 0.0 if isinstance(getattr(module, "dropout", None), float) else getattr(module, "dropout", None)
        module.attention_dropout = 0.0 if hasattr(module, "attention_dropout") else None
    batch = backbone.preprocess.example(2)
    torch.testing.assert_close(backbone(batch), backbone.eval()(batch))
    backbone(batch).square().mean().backward()
    assert [name for name, tensor in backbone.net.named_parameters() if tensor.requires_grad and tensor.grad is None] == []


@each_family
def test_in_half_precision_features_are_nearly_the_same(family):
    backbone = backbones.load(TINY_SOUND[family], "random")
    items = [(noise(1.0), RATE), (tone(300, 0.5), RATE)]
    with torch.autocast("cpu", torch.bfloat16):
        half = features(backbone, *items)
    torch.testing.assert_close(half.float(), features(backbone, *items), rtol=0, atol=0.1)


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
def test_pooling_is_over_the_frames_of_the_recording(pooling):
    backbone = backbones.load(TINY_SOUND["wavlm"], "random", pooling=pooling)
    long, short = (backbone.preprocess.prepare((noise(seconds), RATE)) for seconds in (1.0, 0.5))
    batch = backbone.ready(backbone.preprocess.collate([long, short]))
    with torch.no_grad():
        frames = backbone.tokens(batch)[1]
        frames = frames[~frames.isnan().any(1)]
        expected = {"mean": frames.mean(0), "max": frames.amax(0), "last": frames[-1]}[pooling]
        torch.testing.assert_close(backbone(batch)[1], expected)
    assert len(frames) == 24  # 8,000 samples, of which a frame hears 400, one every 320


def test_the_first_tokens_of_ast_are_the_whole():
    by_class, by_mean = (backbones.load(TINY_SOUND["ast"], "random", pooling=pooling) for pooling in (None, "mean"))
    batch = by_class.ready(by_class.preprocess.prepare((noise(0.5), RATE))[None])
    with torch.no_grad():
        tokens = by_class.tokens(batch)[0]
        torch.testing.assert_close(by_class(batch)[0], tokens[:2].mean(0))
        patches = tokens[2:][~tokens[2:].isnan().any(1)]
        torch.testing.assert_close(by_mean(batch)[0], patches.mean(0))
    assert len(patches) == 12 * 5  # bands by times: 48 frames, a patch every ten


@each_family
def test_windows_count_by_their_frames(family):
    backbone = backbones.load(TINY_SOUND[family], "random", max_seconds=0.5, truncation="window")
    long, short = noise(1.2), tone(300, 0.3)
    sample = backbone.preprocess.prepare((long, RATE))
    assert len(sample) == 3  # of 0.4 seconds each
    parts = features(backbone, *((part, RATE) for part in np.split(long, 3)))
    both = features(backbone, (long, RATE), (short, RATE))
    assert_close(both[0], parts.mean(0))
    assert_close(both[1:], features(backbone, (short, RATE)))
    with pytest.raises(ConfigError, match="one window"):
        backbone.tokens(backbone.ready(sample[None]))


def test_normalised_as_transformers_does():
    preprocess = waveform(normalise=True)
    sounds = [noise(0.7) + 0.3, tone(100, 0.2)]
    ready = preprocess.ready(preprocess.collate([preprocess.prepare((sound, RATE)) for sound in sounds]))
    given = extractor("waveform")(sounds, sampling_rate=RATE, padding=True, return_attention_mask=True, return_tensors="pt")
    there = given["attention_mask"].bool()
    assert torch.equal(~ready[:, 0].isnan(), there)
    assert_close(ready[:, 0][there], given["input_values"][there])
    assert not preprocess.ready(torch.zeros(1, 1, 800)).isnan().any()


def test_filter_banks_are_those_of_transformers():
    sound = noise(1.0) + tone(1000, 1.0)
    found = audio.filter_bank(torch.from_numpy(sound), 128)
    made = extractor("filter-bank")
    made.do_normalize = False
    expected = torch.tensor(np.array(made(sound, sampling_rate=RATE)["input_values"]))[0]
    assert found.shape == (98, 128)
    torch.testing.assert_close(found, expected[:98], rtol=0, atol=1e-3)
    assert not expected[98:].any()


@pytest.mark.parametrize("seconds", [0.1, 1.2345, 1.99, 2.0])
def test_whispers_spectrogram_is_cut_where_nothing_is_heard(seconds):
    sound = noise(seconds)
    found = audio.log_mel(torch.from_numpy(sound), 80, 200)
    expected = torch.tensor(np.array(extractor("log-mel")(sound, sampling_rate=RATE)["input_features"]))[0].T
    assert_close(found, expected[: len(found)])
    assert len(found) == min(-(-(len(sound) + 200) // 160), 200)
    silence = audio.silence(torch.cat([found, torch.full((3, 80), float("nan"))])[None])
    assert_close(expected[len(found) :], silence.expand_as(expected[len(found) :]))


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_tone_keeps_its_frequency_at_another_rate(rate):
    sample = waveform().prepare((tone(1000, 1.0, rate), rate))[0]
    assert len(sample) == pytest.approx(RATE, abs=2)
    spectrum = torch.fft.rfft(sample[2000:14000]).abs()
    assert spectrum.argmax() * RATE / 12000 == pytest.approx(1000, abs=2)
    assert sample[2000:14000].abs().max() == pytest.approx(0.5, rel=0.01)


def test_what_lies_above_the_rate_does_not_come_back_as_another_tone():
    sample = waveform().prepare((tone(10_000, 1.0, 44_100), 44_100))[0]
    assert sample[2000:14000].abs().max() < 1e-3


def test_channels_are_averaged():
    left, right = tone(300), noise()
    sample = waveform().prepare(AudioClip(np.stack([left, right]), RATE))
    np.testing.assert_allclose(sample[0], (left + right) / 2, atol=1e-7)
    assert torch.equal(waveform().prepare((left, RATE)), torch.from_numpy(left)[None])


@pytest.mark.parametrize(
    ("truncation", "kept"),
    [
        ("head", [list(range(8))]),
        ("tail", [list(range(12, 20))]),
        ("head+tail", [[0, 1, 2, 3, 16, 17, 18, 19]]),
        ("window", [list(range(7)), list(range(7, 14)), list(range(14, 20))]),
    ],
)
def test_what_is_kept_of_a_long_recording(truncation, kept):
    preprocess = waveform(truncation=truncation, max_seconds=8 / RATE, shortest=1)
    sample = preprocess.prepare((np.arange(20, dtype=np.float32), RATE))
    assert [row[~row.isnan()].tolist() for row in sample] == kept
    assert torch.equal(preprocess.prepare((np.arange(8, dtype=np.float32), RATE))[0], torch.arange(8.0))


def test_a_short_recording_is_filled_up_with_silence():
    sample = waveform().prepare((np.ones(3, np.float32), RATE))
    assert sample[0].tolist() == [1.0] * 3 + [0.0] * 397


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros((16_000, 2)), "samples \\[16000, 2\\] at 16000 Hz"),
        (np.zeros(9, np.uint8), "samples of type uint8; expected floating-point numbers"),
        (np.zeros(0), "samples \\[1, 0\\]"),
        (np.zeros((1, 2, 3)), "expected \\[T\\] or \\[channels, T\\]"),
        (np.array([0.0, np.nan]), "NaN or infinite"),
        (np.array([0.0, np.inf]), "NaN or infinite"),
    ],
)
def test_what_is_no_recording(samples, reason):
    with pytest.raises(ValueError, match=reason):
        waveform().prepare((samples, RATE))


def test_what_is_no_recording_at_all():
    with pytest.raises(ValueError, match="a str; expected an audio clip, or a tuple of samples and their rate"):
        waveform().prepare("audio clip.wav")


def test_integers_are_brought_to_full_scale():
    samples = np.array([-32768, -16384, 0, 16384], np.int16)
    assert waveform(shortest=4).prepare((samples, RATE))[0].tolist() == [-1.0, -0.5, 0.0, 0.5]


def test_the_same_bytes_every_time():
    sound = chirp(200, 4000, 0.9, 44_100)
    preprocess = backbones.load(TINY_SOUND["ast"], "random").preprocess
    first, second = (preprocess.prepare((sound.copy(), 44_100)) for _ in range(2))
    assert first.numpy().tobytes() == second.numpy().tobytes()
    assert torch.equal(preprocess.example(3), preprocess.example(3))


def test_without_the_resampler_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "soxr", None)
    waveform().prepare((noise(0.1), RATE))
    with pytest.raises(ConfigError, match=r"pip install 'zoo-finetune\[audio\]'"):
        waveform().prepare((noise(0.1), 8000))


def test_the_norm_over_time_of_rows_cut_short():
    norm = nn.GroupNorm(6, 6)
    nn.init.normal_(norm.weight)
    states = torch.randn(3, 6, 50)
    found = norm_over_time(states, torch.tensor([50, 20, 1]), norm)
    for row, length in enumerate((50, 20)):
        expected = norm(states[row : row + 1, :, :length])[0]
        assert_close(found[row, :, :length], expected)
    assert found.isfinite().all()


def test_every_projection_of_wavlms_attention_is_called():
    backbone = backbones.load(TINY_SOUND["wavlm"], "random")
    called = []
    for name, module in backbone.net.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.append(name))
    backbone(backbone.preprocess.example(1))
    wanted = [f"encoder.layers.{layer}.attention.{name}_proj" for layer in range(2) for name in ("q", "k", "v", "out")]
    assert set(wanted) <= set(called)


@each_family
def test_a_folder_of_transformers(family, tmp_path):
    drawn = backbones.load(TINY_SOUND[family], "random", seed=1)
    drawn.net.save_pretrained(tmp_path)
    drawn.preprocess.save(tmp_path)
    loaded = backbones.load(TINY_SOUND[family], str(tmp_path))
    assert loaded.preprocess == drawn.preprocess
    assert loaded.base_sha256 == drawn.base_sha256
    torch.testing.assert_close(features(loaded, (noise(), RATE)), features(drawn, (noise(), RATE)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = AutoFeatureExtractor.from_pretrained(tmp_path, local_files_only=True)
    expected = extractor(drawn.preprocess.form).to_dict()
    assert {name: value for name, value in theirs.to_dict().items() if name != "return_attention_mask" and name in expected} == {
        name: value for name, value in expected.items() if name != "return_attention_mask"
    }


def test_a_file_with_what_served_pretraining_alone(tmp_path):
    from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

    spec = TINY_SOUND["wav2vec2"]
    whole = Wav2Vec2ForPreTraining(Wav2Vec2Config(**{**spec.arguments, "codevector_dim": 8, "proj_codevector_dim": 8}))
    whole.save_pretrained(tmp_path)
    backbones.load(spec, "random").preprocess.save(tmp_path)
    loaded = backbones.load(spec, str(tmp_path))
    given = extractor("waveform")(noise(), sampling_rate=RATE, return_tensors="pt")["input_values"]
    with torch.no_grad():
        expected = whole.eval().wav2vec2(given).last_hidden_state.mean(1)
    assert_close(features(loaded, (noise(), RATE)), expected)


def test_of_whisper_the_encoder_is_taken(tmp_path):
    from transformers import WhisperConfig, WhisperForConditionalGeneration

    spec = TINY_SOUND["whisper"]
    whole = WhisperForConditionalGeneration(WhisperConfig(**spec.arguments))
    whole.save_pretrained(tmp_path)
    backbones.load(spec, "random").preprocess.save(tmp_path)
    loaded = backbones.load(spec, str(tmp_path))
    assert [name for name, _ in loaded.net.named_parameters()] == [name for name, _ in whole.model.encoder.named_parameters()]
    ours, theirs = loaded.net.state_dict(), whole.model.encoder.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def _saved(family, folder: Path) -> Path:
    backbone = backbones.load(TINY_SOUND[family], "random")
    backbone.net.save_pretrained(folder)
    backbone.preprocess.save(folder)
    return folder / "preprocessor_config.json"


def test_weights_without_a_word_on_recordings(tmp_path):
    _saved("wavlm", tmp_path).unlink()
    with pytest.raises(WeightsError, match=r"tiny_wavlm: no preprocessor_config.json beside the weights"):
        backbones.load(TINY_SOUND["wavlm"], str(tmp_path))


def test_the_word_on_recordings_of_another_network(tmp_path):
    path = _saved("ast", tmp_path)
    path.write_text(path.read_text().replace('"max_length": 200', '"max_length": 300'))
    with pytest.raises(WeightsError, match="says max_length 300, and the network takes 200"):
        backbones.load(TINY_SOUND["ast"], str(tmp_path))


def test_what_is_said_beside_the_weights_counts(tmp_path):
    path = _saved("wavlm", tmp_path)
    path.write_text(path.read_text().replace('"do_normalize": true', '"do_normalize": false').replace("16000", "8000"))
    preprocess = backbones.load(TINY_SOUND["wavlm"], str(tmp_path)).preprocess
    assert (preprocess.normalise, preprocess.rate) == (False, 8000)
    assert preprocess.prepare((noise(1.0), RATE)).shape == (1, 8000)


@pytest.mark.parametrize(
    ("family", "options", "error", "reason"),
    [
        ("whisper", {"max_seconds": 31}, ConfigError, "max_seconds is 31; tiny_whisper takes 0.025 to 2"),
        ("wavlm", {"max_seconds": 0.01}, ConfigError, "max_seconds is 0.01; tiny_wavlm takes 0.025 or more"),
        ("wavlm", {"pooling": "cls"}, ConfigError, "pooling cls: tiny_wavlm pools by mean, max, last"),
        ("ast", {"truncation": "heat"}, UnknownName, "no truncation 'heat'; did you mean 'head'"),
        ("ast", {"max_length": 128}, ConfigError, "max_length is for texts; tiny_ast takes audio clips"),
        ("ast", {"image_size": 128}, ConfigError, "image_size is for images; tiny_ast takes audio clips"),
    ],
)
def test_impossible_options(family, options, error, reason):
    with pytest.raises(error, match=reason):
        backbones.load(TINY_SOUND[family], "random", **options)


@each_family
def test_preprocessing_as_plain_values(family):
    preprocess = backbones.load(TINY_SOUND[family], "random", max_seconds=0.5, truncation="tail", pooling="max").preprocess
    assert restore_preprocess(preprocess.to_dict(), None) == preprocess
    assert preprocess.options() == {"max_seconds": 0.5, "truncation": "tail", "pooling": "max"}
    assert backbones.load(TINY_SOUND[family], "random", **preprocess.options()).preprocess == preprocess


@each_family
def test_features_of_random_weights_tell_tones_from_noise(family):
    backbone = backbones.load(TINY_SOUND[family], "random", pooling="max")
    sounds = [tone(300 + 30 * number, loudness=0.2) for number in range(32)] + [noise(seed=number) for number in range(32)]
    rows = features(backbone, *((sound, RATE) for sound in sounds)).numpy()
    classes = np.repeat([0, 1], 32)
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(rows[::2], classes[::2])
    assert fitted.score(rows[1::2], classes[1::2]) > 0.9
