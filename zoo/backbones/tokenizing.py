"""Tokenizers of texts, opened from a local folder through transformers, told apart by what they do, and saved again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.backbones.weights import VOCABULARIES
from zoo.errors import WeightsError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as RustTokenizer

UNLIMITED = 1 << 20
"""A tokenizer that says more tokens than this says that it does not know (transformers then writes 1e30)."""
CONFIGURATION = "tokenizer_config.json"


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


_OF_THIS_MACHINE = {"name_or_path", "is_local", "local_files_only"}
"""What transformers writes about where a tokenizer came from."""
