"""Texts to windows of tokens: what is cut, what is padded, and that a saved tokenizer is the same one."""

import json
import subprocess
import sys
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import pytest
import sentencepiece
import torch
from tiny import TINY_TEXT, WORDS, text_folder, tokenizer_folder
from torch import Tensor
from transformers import AutoTokenizer

from zoo import backbones, registry
from zoo.backbones.networks import average_windows, pool
from zoo.backbones.texts import TextPreprocess, open_tokenizer, save_tokenizer
from zoo.errors import CheckpointError, WeightsError

BERT = TINY_TEXT[0]
CLS, SEP, PAD = 2, 3, 1
SENTENCE = " ".join(WORDS[:30])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return text_folder(tmp_path_factory.mktemp("texts"), BERT)


@pytest.fixture
def preprocess(folder: Path) -> TextPreprocess:
    """Ten tokens a window: `[CLS]`, eight words, `[SEP]`."""
    return texts(folder, 10)


def texts(folder: Path, max_length: int, truncation: str = "head", prefix: str = "") -> TextPreprocess:
    opened = open_tokenizer(folder, 256)
    return TextPreprocess(max_length, truncation, "mean", 256, True, prefix, opened.sha256, opened)


def ids(preprocess: TextPreprocess, words: list[str]) -> list[int]:
    assert preprocess.tokenizer is not None
    return [preprocess.tokenizer.rust.token_to_id(word) for word in words]


def rows(sample: Tensor) -> list[list[int]]:
    """The tokens of each window, without padding."""
    return [[token for token in window[0].tolist() if token != -1] for window in sample]


def test_a_short_text_is_its_tokens_between_the_special_ones(preprocess: TextPreprocess) -> None:
    sample = preprocess.prepare("The water, Water")
    assert sample.dtype == torch.int32
    assert sample[:, 0].tolist() == [[CLS, *ids(preprocess, ["the", "water", ",", "water"]), SEP]]
    assert sample[:, 1].tolist() == [[0] * 6]


@pytest.mark.parametrize(
    ("truncation", "kept"),
    [
        ("head", WORDS[:8]),
        ("tail", WORDS[22:30]),
        ("head+tail", [*WORDS[:2], *WORDS[24:30]]),  # a quarter of eight from the beginning
    ],
)
def test_what_is_kept_of_a_long_text(folder: Path, truncation: str, kept: list[str]) -> None:
    preprocess = texts(folder, 10, truncation)
    assert rows(preprocess.prepare(SENTENCE)) == [[CLS, *ids(preprocess, kept), SEP]]
    assert preprocess.truncated(SENTENCE)
    assert preprocess.tokens(SENTENCE) == 32
    exact = " ".join(WORDS[:8])
    assert rows(preprocess.prepare(exact)) == [[CLS, *ids(preprocess, WORDS[:8]), SEP]]
    assert not preprocess.truncated(exact)


@pytest.mark.parametrize(
    ("words", "stretches"),
    [
        (0, [(0, 0)]),
        (8, [(0, 8)]),
        (9, [(0, 8), (6, 9)]),
        (14, [(0, 8), (6, 14)]),
        (15, [(0, 8), (6, 14), (12, 15)]),
        (30, [(0, 8), (6, 14), (12, 20), (18, 26), (24, 30)]),
    ],
)
def test_windows_overlap_by_a_quarter_and_leave_nothing_out(folder: Path, words: int, stretches: list[tuple[int, int]]) -> None:
    preprocess = texts(folder, 10, "window")
    text = " ".join(WORDS[:words])
    assert rows(preprocess.prepare(text)) == [[CLS, *ids(preprocess, WORDS[start:end]), SEP] for start, end in stretches]
    assert not preprocess.truncated(text)


@pytest.mark.parametrize(("first", "second"), [(2, 30), (30, 2), (30, 30), (3, 3), (0, 30), (6, 9), (31, 20)])
def test_pairs_are_cut_as_transformers_cuts_them(folder: Path, first: int, second: int) -> None:
    pair = (" ".join(WORDS[:first]), " ".join(WORDS[30 : 30 + second]))
    expected = AutoTokenizer.from_pretrained(folder)(*pair, truncation=True, max_length=14)
    sample = texts(folder, 14).prepare(pair)
    assert sample[:, 0].tolist() == [expected["input_ids"]]
    assert sample[:, 1].tolist() == [expected["token_type_ids"]]


def test_a_pair_of_which_the_ends_are_kept(folder: Path) -> None:
    preprocess = texts(folder, 11, "tail")
    first, second = ids(preprocess, WORDS[:6])[-4:], ids(preprocess, WORDS[10:16])[-4:]
    sample = preprocess.prepare((" ".join(WORDS[:6]), " ".join(WORDS[10:16])))
    assert sample[:, 0].tolist() == [[CLS, *first, SEP, *second, SEP]]
    assert preprocess.tokens((" ".join(WORDS[:6]), " ".join(WORDS[10:16]))) == 15


