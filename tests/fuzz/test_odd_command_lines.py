"""Command lines of any words: an exit status that is promised, at most one line of complaint, and never a fault of ours."""

import io
import sys
from pathlib import Path

import pytest
from fuzz.inputs import FUZZ, NASTY, only_zoo_errors, texts
from hypothesis import given
from hypothesis import strategies as st

from zoo import registry
from zoo.cli import main
from zoo.cli.app import VERBS
from zoo.config import options
from zoo.errors import LONGEST_MESSAGE, LONGEST_VALUE
from zoo.publishing.uploading import publish

FLAGS = ["--" + name.replace("_", "-") for name in options()]
FLAGS += [
    "--json",
    "--debug",
    "--help",
    "--to",
    "--force",
    "--filter",
    "--top",
    "--out",
    "--dry-run",
    "--config",
    "--recipe",
    "--freeze",
    "--from",
]
SAFE_VERBS = [verb for verb in VERBS if verb not in ("finetune", "bench", "completion")]
"""Those that start no training and write nothing into the home folder."""
words = st.one_of(
    st.sampled_from(FLAGS),
    st.sampled_from(
        [
            "list",
            "show",
            "copy",
            "validate",
            "info",
            "clear",
            "verify",
            "inspect",
            "backbones",
            "heads",
            "linear-probe",
            "resnet50",
            "-",
            "--",
            "-x",
            "1",
            "0",
        ]
    ),
    texts.filter(lambda text: "\0" not in text),
)


def run(line):
    """The exit status of one command line, after a look at what it said."""
    said, kept = io.StringIO(), (sys.stdout, sys.stderr, sys.stdin)
    sys.stdout, sys.stderr, sys.stdin = io.StringIO(), said, io.StringIO("a line\n")
    try:
        status = main(line)
    finally:
        sys.stdout, sys.stderr, sys.stdin = kept
    complaint = said.getvalue().splitlines()[-1:] if status else []
    assert status in (0, 1, 2, 130), line
    assert all(line.startswith("zoo: ") and len(line) <= LONGEST_MESSAGE + 5 for line in complaint), complaint
    assert all(4 * line.count("x y ") <= 2 * LONGEST_VALUE for line in complaint), (
        "of each value of the user's (two, say) so much is shown"
    )
    assert "unexpected" not in "".join(complaint), (line, complaint)
    return status


@FUZZ
@given(st.sampled_from(SAFE_VERBS), st.lists(words, max_size=5))
def test_any_words(verb, line):
    run([verb, *line])


@FUZZ
@given(st.lists(words, max_size=3))
def test_no_verb(line):
    if not line or line[0] not in VERBS:
        run(line)


@FUZZ
@given(st.lists(st.tuples(st.sampled_from(FLAGS), words), max_size=3))
def test_a_run_that_cannot_begin(pairs):
    line = [word for pair in pairs for word in pair]
    assert run(["finetune", "resnet50", "--data", "no/such/folder", *line, "--dry-run", "--weights", "no/such.pth"]) in (0, 2)


@FUZZ
@given(st.sampled_from(["backbones", "heads", "strategies", "recipes", "metrics"]), texts.filter(lambda text: "\0" not in text))
def test_filters(what, pattern):
    assert run(["list", what, f"--filter={pattern}"]) == 0
    assert isinstance(registry.matches("resnet50", pattern), bool)


@pytest.mark.parametrize("name", NASTY)
def test_places_to_publish_to(name, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with only_zoo_errors():
        publish(Path("nowhere"), name)
