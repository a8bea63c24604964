"""How texts become a network's input: the tokenizer's tokens in windows, padded with -1."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor

from zoo.backbones.backbone import Preprocess
from zoo.backbones.weights import VOCABULARIES
from zoo.errors import CheckpointError, WeightsError
from zoo.types import Kind

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RustTokenizer

UNLIMITED = 1 << 20
"""A tokenizer that says more tokens than this says that it does not know (transformers then writes 1e30)."""
CONFIGURATION = "tokenizer_config.json"
_OF_THIS_MACHINE = {"name_or_path", "is_local", "local_files_only"}
"""What transformers writes about where a tokenizer came from."""
ABSENT = -1
"""What stands in a batch where there is no token."""
HEAD_SHARE = 0.25
"""Share of the tokens that `head+tail` takes from the beginning: 128 of 510 was best in arxiv.org/abs/1905.05583 (section 5.3.1)."""
OVERLAP = 0.25
"""Share of a window that the one before it had too, so that what is cut at one's end stands within the other. Our own choice."""
EXAMPLE_LENGTH = 16
Item = str | tuple[str, str]


@dataclass(frozen=True)
class TextTokenizer:
    """A tokenizer that neither cuts nor pads: texts to tokens, and tokens with the special ones around them.

    It takes one text at a time, in the calling thread: nothing of it is shared with processes that are forked later.
    """

    rust: RustTokenizer
    whole: Any
    """transformers' own object around it."""
    sha256: str
    """Digest of its definition and of what it gives to a network: files that say the same in other words have the same."""

    @property
    def limit(self) -> int | None:
        """The most tokens that it says its network takes, special ones included; None if it does not say."""
        limit = int(self.whole.model_max_length)
        return limit if limit <= UNLIMITED else None

    @property
    def size(self) -> int:
        """Number of entries, added ones included."""
        return int(self.rust.get_vocab_size(with_added_tokens=True))

    @property
    def tells_segments(self) -> bool:
        """Whether its network is told which text of a pair a token belongs to."""
        return "token_type_ids" in self.whole.model_input_names

    def encode(self, text: str) -> list[int]:
        """The numbers of all tokens of a text, without special ones. Raises: ValueError for what is not Unicode text."""
        try:
            return list(self.rust.encode(text, add_special_tokens=False).ids)
        except (TypeError, UnicodeError) as error:
            raise ValueError("it holds half a character (a lone surrogate); decode it with errors='replace'") from error

    def surround(self, texts: Sequence[Sequence[int]]) -> tuple[list[int], list[int]]:
        """(tokens, segments) of a text or a pair, given as tokens, with the special tokens around and between."""
        tokens: list[int] = []
        segments: list[int] = []
        for token, text, segment in self._frames[len(texts)]:
            part = [token] if text is None else texts[text]
            tokens.extend(part)
            segments.extend([segment] * len(part))
        return tokens, segments

    def special_count(self, texts: int) -> int:
        """How many special tokens stand around one text, or around and between two."""
        return sum(text is None for _, text, _ in self._frames[texts])

    @cached_property
    def _frames(self) -> dict[int, list[tuple[int, int | None, int]]]:
        """For one text and for two: (special token, None, segment), or (0, number of the text that stands there, segment)."""
        frames: dict[int, list[tuple[int, int | None, int]]] = {}
        for texts, pair in ((1, None), (2, "a")):
            whole = self.rust.encode("a", pair)
            frames[texts] = []
            for token, text, segment in zip(whole.ids, whole.sequence_ids, whole.type_ids, strict=True):
                slot = (token if text is None else 0, text, segment)
                if text is None or slot not in frames[texts]:
                    frames[texts].append(slot)
        return frames


def has_tokenizer(folder: Path | None) -> bool:
    """Whether a folder has a tokenizer, by the names of its files."""
    return folder is not None and any((folder / name).is_file() for name in VOCABULARIES)


