"""One word a concept: what users and readers meet says it as the glossary does (image, text, audio clip; sample; prediction)."""

import re
from pathlib import Path

import pytest

from zoo.config import options

ROOT = Path(__file__).parent.parent.parent
NOT = {
    "picture": "image",
    "pictures": "images",
    "recording": "audio clip",
    "recordings": "audio clips",
}
NOT_IN_CODE = {
    "sound": "audio clip",
    "sounds": "audio clips",
    "answer": "prediction, response or result",
    "answers": "predictions, responses or results",
    "answering": "predicting or responding",
}
"""Words that are not used, and what is said in their place; the latter may be in cards, which tell of networks and of what they heard."""
CARDS = ("model_cards", "adapters")
ELSEWHERE = {
    "zoo/data/sources/tables/columns.py",  # lists names that users give to columns
    "zoo/evaluation/report.py",  # writes the key `baseline.answer` of reports
    "zoo/data/decoding/audio_frames.py",  # a frame may be without sound
    "zoo/data/sources/class_folders/file_checks.py",  # names a format of the cache
}


def written() -> list[Path]:
    folders = [path for name in ("zoo", "recipes", "adapters", "model_cards", "docs") for path in (ROOT / name).rglob("*")]
    pages = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "RELEASE.md", "pyproject.toml")]
    return [path for path in (*folders, *pages) if path.suffix in (".py", ".md", ".yaml", ".toml")]


def test_a_help_text_says_what_is_the_default() -> None:
    assert [name for name, option in options().items() if "Empty:" in option.help] == []


@pytest.mark.parametrize("word", [*NOT, *NOT_IN_CODE])
def test_one_word_a_concept(word: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in written()
        if str(path.relative_to(ROOT)) not in ELSEWHERE and (word in NOT or path.parts[len(ROOT.parts)] not in CARDS)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(rf"(?<![a-z.]){word}(?![a-z])", line.lower())
    ]
    assert not found, f"say {(NOT | NOT_IN_CODE)[word]}: " + "; ".join(found[:10])