def test_a_network_without_segments_is_given_none(folder: Path) -> None:
    without = replace(texts(folder, 14), segments=False)
    assert without.prepare(("the water", "a sound"))[:, 1].unique().tolist() == [0]


def test_a_prefix_stands_before_each_text(folder: Path) -> None:
    with_prefix, without = texts(folder, 14, prefix="find: "), texts(folder, 14)
    assert rows(with_prefix.prepare("water")) == rows(without.prepare("find: water"))
    assert rows(with_prefix.prepare(("water", "sound"))) == rows(without.prepare(("find: water", "find: sound")))


def test_an_empty_text_is_its_special_tokens(preprocess: TextPreprocess) -> None:
    assert rows(preprocess.prepare("")) == [[CLS, SEP]]
    assert preprocess.tokens("") == 2


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        (None, "a NoneType; expected a text, or a tuple of two"),
        (3.5, "a float; expected a text"),
        (("a", "b", "c"), "a tuple; expected a text"),
        (("a", None), "a tuple; expected a text"),
        ("caf\ud83d", "half a character"),
    ],
)
def test_what_is_no_text(preprocess: TextPreprocess, item: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        preprocess.prepare(item)  # type: ignore[arg-type]


def test_windows_of_a_pair_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="truncation `window` is for single ones"):
        texts(folder, 10, "window").prepare(("a", "b"))


def test_a_batch_is_padded_with_what_is_no_token(folder: Path) -> None:
    preprocess = texts(folder, 10, "window")
    samples = [preprocess.prepare(text) for text in ("water", " ".join(WORDS[:9]), "")]
    batch = preprocess.collate(samples)
    assert batch.shape == (3, 2, 2, 10)
    assert batch.dtype == torch.int32
    for row, sample in zip(batch, samples, strict=True):
        assert torch.equal(row[: sample.shape[0], :, : sample.shape[2]], sample)
        assert (row != -1).sum() == (sample != -1).sum()
    assert preprocess.ready(batch) is batch


def test_the_example_is_the_same_every_time_and_needs_no_tokenizer() -> None:
    preprocess = TextPreprocess(12, "head", "mean", 256, True)
    example = preprocess.example(3)
    assert example.shape == (3, 1, 2, 12)
    assert torch.equal(example, preprocess.example(3))
    assert 0 <= int(example.min()) <= int(example.max()) < 256
    assert not example[:, :, 1].any()
    with pytest.raises(WeightsError, match="no tokenizer for these weights here"):
        preprocess.prepare("a text")


def test_saved_and_opened_it_does_the_same(folder: Path, tmp_path: Path) -> None:
    preprocess = texts(folder, 10, "tail", "find: ")
    for place in (tmp_path / "one", tmp_path / "two"):
        place.mkdir()
        preprocess.save(place)
    names = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert names == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    assert not [name for name, content in names.items() if str(folder).encode() in content or b"_file" in content]
    (tmp_path / "one" / "config.json").write_text('{"zoo": {"format": 1}}')  # zoo's own stands beside it
    values = json.loads(json.dumps(preprocess.to_dict()))
    again = backbones.restore_preprocess(values, tmp_path / "one")
    assert again == preprocess
    assert torch.equal(again.prepare(SENTENCE), preprocess.prepare(SENTENCE))
    assert values["kind"] == "text"
    assert preprocess.options() == {"max_length": 10, "truncation": "tail", "pooling": "mean"}


def test_a_tokenizer_of_the_hubs_goes_through_saving_unchanged(tmp_path: Path) -> None:
    loaded = backbones.load(registry.resolve("all-MiniLM-L6-v2")).preprocess
    loaded.save(tmp_path)
    assert backbones.restore_preprocess(loaded.to_dict(), tmp_path) == loaded
    assert len(AutoTokenizer.from_pretrained(tmp_path)("a text")["input_ids"]) == 4


def old_files(place: Path, model_type: str) -> Path:
    """A tokenizer as it was published before `tokenizer.json`: a list of words, or a model of SentencePiece."""
    if model_type == "bert":
        (place / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]))
    else:
        (place / "texts.txt").write_text("\n".join(" ".join(WORDS[start : start + 9]) for start in range(100)))
        name = {"deberta-v2": "spm", "albert": "spiece", "xlm-roberta": "sentencepiece.bpe"}[model_type]
        train = sentencepiece.SentencePieceTrainer.train
        special = {
            "pad_id": 0,
            "bos_id": 1,
            "eos_id": 2,
            "unk_id": 3,
            "pad_piece": "[PAD]",
            "bos_piece": "[CLS]",
            "eos_piece": "[SEP]",
        }
        own = {} if model_type == "xlm-roberta" else {**special, "unk_piece": "[UNK]"}
        train(input=str(place / "texts.txt"), model_prefix=str(place / name), vocab_size=120, minloglevel=2, **own)
    (place / "config.json").write_text(json.dumps({"model_type": model_type}))
    return place