def open_tokenizer(folder: Path, vocabulary: int) -> TextTokenizer:
    """The tokenizer in a folder: nothing is fetched, and no code of the folder's runs.

    vocabulary: number of tokens that the network knows.
    Raises: WeightsError if there is none, if it is damaged, of the slow kind (without a definition that can be saved), or has more
        entries than the network.
    """
    from transformers import AutoTokenizer

    if not has_tokenizer(folder):
        files = f"{VOCABULARIES[0]} and {CONFIGURATION}, or the older ones"
        raise WeightsError(f"{folder}: no tokenizer there; put its files beside the weights ({files})")
    try:
        whole = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        rust = getattr(whole, "backend_tokenizer", None)
    except Exception as error:  # a damaged file can raise anything, a plain Exception of the Rust side included
        line = str(error).strip().partition("\n")[0]
        raise WeightsError(f"{folder}: its tokenizer is damaged, or of an unknown kind ({line})") from error
    if rust is None:
        raise WeightsError(f"{folder}: its {type(whole).__name__} is of the slow kind; convert it to a {VOCABULARIES[0]} first")
    rust.no_truncation()
    rust.no_padding()
    given = json.dumps([rust.to_str(), sorted(whole.model_input_names)], ensure_ascii=False)
    tokenizer = TextTokenizer(rust, whole, hashlib.sha256(given.encode()).hexdigest())
    if tokenizer.size > vocabulary:
        entries = f"{tokenizer.size} entries, the network {vocabulary}"
        raise WeightsError(f"{folder}: its tokenizer has {entries}; they do not belong together")
    return tokenizer


