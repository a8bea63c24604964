"""What is measured is decided once, by whoever comes first, and what cannot be read is decided anew."""

import json
import subprocess
import sys

import pytest

from zoo import cache, decisions
from zoo.decisions import Decision, once

FACTS = {"what": "pooled features", "samples": 1000}
SETTLES = ("engine", "feature_batch_size")


def deciding(engine, batch=16):
    """Decides so, and counts how often it was asked to."""

    def decide():
        decide.calls += 1
        return Decision({"engine": engine, "feature_batch_size": batch}, "as measured")

    decide.calls = 0
    return decide


def test_it_is_decided_once_for_the_same_facts(tmp_path):
    first, second = deciding("torch"), deciding("openvino")
    assert once(tmp_path, FACTS, SETTLES, first) == once(tmp_path, FACTS, SETTLES, second)
    assert (first.calls, second.calls) == (1, 0)
    other = once(tmp_path, FACTS | {"samples": 10_000}, SETTLES, second)
    assert (other.options["engine"], second.calls) == ("openvino", 1)


def test_it_is_listed_and_cleared_with_the_cache(tmp_path):
    once(tmp_path, FACTS, SETTLES, deciding("torch"))
    assert [(entry.kind, entry.facts) for entry in cache.entries(tmp_path)] == [("decisions", FACTS)]
    cache.clear(tmp_path, "decisions")
    assert once(tmp_path, FACTS, SETTLES, deciding("openvino")).options["engine"] == "openvino"


def test_without_a_cache_nothing_is_kept(tmp_path):
    decide = deciding("torch")
    for _ in range(2):
        once(None, FACTS, SETTLES, decide)
    assert decide.calls == 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "[" * 100_000,
        '{"options": {"engine": "torch", "feature_batch_size": 16}, "why": "", "sha256": ""}',
        "\0\0\0\0",
    ],
)
def test_a_damaged_decision_is_said_and_made_anew(tmp_path, caplog, text):
    once(tmp_path, FACTS, SETTLES, deciding("torch"))
    (file,) = tmp_path.rglob(decisions.DECISION)
    file.write_text(text)
    assert once(tmp_path, FACTS, SETTLES, deciding("onnxruntime", 8)).options == {
        "engine": "onnxruntime",
        "feature_batch_size": 8,
    }
    assert caplog.text.count("not a decision; it is made anew") == 1
    assert json.loads(file.read_text())["options"]["engine"] == "onnxruntime"
    assert once(tmp_path, FACTS, SETTLES, deciding("torch")).options["engine"] == "onnxruntime"


def test_no_bit_of_a_decision_can_change_unseen(tmp_path):
    once(tmp_path, FACTS, SETTLES, deciding("torch"))
    (file,) = tmp_path.rglob(decisions.DECISION)
    content = file.read_bytes()
    for place in range(len(content)):
        for bit in (0, 7):
            file.write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
            decide = deciding("torch")
            once(tmp_path, FACTS, SETTLES, decide)
            assert decide.calls == 1


def test_a_decision_on_something_else_is_none(tmp_path):
    once(tmp_path, FACTS, ("keep_features",), lambda: Decision({"keep_features": "always"}, ""))
    assert once(tmp_path, FACTS, SETTLES, deciding("torch")).options["engine"] == "torch"


def test_a_decision_that_fails_leaves_none(tmp_path):
    def failing():
        raise RuntimeError("no measure")

    with pytest.raises(RuntimeError):
        once(tmp_path, FACTS, SETTLES, failing)
    assert once(tmp_path, FACTS, SETTLES, deciding("torch")).options["engine"] == "torch"


_PROCESS = """
import sys, time
from pathlib import Path
from zoo.decisions import Decision, once
def decide():
    print("measured", flush=True)
    time.sleep(0.5)
    return Decision({"engine": "torch", "feature_batch_size": int(sys.argv[2])}, "")
print(once(Path(sys.argv[1]), {"a": 1}, ("engine", "feature_batch_size"), decide).options["feature_batch_size"])
"""


def test_processes_that_start_together_take_one_decision(tmp_path):
    commands = [[sys.executable, "-c", _PROCESS, str(tmp_path), str(number)] for number in range(1, 5)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    said = [process.communicate(timeout=120)[0].split() for process in running]
    assert sum(words.count("measured") for words in said) == 1
    assert len({words[-1] for words in said}) == 1


def test_sizes_are_orders_of_magnitude():
    assert [decisions.size(count) for count in (0, 1, 9, 10, 999, 1000, 12_345)] == [1, 1, 1, 10, 100, 1000, 10_000]


def test_a_machine_is_known_by_its_processor_and_libraries():
    known = decisions.machine(["torch", "not-installed-anywhere"])
    assert known["processor"]
    assert known["cores"] >= 1
    assert known["versions"]["torch"].startswith("2.")
    assert known["versions"]["not-installed-anywhere"] is None
    json.dumps(known)