@pytest.mark.parametrize("model_type", ["bert", "deberta-v2", "albert", "xlm-roberta"])
def test_tokenizers_of_older_files(model_type: str, tmp_path: Path) -> None:
    place = old_files(tmp_path, model_type)
    opened = open_tokenizer(place, 256)
    pair = ("the water", "a sound")
    expected = AutoTokenizer.from_pretrained(place)(*pair)
    tokens, segments = opened.surround([opened.encode(text) for text in pair])
    assert tokens == expected["input_ids"]
    assert segments == expected.get("token_type_ids", segments)
    (tmp_path / "saved").mkdir()
    save_tokenizer(opened, tmp_path / "saved")
    (tmp_path / "saved" / "config.json").write_text('{"zoo": {"format": 1}}')
    assert open_tokenizer(tmp_path / "saved", 256).sha256 == opened.sha256


def test_another_tokenizer_or_none_is_refused(folder: Path, preprocess: TextPreprocess, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no tokenizer there; put its files beside the weights"):
        backbones.restore_preprocess(preprocess.to_dict(), tmp_path)
    preprocess.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"water":', '"vater":'), encoding="utf-8")
    with pytest.raises(CheckpointError, match="another tokenizer than the model was trained with"):
        backbones.restore_preprocess(preprocess.to_dict(), tmp_path)
    path.write_text(path.read_text(encoding="utf-8")[:500], encoding="utf-8")
    with pytest.raises(CheckpointError, match="its tokenizer is damaged, or of an unknown kind") as caught:
        backbones.restore_preprocess(preprocess.to_dict(), tmp_path)
    assert "\n" not in str(caught.value)


def test_a_tokenizer_of_another_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="entries, the network 100; they do not belong together"):
        open_tokenizer(tokenizer_folder(tmp_path), 100)


def test_spawned_workers_get_the_same_tokenizer(preprocess: TextPreprocess) -> None:
    sent = ForkingPickler.loads(bytes(ForkingPickler.dumps(preprocess)))
    assert sent == preprocess
    assert torch.equal(sent.prepare(SENTENCE), preprocess.prepare(SENTENCE))


FORKED = """
import sys, warnings
warnings.simplefilter("error")
from pathlib import Path
from torch.utils.data import DataLoader
from zoo.backbones.texts import TextPreprocess
from zoo.backbones.texts import open_tokenizer
opened = open_tokenizer(Path(sys.argv[1]), 256)
preprocess = TextPreprocess(10, "head", "mean", 256, True, "", opened.sha256, opened)
preprocess.prepare("a text before the workers are there")

class Samples:
    def __len__(self): return 32
    def __getitem__(self, index): return preprocess.prepare("water " * index)

loader = DataLoader(Samples(), 8, num_workers=2, collate_fn=preprocess.collate, multiprocessing_context="fork")
print(sum(int((batch != -1).sum()) for batch in loader))
"""


def test_workers_take_a_tokenizer_that_was_used_before(folder: Path) -> None:
    """Forked after the first text: no warning of the library's, no deadlock, the same tokens."""
    answer = subprocess.run([sys.executable, "-c", FORKED, str(folder)], capture_output=True, text=True, timeout=120)
    expected = sum(2 * (2 + min(index, 8)) for index in range(32))
    assert answer.stdout.strip() == str(expected), answer.stderr
    assert answer.stderr == ""


@pytest.mark.parametrize("pooling", ["cls", "mean", "max", "last"])
def test_pooling_by_hand(pooling: str) -> None:
    states = torch.tensor([[[1.0, -5.0], [3.0, -1.0], [100.0, 100.0]], [[2.0, 2.0], [4.0, 0.0], [0.0, 7.0]]])
    present = torch.tensor([[True, True, False], [True, True, True]])
    expected = {
        "cls": [[1.0, -5.0], [2.0, 2.0]],
        "mean": [[2.0, -3.0], [2.0, 3.0]],
        "max": [[3.0, -1.0], [4.0, 7.0]],
        "last": [[3.0, -1.0], [0.0, 7.0]],
    }[pooling]
    assert pool(states, present, pooling).tolist() == expected


def test_windows_count_by_their_tokens() -> None:
    present = torch.tensor([[[True, True, True], [True, False, False]], [[True, True, False], [False, False, False]]])
    features = torch.tensor([[4.0], [8.0], [5.0]])  # of the three windows that exist
    assert average_windows(features, present).tolist() == [[(4 * 3 + 8) / 4], [5.0]]