def save_tokenizer(tokenizer: TextTokenizer, folder: Path) -> None:
    """Write its files, from which `open_tokenizer` and transformers alone open it again. The same bytes every time; no paths in them."""
    tokenizer.whole.save_pretrained(str(folder))
    path = folder / CONFIGURATION
    values = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in values.items() if key not in _OF_THIS_MACHINE and not key.endswith("_file")}
    path.write_text(json.dumps(kept, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class TextPreprocess(Preprocess):
    """How a text, or a pair of them, becomes the network's input.

    A sample is `[W, 2, T] int32`: W windows (one, unless `truncation` is `window` and the text is long) of T tokens; row 0 holds
    the tokens' numbers, row 1 their segments (which text of a pair; 0 where the network does not ask). A batch is
    `[B, W, 2, T] int32`, where what a text does not fill is -1.
    """

    kind = Kind.TEXT

    max_length: int
    """The most tokens of a window, special ones included."""
    truncation: str
    """What is kept of a longer text: `head` (its beginning), `tail` (its end), `head+tail`, or all of it in overlapping windows
    (`window`), whose features are averaged. Of a pair, the longer text is cut first."""
    pooling: str
    """How the features of a window's tokens become one vector."""
    vocabulary: int
    """Number of tokens that the network knows."""
    segments: bool
    """Whether the network asks which text of a pair a token belongs to."""
    prefix: str = ""
    """What is put before each text."""
    tokenizer_sha256: str | None = None
    """Digest of the tokenizer; None: there was none when the network was built."""
    tokenizer: TextTokenizer | None = field(default=None, compare=False, repr=False)

    def prepare(self, item: Item) -> Tensor:
        """`[W, 2, T] int32` of a text, or of a tuple of two. An empty text is its special tokens alone.

        Raises: ValueError for anything else; WeightsError where there is no tokenizer.
        """
        windows = [self._opened.surround(texts) for texts in self._cut(self._encode(item))]
        if not windows[0][0]:
            raise ValueError("it has no tokens")
        if not (self.segments and self._opened.tells_segments):
            windows = [(tokens, [0] * len(tokens)) for tokens, _ in windows]
        return self.collate([torch.tensor([window], dtype=torch.int32) for window in windows]).flatten(0, 1)

    def collate(self, samples: Sequence[Tensor]) -> Tensor:
        """`[B, W, 2, T]`, W and T those of the largest sample."""
        windows, length = (max(sample.shape[axis] for sample in samples) for axis in (0, 2))
        batch = torch.full((len(samples), windows, 2, length), ABSENT, dtype=torch.int32)
        for row, sample in zip(batch, samples, strict=True):
            row[: sample.shape[0], :, : sample.shape[2]] = sample
        return batch

    def ready(self, batch: Tensor) -> Tensor:
        """The batch itself."""
        return batch

    def example(self, count: int) -> Tensor:
        """`[count, 1, 2, 16] int32`: tokens drawn evenly from the vocabulary, in one segment. Needs no tokenizer."""
        length = min(EXAMPLE_LENGTH, self.max_length)
        drawn = torch.randint(self.vocabulary, (count, 1, 1, length), generator=torch.Generator().manual_seed(0))
        return torch.cat([drawn, torch.zeros_like(drawn)], dim=2).int()

    def tokens(self, item: Item) -> int:
        """How many tokens a text or a pair has, special ones included, before anything is cut. Raises: as `prepare`."""
        texts = self._encode(item)
        return sum(len(text) for text in texts) + self._opened.special_count(len(texts))

    def truncated(self, item: Item) -> bool:
        """Whether something of a text or a pair is left out. Raises: as `prepare`."""
        return self.truncation != "window" and self.tokens(item) > self.max_length

    def options(self) -> dict[str, Any]:
        """`max_length`, `truncation`, `pooling`."""
        return {"max_length": self.max_length, "truncation": self.truncation, "pooling": self.pooling}

    def to_dict(self) -> dict[str, Any]:
        """As plain values, for `config.json`; the tokenizer itself is what `save` writes beside it."""
        own = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "tokenizer"}
        return {"kind": self.kind.value, **own}

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files. Raises: WeightsError where there is no tokenizer."""
        save_tokenizer(self._opened, folder)

    @classmethod
    def from_dict(cls, values: dict[str, Any], folder: Path | None) -> Self:
        """The inverse of `to_dict` and `save`; without a folder, no text can be prepared.

        Raises: CheckpointError if the folder has no tokenizer, or another.
        """
        given = {name: value for name, value in values.items() if name != "kind"}
        expected = given["tokenizer_sha256"]
        if folder is None or expected is None:
            return cls(**given)
        try:
            opened = open_tokenizer(folder, given["vocabulary"])
        except WeightsError as error:
            raise CheckpointError(str(error)) from error
        if opened.sha256 != expected:
            found = f"sha256 {opened.sha256[:12]}, expected {expected[:12]}"
            raise CheckpointError(f"{folder}: another tokenizer than the model was trained with ({found}); use another copy")
        return cls(**given, tokenizer=opened)

    @property
    def _opened(self) -> TextTokenizer:
        if self.tokenizer is None:
            raise WeightsError(
                "no tokenizer for these weights here; give the folder of one (tokenizer=), or weights that have one"
            )
        return self.tokenizer

    def _encode(self, item: Item) -> list[list[int]]:
        texts = (item,) if isinstance(item, str) else item
        if not isinstance(texts, tuple) or len(texts) not in (1, 2) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"a {type(item).__name__}; expected a text, or a tuple of two")
        return [self._opened.encode(self.prefix + text) for text in texts]

    def _cut(self, texts: list[list[int]]) -> list[list[list[int]]]:
        """The windows: of each, the tokens of the one or two texts that it holds."""
        room = self.max_length - self._opened.special_count(len(texts))
        if self.truncation == "window":
            if len(texts) == 2:
                raise ValueError("a pair of texts; truncation `window` is for single ones: take head, tail or head+tail")
            return [[part] for part in _windows(texts[0], room)]
        rooms = [room] if len(texts) == 1 else _longest_first(len(texts[0]), len(texts[1]), room)
        return [[_shorten(text, length, self.truncation) for text, length in zip(texts, rooms, strict=True)]]


def _shorten(tokens: list[int], length: int, truncation: str) -> list[int]:
    """At most `length` tokens."""
    if len(tokens) <= length:
        return tokens
    head = {"head": length, "tail": 0, "head+tail": int(length * HEAD_SHARE)}[truncation]
    return tokens[:head] + tokens[len(tokens) - (length - head) :]


def _windows(tokens: list[int], length: int) -> list[list[int]]:
    """Stretches of `length` tokens, each beginning with the last of the one before; the last stretch may be shorter."""
    step = length - int(length * OVERLAP)
    return [tokens[start : start + length] for start in range(0, max(len(tokens) - length, 0) + step, step)]


def _longest_first(first: int, second: int, room: int) -> list[int]:
    """How many tokens each of two texts keeps: the longer one is cut first, then both alike, as transformers does."""
    short, long = sorted((first, second))
    if first + second > room:
        long = max(short, room - short)
        if short + long > room:
            short, long = room // 2, room - room // 2
    return [short, long] if first <= second else [long, short]
